//! The digest of an image, and how much of it that covers.

use super::partition::Names;
use super::report::{NotVerified, Report};
use crate::image::Image;
use crate::image::avb::{Hash, HashAlgorithm, Vbmeta, printable};

impl Report {
    /// Compare every digest that `vbmeta` has of the image's partition: of the first of `names` that
    /// it describes. `whose` names the vbmeta image, if it is not the image's own. Returns whether
    /// there is one.
    pub(super) fn digests(
        &mut self,
        vbmeta: &Vbmeta<'_>,
        names: &Names,
        image: &Image<'_>,
        whose: &str,
    ) -> bool {
        let of =
            |name: &str| vbmeta.hashes().any(|(_, hash)| hash.partition_name == name.as_bytes());
        let Some(name) = names.iter().find(|name| of(name)) else { return false };
        self.partition = Some(name.to_owned());
        self.covered = true;
        for (index, hash) in vbmeta.hashes() {
            match hash.partition_name == name.as_bytes() {
                true => self.covered &= self.digest(index, hash, image, whose),
                false if whose.is_empty() => self.another(hash),
                false => {}
            }
        }
        true
    }

    fn another(&mut self, hash: &Hash<'_>) {
        let partition = printable(hash.partition_name);
        self.note("digest", format!("{partition} is another partition: not checked"));
    }

    /// The own vbmeta image has no digest of the image.
    pub(super) fn not_covered(&mut self, vbmeta: &Vbmeta<'_>, names: &Names) {
        vbmeta.hashes().for_each(|(_, hash)| self.another(hash));
        let hashes = vbmeta.hashes().map(|(_, hash)| printable(hash.partition_name));
        let described = hashes.collect();
        let partition = names.first().unwrap_or_default().to_owned();
        let reason = NotVerified::NotCovered { partition, described };
        let message = reason.to_string();
        self.fail("digest", reason, message);
    }

    /// Compare a digest in the image's own vbmeta image or in another one, which `whose` names.
    fn digest(&mut self, index: usize, hash: &Hash<'_>, image: &Image<'_>, whose: &str) -> bool {
        let partition = printable(hash.partition_name);
        let what = format!("{whose}descriptor {index}, hash of {partition}");
        let wrong = || NotVerified::Digest { partition: partition.clone() };
        let content = usize::try_from(hash.image_size).ok();
        let Some(content) = content.and_then(|size| image.bytes().get(..size)) else {
            let message = format!(
                "{what}: image_size is {}, the file has {} bytes",
                hash.image_size,
                image.bytes().len()
            );
            self.fail("digest", wrong(), message);
            return false;
        };
        let algorithm = match hash.algorithm() {
            Some(HashAlgorithm::Sha1) | None => {
                let found = hash.hash_algorithm.escape_ascii();
                let message =
                    format!("{what}: hash \"{found}\", libavb takes sha256 and sha512 only");
                self.fail("digest", wrong(), message);
                return false;
            }
            Some(algorithm) => algorithm,
        };
        if hash.digest.is_empty() {
            let message = format!("{what}: a persistent digest, which the device stores itself");
            let reason = NotVerified::PersistentDigest { partition };
            self.fail("digest", reason, message);
            return false;
        }
        let found = algorithm.digest(&[hash.salt, content]);
        if found != hash.digest {
            let message = format!(
                "{what}: the {} of the first {} bytes is {}, the descriptor says {}: the image was changed, or the descriptor",
                algorithm.name(),
                hash.image_size,
                base16ct::lower::encode_string(&found),
                base16ct::lower::encode_string(hash.digest)
            );
            self.fail("digest", wrong(), message);
            return false;
        }
        let (covered, size) = (hash.image_size, image.described_size() as u64);
        if covered < size {
            let message = format!("{what}: it covers {covered} bytes, the image has {size}");
            self.fail("digest", NotVerified::Partly { partition, covered, size }, message);
            return false;
        }
        let message = format!("{what}: {} of {covered} bytes", algorithm.name());
        self.pass("digest", message);
        true
    }
}

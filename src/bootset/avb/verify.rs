//! Whether images match their vbmeta images, and whether these are signed.
//!
//! The same checks as `avb_vbmeta_image_verify` and `avb_slot_verify` of libavb. Images that are
//! given together with a vbmeta image are what it describes.

use super::report::{ImageVerification, Outcome, Report, Verification};
use super::tree::{cover, leads_to};
use crate::bootset::{BootSet, Role};
use crate::image::avb::{
    ChainPartition, Descriptor, Hash, HashAlgorithm, MAX_VBMETA_SIZE, PublicKey, Vbmeta, printable,
};
use crate::image::{Image, ImageKind};

/// Verify the images of a set. With `trusted` a signature only counts when the top-level vbmeta
/// image (of a set without one: every image) carries that key.
pub fn verify(set: &BootSet<'_>, trusted: Option<&PublicKey>) -> Verification {
    let (images, top) = (set.images(), set.position(Role::Vbmeta));
    let mut reports: Vec<Report> = images.iter().map(|_| Report::default()).collect();
    let parsed: Vec<Option<Vbmeta<'_>>> = std::iter::zip(images, &mut reports)
        .map(|(image, report)| report.structure(image))
        .collect();
    let above: Vec<Option<usize>> =
        (0..images.len()).map(|image| parent(set, &parsed, top, image)).collect();
    for (i, vbmeta) in parsed.iter().enumerate() {
        let Some(vbmeta) = vbmeta else { continue };
        let is_top = top.is_none_or(|top| top == i);
        // If the parent vbmeta image has the digest, libavb does not read the image's own.
        let digest_above = above[i].is_some_and(|own| holds_digest(&parsed[own], &images[i]));
        reports[i].signature(vbmeta, trusted.filter(|_| is_top), is_top || !digest_above);
        reports[i].own_descriptors(vbmeta, &images[i], is_top);
    }
    if let Some(top) = top.filter(|top| parsed[*top].is_some()) {
        let chained = |image: &usize| set.roles()[*image] == Role::ChainedVbmeta;
        let (vbmetas, others): (Vec<usize>, Vec<usize>) =
            (0..images.len()).filter(|image| *image != top).partition(chained);
        // A chained vbmeta image covers other images only if it is verified itself.
        for i in vbmetas.into_iter().chain(others) {
            let vbmeta = above[i].and_then(|own| parsed[own].as_ref());
            let signed = above[i].is_some_and(|own| reports[own].signed);
            reports[i].described(vbmeta, &images[i], parsed[i].as_ref(), signed);
        }
        for (i, vbmeta) in parsed.iter().enumerate() {
            if let (ImageKind::Vbmeta, Some(vbmeta)) = (images[i].kind(), vbmeta) {
                reports[i].elsewhere(vbmeta, images);
            }
        }
    }
    let images: Vec<ImageVerification> = reports.into_iter().map(Report::finish).collect();
    Verification { verified: images.iter().all(|image| image.verified), images }
}

/// The vbmeta image that covers this image: the top-level one, or one that it chains to.
fn parent(
    set: &BootSet<'_>,
    parsed: &[Option<Vbmeta<'_>>],
    top: Option<usize>,
    image: usize,
) -> Option<usize> {
    let top = top.filter(|top| *top != image)?;
    let chained = set.members().filter(|(.., role)| *role == Role::ChainedVbmeta);
    let chained = chained.map(|(index, ..)| index).filter(|index| *index != image);
    let covers = |vbmeta: &usize| {
        let vbmeta = parsed[*vbmeta].as_ref();
        vbmeta.is_some_and(|vbmeta| cover(vbmeta, &set.images()[image]).is_some())
    };
    std::iter::once(top).chain(chained).find(covers)
}

fn holds_digest(vbmeta: &Option<Vbmeta<'_>>, image: &Image<'_>) -> bool {
    let Some(vbmeta) = vbmeta else { return false };
    vbmeta.hashes().any(|(_, hash)| image.is_for(hash.partition_name))
}

impl Report {
    /// The vbmeta image, if libavb can read it.
    fn structure<'a>(&mut self, image: &Image<'a>) -> Option<Vbmeta<'a>> {
        if let Some(signature) = image.avb1_signature() {
            self.say(
                "avb1",
                Outcome::Note,
                format!(
                    "an AVB 1.0 signature of {} bytes at {} (boot_signer), for {} and the first {} bytes; it is not checked here",
                    signature.size, signature.offset, signature.target, signature.length
                ),
            );
        }
        for certificate in image.gki_certificates() {
            self.say("gki", Outcome::Note, certificate.describe());
        }
        for problem in image.problems().iter().filter(|p| p.field.starts_with("avb_footer")) {
            self.say("structure", Outcome::Fail, problem.to_string());
        }
        match image.vbmeta() {
            None => None,
            Some(Err(problem)) => {
                // For a bare vbmeta image this is one of its problems, too.
                self.say("structure", Outcome::Fail, problem.to_string());
                None
            }
            Some(Ok(vbmeta)) => {
                let size = vbmeta.bytes().len();
                let place = match image.avb() {
                    Some(footer) => format!("footer, and vbmeta image at {}", footer.vbmeta_offset),
                    None => "vbmeta image at 0".to_owned(),
                };
                self.decide(
                    "structure",
                    size <= MAX_VBMETA_SIZE,
                    format!(
                        "{place}: {size} bytes, {} descriptors, made by {}",
                        vbmeta.descriptors.len(),
                        vbmeta.release_string().escape_ascii()
                    ),
                    format!("{place} has {size} bytes, libavb loads at most {MAX_VBMETA_SIZE}"),
                );
                Some(vbmeta)
            }
        }
    }

    fn own_descriptors(&mut self, vbmeta: &Vbmeta<'_>, image: &Image<'_>, is_top: bool) {
        let header = &vbmeta.header;
        self.say(
            "rollback",
            Outcome::Note,
            format!(
                "index {} at location {}",
                header.rollback_index, header.rollback_index_location
            ),
        );
        let flags = vbmeta.flags();
        if header.flags != 0 {
            let outcome = match flags.verification_disabled() || !is_top {
                true => Outcome::Fail,
                false => Outcome::Note,
            };
            let why = match is_top {
                true => "an unlocked device reads nothing else, a locked one refuses it",
                false => "in a chained vbmeta image they must be 0: libavb refuses it",
            };
            let message = match flags.verification_disabled() || !is_top {
                true => format!("flags are {flags}: {why}"),
                false => format!("flags are {flags}"),
            };
            self.say("flags", outcome, message);
        }
        if image.kind() == ImageKind::Vbmeta && is_top {
            return;
        }
        for (i, entry) in vbmeta.descriptors.iter().enumerate() {
            match &entry.descriptor {
                Descriptor::Hash(hash) if image.partition_name() == Some(hash.partition_name) => {
                    self.digest(i, hash, image, "");
                }
                Descriptor::Hash(hash) => {
                    let message = format!(
                        "{} is another partition: not checked",
                        printable(hash.partition_name)
                    );
                    self.say("digest", Outcome::Note, message);
                }
                Descriptor::Hashtree(tree) => self.say(
                    "hashtree",
                    Outcome::Note,
                    format!("of {} is not checked here", printable(tree.partition_name)),
                ),
                Descriptor::ChainPartition(chain) if !is_top => self.say(
                    "chain",
                    Outcome::Fail,
                    format!(
                        "to {} in a chained vbmeta image: libavb refuses it",
                        printable(chain.partition_name)
                    ),
                ),
                _ => {}
            }
        }
    }

    /// A digest in the image's own vbmeta image or in another one, which `whose` names.
    fn digest(&mut self, index: usize, hash: &Hash<'_>, image: &Image<'_>, whose: &str) -> bool {
        let partition = printable(hash.partition_name);
        let what = format!("{whose}descriptor {index}, hash of {partition}");
        let content = usize::try_from(hash.image_size).ok();
        let Some(content) = content.and_then(|size| image.bytes().get(..size)) else {
            let message = format!(
                "{what}: image_size is {}, the file has {} bytes",
                hash.image_size,
                image.bytes().len()
            );
            self.say("digest", Outcome::Fail, message);
            return false;
        };
        let algorithm = match hash.algorithm() {
            Some(HashAlgorithm::Sha1) | None => {
                let found = hash.hash_algorithm.escape_ascii();
                let message =
                    format!("{what}: hash \"{found}\", libavb takes sha256 and sha512 only");
                self.say("digest", Outcome::Fail, message);
                return false;
            }
            Some(algorithm) => algorithm,
        };
        if hash.digest.is_empty() {
            let message = format!("{what}: a persistent digest, which the device stores itself");
            self.say("digest", Outcome::Note, message);
            return true;
        }
        let found = algorithm.digest(&[hash.salt, content]);
        self.decide(
            "digest",
            found == hash.digest,
            format!("{what}: {} of {} bytes", algorithm.name(), hash.image_size),
            format!(
                "{what}: the {} of the first {} bytes is {}, the descriptor says {}: the image was changed, or the descriptor",
                algorithm.name(),
                hash.image_size,
                base16ct::lower::encode_string(&found),
                base16ct::lower::encode_string(hash.digest)
            ),
        );
        found == hash.digest
    }

    /// What the parent vbmeta image says about `image`; None if no vbmeta image covers it.
    fn described(
        &mut self,
        above: Option<&Vbmeta<'_>>,
        image: &Image<'_>,
        own: Option<&Vbmeta<'_>>,
        above_signed: bool,
    ) {
        let entries = above.iter().flat_map(|above| above.descriptors.iter().enumerate());
        for (i, entry) in entries {
            match &entry.descriptor {
                Descriptor::Hash(hash) if image.is_for(hash.partition_name) => {
                    let right = self.digest(i, hash, image, "vbmeta ");
                    self.signed |= right && above_signed;
                }
                Descriptor::ChainPartition(chain) if leads_to(chain, image) => {
                    self.chain(chain, own);
                    self.signed &= above_signed;
                }
                Descriptor::Hash(_)
                | Descriptor::ChainPartition(_)
                | Descriptor::Property { .. }
                | Descriptor::Hashtree(_)
                | Descriptor::KernelCmdline { .. }
                | Descriptor::Unknown { .. } => {}
            }
        }
        if above.is_none() {
            let partition =
                image.partition_name().map_or_else(|| image.kind().to_string(), printable);
            let message = format!(
                "the vbmeta image says nothing about {partition}: the device does not verify it"
            );
            self.say("chain", Outcome::Fail, message);
        } else if !above_signed {
            self.say("chain", Outcome::Fail, "the vbmeta image above it is not verified itself");
        }
    }

    fn chain(&mut self, chain: &ChainPartition<'_>, own: Option<&Vbmeta<'_>>) {
        let partition = printable(chain.partition_name);
        let location = chain.rollback_index_location;
        if location == 0 {
            let message = format!(
                "the chain to {partition} has rollback index location 0, expected 1 or more"
            );
            self.say("chain", Outcome::Fail, message);
        }
        let fingerprint = |key: &[u8]| {
            PublicKey::from_avb(key).map_or_else(|_| "no key".to_owned(), |key| key.fingerprint())
        };
        match own {
            None => self.say(
                "chain",
                Outcome::Fail,
                format!("the vbmeta image chains to {partition}, but this image has no vbmeta image of its own"),
            ),
            Some(own) => self.decide(
                "chain",
                own.public_key() == chain.public_key && !chain.public_key.is_empty(),
                format!("{partition}: the key is the one that the vbmeta image names, rollback index location {location}"),
                format!(
                    "{partition}: the vbmeta image asks for the key with sha1 {}, this image has the one with sha1 {}",
                    fingerprint(chain.public_key),
                    fingerprint(own.public_key())
                ),
            ),
        }
    }

    /// The partitions that the vbmeta image describes and that are not in the set.
    fn elsewhere(&mut self, vbmeta: &Vbmeta<'_>, images: &[Image<'_>]) {
        let given = |descriptor: &Descriptor<'_>, partition: &[u8]| {
            images.iter().any(|image| match (image.kind(), descriptor) {
                (_, Descriptor::ChainPartition(chain)) => leads_to(chain, image),
                (ImageKind::Vbmeta, _) => false,
                (_, _) => image.is_for(partition),
            })
        };
        let missing: Vec<String> = vbmeta
            .descriptors
            .iter()
            .filter_map(|entry| Some((&entry.descriptor, entry.descriptor.partition()?)))
            .filter(|(descriptor, partition)| !given(descriptor, partition))
            .map(|(_, partition)| partition)
            .map(printable)
            .collect();
        if !missing.is_empty() {
            let message = format!("not given, so not checked: {}", missing.join(", "));
            self.say("digest", Outcome::Note, message);
        }
    }
}

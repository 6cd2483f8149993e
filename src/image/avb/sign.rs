//! Edits and signs a vbmeta image, and updates the vbmeta blob of a partition.

use std::borrow::Cow;

use super::super::{AvbChange, AvbPolicy, Image, Output};
use super::vbmeta::BLOCK_ALIGNMENT;
use super::{Algorithm, Descriptor, MAX_VBMETA_SIZE, SignError, SigningKey, Vbmeta, VbmetaHeader};

/// An edit of a vbmeta image.
#[derive(Clone, Debug)]
pub struct VbmetaEdit<'a> {
    vbmeta: Vbmeta<'a>,
    header: VbmetaHeader,
    descriptors: Vec<Cow<'a, [u8]>>,
}

impl<'a> VbmetaEdit<'a> {
    /// An edit that changes nothing yet.
    pub fn new(vbmeta: Vbmeta<'a>) -> Self {
        let header = vbmeta.header.clone();
        let descriptors =
            vbmeta.descriptors.iter().map(|entry| Cow::Borrowed(entry.bytes)).collect();
        VbmetaEdit { vbmeta, header, descriptors }
    }

    /// Set hash descriptor `index` to the digest of the first `size` bytes of `output`, with its
    /// existing salt and hash algorithm. A persistent digest stays empty.
    ///
    /// # Errors
    /// [`SignError::NoHashDescriptor`], [`SignError::UnknownHash`], [`SignError::DigestSize`].
    pub(crate) fn set_digest(
        &mut self,
        index: usize,
        output: &Output<'_>,
        size: u64,
    ) -> Result<(), SignError> {
        let entry = self.vbmeta.descriptors.get(index).ok_or(SignError::NoHashDescriptor)?;
        let Descriptor::Hash(hash) = &entry.descriptor else {
            return Err(SignError::NoHashDescriptor);
        };
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        let algorithm = hash.algorithm().ok_or_else(|| SignError::UnknownHash {
            partition: text(hash.partition_name),
            algorithm: text(hash.hash_algorithm),
        })?;
        let found = hash.digest.len();
        if found != 0 && found != algorithm.size() {
            return Err(SignError::DigestSize {
                partition: text(hash.partition_name),
                algorithm: algorithm.name(),
                found,
                expected: algorithm.size(),
            });
        }
        let digest = algorithm.digest_output(hash.salt, output, size);
        let bytes = entry.with_digest(size, &digest).ok_or(SignError::NoHashDescriptor)?;
        self.descriptors[index] = Cow::Owned(bytes);
        Ok(())
    }

    /// Set the key of chain partition descriptor `index`, in AVB's format. False if it is another
    /// descriptor.
    pub(crate) fn set_chain_key(&mut self, index: usize, key: &[u8]) -> bool {
        let bytes = self.vbmeta.descriptors.get(index).and_then(|entry| entry.with_key(key));
        match bytes {
            Some(bytes) => {
                self.descriptors[index] = Cow::Owned(bytes);
                true
            }
            None => false,
        }
    }

    /// Set the flags, see [`super::Flags`].
    pub(crate) fn set_flags(&mut self, flags: u32) {
        self.header.flags = flags;
    }

    /// Sign the image with `key` and the hash algorithm of the old signature, or SHA-256 if it was
    /// not signed. The layout of the blocks is avbtool's; everything that was not set is kept.
    ///
    /// # Errors
    /// [`SignError::Key`], [`SignError::TooLarge`].
    pub(crate) fn sign(self, key: &SigningKey) -> Result<Vec<u8>, SignError> {
        let rsa = key.algorithm(self.vbmeta.algorithm())?;
        let public_key = key.public().to_avb();
        let VbmetaEdit { vbmeta, mut header, descriptors } = self;
        let metadata = vbmeta.public_key_metadata();
        let mut auxiliary = descriptors.concat();
        header.descriptors_offset = 0;
        header.descriptors_size = auxiliary.len() as u64;
        header.public_key_offset = auxiliary.len() as u64;
        header.public_key_size = public_key.len() as u64;
        auxiliary.extend(public_key);
        header.public_key_metadata_offset = auxiliary.len() as u64;
        header.public_key_metadata_size = metadata.len() as u64;
        auxiliary.extend_from_slice(metadata);
        pad(&mut auxiliary);
        header.auxiliary_data_block_size = auxiliary.len() as u64;

        header.algorithm_type = rsa.number;
        header.hash_offset = 0;
        header.hash_size = rsa.hash.size() as u64;
        header.signature_offset = header.hash_size;
        header.signature_size = (rsa.key_bits / 8) as u64;
        let signature_end = (header.signature_offset + header.signature_size) as usize;
        header.authentication_data_block_size =
            signature_end.next_multiple_of(BLOCK_ALIGNMENT) as u64;

        let mut bytes = header.to_bytes();
        let digest = rsa.hash.digest(&[&bytes, &auxiliary]);
        let mut authentication = digest.clone();
        authentication.extend(key.sign(rsa.hash, &digest)?);
        pad(&mut authentication);
        bytes.extend(authentication);
        bytes.extend(auxiliary);
        match bytes.len() {
            size if size > MAX_VBMETA_SIZE => Err(SignError::TooLarge(size)),
            _ => Ok(bytes),
        }
    }

    /// The bytes of an unsigned vbmeta image (algorithm NONE): digests and flags are updated,
    /// everything else is kept. None if the image is signed or the size of a descriptor changed.
    pub fn write_unsigned(self) -> Option<Vec<u8>> {
        let unsigned = self.vbmeta.algorithm() == Algorithm::None;
        let mut bytes = unsigned.then(|| self.vbmeta.bytes().to_vec())?;
        bytes[..VbmetaHeader::SIZE].copy_from_slice(&self.header.to_bytes());
        for (entry, now) in self.vbmeta.descriptors.iter().zip(&self.descriptors) {
            bytes.get_mut(entry.offset..entry.offset + now.len())?.copy_from_slice(now);
            if now.len() != entry.bytes.len() {
                return None;
            }
        }
        Some(bytes)
    }
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(BLOCK_ALIGNMENT), 0);
}

impl Image<'_> {
    /// Whether the digest in an unsigned vbmeta blob (algorithm NONE) matches the image;
    /// [`AvbPolicy::Preserve`] then keeps it up to date. None if the blob is signed or has no such
    /// descriptor. An empty digest matches: the device stores it elsewhere (libavb's persistent
    /// digests).
    pub fn unsigned_digest_is_right(&self) -> Option<bool> {
        let size = self.avb()?.original_image_size;
        let vbmeta = self.vbmeta()?.ok().filter(|v| v.algorithm() == Algorithm::None)?;
        let (_, hash) = vbmeta.own_hash(self.kind().partitions(), size)?;
        let content = self.bytes().get(..usize::try_from(hash.image_size).ok()?)?;
        let digest = hash.algorithm()?.digest(&[hash.salt, content]);
        Some(hash.digest.is_empty() || digest == hash.digest)
    }

    /// Whether an edit under this policy leaves the vbmeta blob byte-identical.
    pub(crate) fn keeps_vbmeta(&self, policy: AvbPolicy<'_>) -> bool {
        matches!(policy, AvbPolicy::Preserve) && self.unsigned_digest_is_right().is_none()
    }
}

/// A vbmeta blob and how it changed.
type Blob<'a> = (Cow<'a, [u8]>, AvbChange);

/// The vbmeta blob for the first `size` bytes of `output`, the edited `image`, and how it changed;
/// None if the image is to have no blob.
pub(in crate::image) fn rewrite<'a>(
    image: &Image<'a>,
    policy: &AvbPolicy<'_>,
    output: &Output<'a>,
    size: u64,
) -> Result<Option<Blob<'a>>, SignError> {
    let Some(footer) = image.avb() else { return Ok(None) };
    let blob = image.bytes().get(footer.vbmeta_range()).unwrap_or_default();
    let (names, old_size) = (image.kind().partitions(), footer.original_image_size);
    let edited = |vbmeta: Vbmeta<'a>| {
        let (index, _) = vbmeta.own_hash(names, old_size).ok_or(SignError::NoHashDescriptor)?;
        let mut edit = VbmetaEdit::new(vbmeta);
        edit.set_digest(index, output, size)?;
        Ok::<_, SignError>(edit)
    };
    match policy {
        AvbPolicy::Strip => Ok(None),
        AvbPolicy::Preserve => {
            let kept = (Cow::Borrowed(blob), AvbChange::Preserved);
            let Ok(vbmeta) = Vbmeta::parse(blob, 0) else { return Ok(Some(kept)) };
            // Without a hash descriptor there is no digest to update.
            if vbmeta.algorithm() != Algorithm::None || vbmeta.own_hash(names, old_size).is_none() {
                return Ok(Some(kept));
            }
            let bytes = edited(vbmeta)?.write_unsigned().filter(|bytes| bytes != blob);
            Ok(Some(bytes.map_or(kept, |bytes| (Cow::Owned(bytes), AvbChange::Rehashed))))
        }
        AvbPolicy::Resign(key) => {
            let vbmeta = image.vbmeta().ok_or(SignError::NoHashDescriptor)??;
            let before = vbmeta.algorithm();
            let after = Algorithm::Rsa(key.algorithm(before)?);
            let bytes = edited(vbmeta)?.sign(key)?;
            Ok(Some((Cow::Owned(bytes), AvbChange::Resigned { before, after })))
        }
    }
}

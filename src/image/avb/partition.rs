//! The vbmeta image of a partition, and the partition's name.

use super::super::{Image, ImageKind, Problem};
use super::Vbmeta;

impl<'a> Image<'a> {
    /// The vbmeta image: the file itself, or the blob that the AVB footer points to. None if there
    /// is neither.
    ///
    /// # Errors
    /// A vbmeta image that libavb would reject.
    pub fn vbmeta(&self) -> Option<Result<Vbmeta<'a>, Problem>> {
        if self.kind() == ImageKind::Vbmeta {
            return Some(Vbmeta::parse(self.bytes(), 0));
        }
        let range = self.avb()?.vbmeta_range();
        let start = range.start;
        Some(Vbmeta::parse(self.bytes().get(range)?, start))
    }

    /// The partition in the image's own hash descriptor.
    pub(crate) fn partition_name(&self) -> Option<&'a [u8]> {
        let size = self.avb()?.original_image_size;
        let vbmeta = self.vbmeta()?.ok()?;
        let (_, hash) = vbmeta.own_hash(self.kind().partitions(), size)?;
        Some(hash.partition_name)
    }

    /// Whether the image belongs to `partition`, according to its own hash descriptor or, without
    /// one, its kind.
    pub(crate) fn is_for(&self, partition: &[u8]) -> bool {
        match self.partition_name() {
            Some(name) => name == partition,
            None => self.kind().as_str().as_bytes() == partition,
        }
    }
}

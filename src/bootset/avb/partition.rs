//! The names of a partition that an image may be for.

use std::borrow::Cow;

use crate::image::ImageKind;

/// The names of the partition that an image may be for, the likeliest first; none if the file cannot
/// tell. AVB's descriptors have these names, without the suffix of a slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::bootset) struct Names(Vec<Cow<'static, str>>);

impl Names {
    /// These.
    pub(super) fn new(names: impl IntoIterator<Item = &'static str>) -> Self {
        Names(names.into_iter().map(Cow::Borrowed).collect())
    }

    /// The one that was stated.
    pub(in crate::bootset) fn stated(name: &str) -> Self {
        Names(vec![Cow::Owned(name.to_owned())])
    }

    /// Whether the partition may be this one.
    pub(super) fn has(&self, partition: &[u8]) -> bool {
        self.0.iter().any(|name| name.as_bytes() == partition)
    }

    /// In order.
    pub(in crate::bootset) fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(AsRef::as_ref)
    }

    /// The likeliest one.
    pub(in crate::bootset) fn first(&self) -> Option<&str> {
        self.iter().next()
    }
}

/// The name of a file without its directory, its extension and the suffix of a slot.
pub(in crate::bootset) fn stem(file: &str) -> &str {
    let name = file.rsplit('/').next().unwrap_or(file);
    let name = name.split('.').next().unwrap_or(name);
    name.strip_suffix("_a").or_else(|| name.strip_suffix("_b")).unwrap_or(name)
}

/// Whether this is the name of a partition with an image of its own, and not of a vbmeta image.
pub(super) fn is_of_an_image(partition: &[u8]) -> bool {
    const KINDS: [ImageKind; 4] =
        [ImageKind::Boot, ImageKind::InitBoot, ImageKind::VendorBoot, ImageKind::Dtbo];
    let mut all = KINDS.into_iter().flat_map(ImageKind::partitions);
    all.any(|name| name.as_bytes() == partition)
}

#[cfg(test)]
mod tests {
    use super::stem;

    #[test]
    fn a_file_is_named_after_its_partition() {
        for (file, expected) in [
            ("dir.d/recovery.img", "recovery"),
            ("boot_a.img", "boot"),
            ("vendor_boot_b.img.lz4", "vendor_boot"),
            ("-", "-"),
        ] {
            assert_eq!(stem(file), expected);
        }
    }
}

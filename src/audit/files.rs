//! The files of one device.

/// A file of a set.
#[derive(Clone, Copy, Debug)]
pub struct File<'a> {
    /// What messages call it.
    pub name: &'a str,
    /// All of it.
    pub bytes: &'a [u8],
}

/// The images of one device.
#[derive(Clone, Debug)]
pub struct Files<'a> {
    /// The boot image, kernel or config.
    pub main: File<'a>,
    /// Images without a kernel: vendor_boot, init_boot, vbmeta, bare ramdisks.
    pub beside: Vec<File<'a>>,
}

impl<'a> Files<'a> {
    pub(super) fn all(&self) -> impl Iterator<Item = File<'a>> {
        std::iter::once(self.main).chain(self.beside.iter().copied())
    }
}

//! How much a ramdisk may ask of us.

/// How much a ramdisk may ask of us. Unpacked bytes stream through and are never held; the
/// counts bound what is held.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes that all compressed segments together may unpack to.
    pub unpacked: u64,
    /// Segments.
    pub segments: usize,
    /// Bytes of names and bookkeeping that a [`super::tree::Tree`] may hold.
    pub metadata: usize,
    /// Bytes of one segment that [`super::edit::remove`] may hold to rewrite it.
    pub held: u64,
}

impl Default for Limits {
    /// 4 GiB unpacked, 65,536 segments, 64 MiB of metadata, 1 GiB held.
    fn default() -> Self {
        Limits { unpacked: 4 << 30, segments: 1 << 16, metadata: 64 << 20, held: 1 << 30 }
    }
}

//! lz4_legacy
pub struct Lz4LegacyReader<'a>(&'a [u8]);

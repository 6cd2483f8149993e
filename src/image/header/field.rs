//! The fields of a header.

use crate::image::section::SectionName;

/// A size field of the header and its section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeField {
    /// The section.
    pub section: SectionName,
    /// The field's name.
    pub field: &'static str,
    /// The field's offset in the file.
    pub offset: usize,
    /// Its value in bytes.
    pub size: u32,
}

impl SizeField {
    pub(super) fn new(section: SectionName, field: &'static str, offset: usize, size: u32) -> Self {
        SizeField { section, field, offset, size }
    }
}

/// A header field as `info` prints it and `image.toml` edits it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// AOSP's name.
    pub name: &'static str,
    /// Offset in the file.
    pub offset: usize,
    /// The value.
    pub value: Value<'a>,
}

impl<'a> Field<'a> {
    pub(super) fn new(name: &'static str, offset: usize, value: Value<'a>) -> Self {
        Field { name, offset, value }
    }
}

/// A header field's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A 32-bit number.
    U32(u32),
    /// A 64-bit number.
    U64(u64),
    /// The whole field of a NUL-terminated text.
    Text(&'a [u8]),
    /// Plain bytes.
    Bytes(&'a [u8]),
}

/// A number of the header that can be set.
pub(crate) enum NumberMut<'a> {
    U32(&'a mut u32),
    U64(&'a mut u64),
}

/// The 32-bit number at `offset`.
pub(super) fn number_at(bytes: &[u8], offset: usize) -> Option<u32> {
    let field = bytes.get(offset..offset + 4)?;
    Some(u32::from_le_bytes(field.try_into().ok()?))
}

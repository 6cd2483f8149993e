//! Character classes by the table of the kernel's `lib/ctype.c`: ASCII and Latin-1.

/// `isspace`: the no-break space of Latin-1 is one.
pub(crate) const fn is_space(byte: u8) -> bool {
    matches!(byte, b'\t'..=b'\r' | b' ' | 0xa0)
}

/// `isalnum`: the letters of Latin-1 are letters, its multiplication and division signs are not.
#[cfg(feature = "desktop")]
pub(crate) const fn is_alnum(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, 0xc0..=0xd6 | 0xd8..=0xf6 | 0xf8..)
}

/// `isprint`: the upper half of Latin-1 is printable.
#[cfg(feature = "desktop")]
pub(crate) const fn is_print(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7e | 0xa0..)
}

//! Bare payloads: kernels and ramdisks without a header around them.

use std::io::Read;

use super::{Header, ImageKind, SectionName};
use crate::compression::{Decoder, Format};

/// Identify a payload without a header by its first bytes or, when compressed, by its first
/// decompressed bytes.
pub(super) fn bare(bytes: &[u8]) -> Option<(ImageKind, SectionName)> {
    if Header::starts(bytes) {
        return None;
    }
    if let Some(kind) = payload(bytes) {
        return Some(kind);
    }
    let format = Format::detect(bytes)?;
    let mut start = Vec::new();
    let mut decoder = Decoder::new(format, bytes).ok()?.take(PEEK);
    // The start of a damaged stream still identifies it.
    let _ = decoder.read_to_end(&mut start);
    payload(&start)
}

/// Enough of a payload for every magic below.
const PEEK: u64 = 0x210;

fn payload(bytes: &[u8]) -> Option<(ImageKind, SectionName)> {
    const KERNEL: (ImageKind, SectionName) = (ImageKind::Kernel, SectionName::Kernel);
    const RAMDISK: (ImageKind, SectionName) = (ImageKind::Ramdisk, SectionName::Ramdisk);
    let at = |offset: usize, magic: &[u8]| {
        bytes.get(offset..).is_some_and(|bytes| bytes.starts_with(magic))
    };
    if at(0, b"070701") || at(0, b"070702") {
        return Some(RAMDISK);
    }
    let kernel = at(56, b"ARM\x64") // arm64 Image
        || at(4, b"zimg") // EFI zboot
        || at(0x24, &[0x18, 0x28, 0x6f, 0x01]) // ARM zImage
        || at(0x202, b"HdrS") // x86 bzImage
        || at(0, b"\x7fELF"); // vmlinux
    kernel.then_some(KERNEL)
}

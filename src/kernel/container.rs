//! Recognises one container: its kind, its payload, its end.

use std::ops::Range;

use crate::compression::{Decoder, Format};

use super::{Arch, Error, LayerKind, Problem};

/// A recognised container.
pub(super) struct Container {
    pub kind: LayerKind,
    pub arch: Option<Arch>,
    /// Size in bytes, if known from the header or the slice.
    pub size: Option<usize>,
    pub inner: Inner,
    /// The end of the container, if appended DTBs may follow.
    pub ends_at: Option<usize>,
    pub problems: Vec<Problem>,
}

/// The payload of a container.
pub(super) enum Inner {
    /// None: the container is the kernel itself.
    None,
    /// Another container in this range, which is not empty and within the container.
    At(Range<usize>),
    /// A payload in an unsupported compression.
    Unsupported,
}

impl Container {
    fn plain(kind: LayerKind, arch: Option<Arch>, size: Option<usize>) -> Self {
        Container { kind, arch, size, inner: Inner::None, ends_at: None, problems: Vec::new() }
    }
}

/// Recognise the container at the start of `bytes`. `len` is the total size; None if `bytes` are only
/// the start of a longer stream: then ranges are not checked and the payload is not followed.
pub(super) fn recognise(bytes: &[u8], len: Option<usize>) -> Result<Option<Container>, Error> {
    if u32_at(bytes, 0) == Some(MTK_MAGIC) {
        return mtk(bytes, len).map(Some);
    }
    if bytes.starts_with(b"MZ") && bytes.get(4..8) == Some(b"zimg") {
        return zboot(bytes, len).map(Some);
    }
    if bytes.starts_with(b"\x7fELF") {
        return elf(bytes, len).map(Some);
    }
    let format = Format::detect(bytes);
    if let Some(format) = format
        && format != Format::Lzma
    {
        return Ok(Some(Container::plain(LayerKind::Compressed(format), None, len)));
    }
    if bytes.get(56..60) == Some(b"ARM\x64") {
        return Ok(arm64_image(bytes, len));
    }
    if bytes.starts_with(&UIMAGE_MAGIC) {
        return uimage(bytes, len).map(Some);
    }
    if u32_at(bytes, 0x24) == Some(ZIMAGE_MAGIC) {
        return zimage(bytes, len).map(Some);
    }
    if bytes.get(0x202..0x206) == Some(b"HdrS") {
        return bzimage(bytes, len).map(Some);
    }
    // After the others: bzImages, too, have the magic of EFI images.
    if let Some(arch) = other_image(bytes) {
        return Ok(Some(Container::plain(LayerKind::Image(arch), Some(arch), len)));
    }
    if bytes.starts_with(LZOP_MAGIC) {
        return Ok(Some(unsupported("lzo".into(), len)));
    }
    // LZMA has no magic, so it is last.
    Ok(format.map(|format| Container::plain(LayerKind::Compressed(format), None, len)))
}

fn unsupported(name: String, len: Option<usize>) -> Container {
    let kind = LayerKind::UnsupportedCompression(name);
    Container { inner: Inner::Unsupported, ..Container::plain(kind, None, len) }
}

const LZOP_MAGIC: &[u8] = b"\x89LZO\0\r\n\x1a\n";

const MTK_MAGIC: u32 = 0x5888_1688;
const MTK_HEADER: usize = 512;

/// magic, size (u32), name (32 bytes), padding to 512 bytes.
fn mtk(bytes: &[u8], len: Option<usize>) -> Result<Container, Error> {
    const LAYER: &str = "MTK header";
    let name = bytes.get(8..40).unwrap_or_default();
    let name: Vec<u8> = name.iter().copied().take_while(|byte| *byte != 0).collect();
    let name = String::from_utf8_lossy(&name).into_owned();
    let mut found = Container::plain(LayerKind::MtkHeader { name }, None, Some(MTK_HEADER));
    let Some(len) = len else { return Ok(found) };
    if len <= MTK_HEADER {
        return Err(Error::Truncated { layer: LAYER, have: len, need: MTK_HEADER + 1 });
    }
    let size = u32_at(bytes, 4).unwrap_or(0) as usize;
    let room = len - MTK_HEADER;
    if size == 0 || size > room {
        let what = format!("is {size:#x}, but {room:#x} bytes follow the header: they are read");
        found.problems.push(Problem { layer: LAYER, field: "size", offset: 4, what });
    }
    let size = if size == 0 { room } else { size.min(room) };
    found.inner = Inner::At(MTK_HEADER..MTK_HEADER + size);
    Ok(found)
}

/// `struct` in `drivers/firmware/efi/libstub/zboot-header.S`: "MZ\0\0", "zimg", payload offset
/// and size (u32 each), 8 bytes, the compression's name (to 6.x 4-byte aligned, NUL padded), then
/// at 56 LINUX_PE_MAGIC or, in older kernels, 0; at 60 the offset of the PE header.
fn zboot(bytes: &[u8], len: Option<usize>) -> Result<Container, Error> {
    const LAYER: &str = "EFI zboot";
    if bytes.len() < 64 {
        return Err(Error::Truncated { layer: LAYER, have: bytes.len(), need: 64 });
    }
    let name = bytes[24..56].iter().copied().take_while(|byte| *byte != 0).collect();
    let name = String::from_utf8(name).unwrap_or_default();
    let kind = LayerKind::EfiZboot { compression: name.clone() };
    let pe = u32_at(bytes, 60).unwrap_or(0) as usize;
    let arch = u16_at(bytes, pe.saturating_add(4)).and_then(pe_arch);
    let mut found = Container::plain(kind, arch, len);
    let Some(len) = len else { return Ok(found) };

    let range = range_in(LAYER, bytes, len, ("payload_offset", 8), ("payload_size", 12))?;
    found.ends_at = Some(pe_end(bytes, pe).unwrap_or(range.end).clamp(range.end, len));
    let detected = Format::detect(&bytes[range.clone()]);
    let named = Format::from_zboot(&name);
    if let (Some(detected), true) = (detected, named != detected) {
        let what = format!("says {name:?}, but the payload is {detected}");
        found.problems.push(Problem { layer: LAYER, field: "comp_type", offset: 24, what });
    }
    found.inner = match detected {
        Some(_) => Inner::At(range),
        // The payload is uncompressed, or its compression is unknown.
        None => Inner::Unsupported,
    };
    if detected.is_none() {
        found.kind = LayerKind::UnsupportedCompression(name);
    }
    Ok(found)
}

/// The end of the last section of the PE file whose header is at `pe`.
fn pe_end(bytes: &[u8], pe: usize) -> Option<usize> {
    if bytes.get(pe..pe.checked_add(4)?)? != b"PE\0\0" {
        return None;
    }
    let sections = u16_at(bytes, pe + 6)? as usize;
    let optional = u16_at(bytes, pe + 20)? as usize;
    let table = pe + 24 + optional;
    (0..sections.min(96))
        .map_while(|index| {
            let section = table + index * 40;
            let size = u32_at(bytes, section + 16)? as usize;
            Some(u32_at(bytes, section + 20)? as usize + size)
        })
        .max()
}

/// `IMAGE_FILE_MACHINE_*` (`include/linux/pe.h`).
fn pe_arch(machine: u16) -> Option<Arch> {
    match machine {
        0xaa64 => Some(Arch::Arm64),
        0x01c0 | 0x01c2 | 0x01c4 => Some(Arch::Arm),
        0x8664 => Some(Arch::X86_64),
        0x014c => Some(Arch::X86),
        0x5032 => Some(Arch::Riscv32),
        0x5064 => Some(Arch::Riscv64),
        0x6232 => Some(Arch::Loongarch32),
        0x6264 => Some(Arch::Loongarch64),
        0x0200 => Some(Arch::Ia64),
        _ => None,
    }
}

/// Any ELF file; `e_machine` is the architecture.
fn elf(bytes: &[u8], len: Option<usize>) -> Result<Container, Error> {
    use goblin::elf::header::{EI_CLASS, ELFCLASS32, SIZEOF_IDENT};
    let header = goblin::elf::Elf::parse_header(bytes).map_err(|_| Error::Truncated {
        layer: "ELF",
        have: bytes.len(),
        need: SIZEOF_IDENT + 48,
    })?;
    let arch = elf_arch(header.e_machine, header.e_ident[EI_CLASS] == ELFCLASS32);
    Ok(Container::plain(LayerKind::Elf, arch, len))
}

/// `e_machine` (`include/uapi/linux/elf-em.h`).
fn elf_arch(machine: u16, narrow: bool) -> Option<Arch> {
    use goblin::elf::header as elf;
    Some(match machine {
        elf::EM_AARCH64 => Arch::Arm64,
        elf::EM_ARM => Arch::Arm,
        elf::EM_X86_64 => Arch::X86_64,
        elf::EM_386 => Arch::X86,
        elf::EM_RISCV if narrow => Arch::Riscv32,
        elf::EM_RISCV => Arch::Riscv64,
        elf::EM_LOONGARCH if narrow => Arch::Loongarch32,
        elf::EM_LOONGARCH => Arch::Loongarch64,
        elf::EM_PPC | elf::EM_PPC64 => Arch::Powerpc,
        elf::EM_S390 => Arch::S390,
        elf::EM_MIPS | elf::EM_MIPS_RS3_LE => Arch::Mips,
        elf::EM_SPARC | elf::EM_SPARC32PLUS | elf::EM_SPARCV9 => Arch::Sparc,
        elf::EM_PARISC => Arch::Parisc,
        41 | 0x9026 => Arch::Alpha,
        elf::EM_IA_64 => Arch::Ia64,
        elf::EM_68K => Arch::M68k,
        elf::EM_SH => Arch::Sh,
        elf::EM_XTENSA => Arch::Xtensa,
        93 | 195 | 253 | 255 => Arch::Arc,
        92 => Arch::Openrisc,
        113 => Arch::Nios2,
        164 => Arch::Hexagon,
        189 | 0xbaab => Arch::Microblaze,
        252 => Arch::Csky,
        _ => return None,
    })
}

/// The architecture of an `Image` that is not of arm64, by its header.
fn other_image(bytes: &[u8]) -> Option<Arch> {
    /// `LINUX_PE_MAGIC` (`include/linux/pe.h`), in the header of EFI images.
    const LINUX_PE_MAGIC: u32 = 0x8182_23cd;
    let pe = || u16_at(bytes, (u32_at(bytes, 60)? as usize).checked_add(4)?).and_then(pe_arch);
    if bytes.get(56..60) == Some(b"RSC\x05") || bytes.get(48..53) == Some(b"RISCV") {
        return Some(pe().unwrap_or(Arch::Riscv64));
    }
    if u32_at(bytes, 56) == Some(LINUX_PE_MAGIC) && bytes.starts_with(b"MZ") {
        return pe();
    }
    // `arch/s390/boot/head.S`; its offset is beyond what is unpacked to look at.
    (bytes.get(0x10008..0x1000e) == Some(b"S390EP")).then_some(Arch::S390)
}

const UIMAGE_MAGIC: [u8; 4] = [0x27, 0x05, 0x19, 0x56];

/// U-Boot's `include/image.h`: big-endian; size at 12, architecture at 29, name from 32 to 64.
fn uimage(bytes: &[u8], len: Option<usize>) -> Result<Container, Error> {
    const LAYER: &str = "uImage";
    const HEADER: usize = 64;
    let Some(header) = bytes.first_chunk::<HEADER>() else {
        return Err(Error::Truncated { layer: LAYER, have: bytes.len(), need: HEADER });
    };
    let name = header[32..].iter().copied().take_while(|byte| *byte != 0).collect();
    let name = String::from_utf8(name).unwrap_or_default();
    let arch = match header[29] {
        1 => Some(Arch::Alpha),
        2 => Some(Arch::Arm),
        3 => Some(Arch::X86),
        4 => Some(Arch::Ia64),
        5 | 6 => Some(Arch::Mips),
        7 => Some(Arch::Powerpc),
        8 => Some(Arch::S390),
        9 => Some(Arch::Sh),
        10 | 11 => Some(Arch::Sparc),
        12 => Some(Arch::M68k),
        14 => Some(Arch::Microblaze),
        15 => Some(Arch::Nios2),
        21 => Some(Arch::Openrisc),
        22 => Some(Arch::Arm64),
        23 => Some(Arch::Arc),
        24 => Some(Arch::X86_64),
        25 => Some(Arch::Xtensa),
        26 => Some(Arch::Riscv64),
        _ => None,
    };
    let mut found = Container::plain(LayerKind::Uimage { name }, arch, Some(HEADER));
    let Some(len) = len else { return Ok(found) };
    let size = array(bytes, 12).map(u32::from_be_bytes).unwrap_or(0) as usize;
    let room = len - HEADER;
    if size == 0 || size > room {
        return Err(Error::OutOfRange {
            layer: LAYER,
            field: "ih_size",
            offset: 12,
            value: size as u64,
            limit: room as u64,
        });
    }
    // A container that cannot be followed is the kernel itself, with an architecture at least.
    if recognise(&bytes[HEADER..HEADER + size], Some(size))?.is_some() {
        found.inner = Inner::At(HEADER..HEADER + size);
    }
    Ok(found)
}

/// `Documentation/arch/arm64/booting.rst`: code0, code1, text_offset, image_size, flags (u64
/// each from 8 on), "ARM\x64" at 56, PE header offset at 60.
fn arm64_image(bytes: &[u8], len: Option<usize>) -> Option<Container> {
    let text_offset = u64_at(bytes, 8)?;
    let image_size = u64_at(bytes, 16)?;
    let efi_stub = bytes.starts_with(b"MZ");
    let kind = LayerKind::Arm64Image { text_offset, image_size, efi_stub };
    let mut found = Container::plain(kind, Some(Arch::Arm64), len);
    // Only after `image_size`: the size in memory includes the BSS, and all bytes of the file before
    // it may belong to the kernel.
    found.ends_at = len.filter(|len| image_size != 0 && image_size < *len as u64).map(|_| {
        // It is smaller than `len`, which fits in usize.
        image_size as usize
    });
    Some(found)
}

const ZIMAGE_MAGIC: u32 = 0x016f_2818;
/// Maximum number of candidates in a zImage.
const MAX_CANDIDATES: usize = 64;

/// Magic at 0x24, then `start` and `end`, the link addresses. The compressed kernel follows the
/// decompressor; no field has its offset.
fn zimage(bytes: &[u8], len: Option<usize>) -> Result<Container, Error> {
    const LAYER: &str = "ARM zImage";
    let mut found = Container::plain(LayerKind::ArmZimage, Some(Arch::Arm), len);
    let Some(len) = len else { return Ok(found) };
    let (Some(start), Some(end)) = (u32_at(bytes, 0x28), u32_at(bytes, 0x2c)) else {
        return Err(Error::Truncated { layer: LAYER, have: len, need: 0x30 });
    };
    let size = end.checked_sub(start).map(|size| size as usize);
    let size = match size.filter(|size| (0x30..=len).contains(size)) {
        Some(size) => {
            found.ends_at = Some(size);
            size
        }
        None => {
            let what = format!("{start:#x} to {end:#x} does not fit {len:#x} bytes: all are read");
            found.problems.push(Problem { layer: LAYER, field: "end", offset: 0x2c, what });
            len
        }
    };
    found.size = Some(size);
    let offset = compressed_piece(&bytes[..size]).ok_or(Error::NoPayload { layer: LAYER })?;
    found.inner = Inner::At(offset..size);
    Ok(found)
}

/// The first offset in `bytes` of a stream that can be decompressed.
fn compressed_piece(bytes: &[u8]) -> Option<usize> {
    let magics: [&[u8]; 5] =
        [b"\x1f\x8b\x08\0", b"\xfd7zXZ\0", b"\x02\x21\x4c\x18", b"\x28\xb5\x2f\xfd", b"\x5d\0"];
    let is_header = |at: &usize| Format::detect(&bytes[*at..]).is_some();
    let mut candidates: Vec<usize> = magics
        .iter()
        .flat_map(|magic| {
            memchr::memmem::find_iter(bytes, magic).filter(is_header).take(MAX_CANDIDATES)
        })
        .collect();
    candidates.sort_unstable();
    candidates.into_iter().take(MAX_CANDIDATES).find(|at| unpacks(&bytes[*at..]))
}

fn unpacks(bytes: &[u8]) -> bool {
    let Some(format) = Format::detect(bytes) else { return false };
    let Ok(mut decoder) = Decoder::new(format, bytes) else { return false };
    let mut head = [0; 512];
    std::io::Read::read_exact(&mut decoder, &mut head).is_ok()
}

/// `Documentation/arch/x86/boot.rst`.
fn bzimage(bytes: &[u8], len: Option<usize>) -> Result<Container, Error> {
    const LAYER: &str = "x86 bzImage";
    if bytes.len() < 0x250 {
        return Err(Error::Truncated { layer: LAYER, have: bytes.len(), need: 0x250 });
    }
    let protocol = u16_at(bytes, 0x206).unwrap_or(0);
    // XLF_KERNEL_64, from protocol 2.12 on.
    let wide = protocol >= 0x020c && bytes[0x236] & 1 != 0;
    let arch = if wide { Arch::X86_64 } else { Arch::X86 };
    let version = kernel_version(bytes);
    let mut found = Container::plain(LayerKind::BzImage { protocol, version }, Some(arch), len);
    let Some(len) = len else { return Ok(found) };
    if protocol < 0x0208 {
        let what = format!("is {protocol:#06x}: too old to have the offset of its payload");
        found.problems.push(Problem { layer: LAYER, field: "version", offset: 0x206, what });
        return Ok(found);
    }
    let setup_sectors = match bytes[0x1f1] {
        0 => 4,
        count => count as usize,
    };
    let base = (setup_sectors + 1) * 512;
    let code = bytes.get(base..).unwrap_or_default();
    if code.is_empty() {
        let value = setup_sectors as u64;
        let limit = len as u64;
        return Err(Error::OutOfRange {
            layer: LAYER,
            field: "setup_sects",
            offset: 0x1f1,
            value,
            limit,
        });
    }
    let (offset, size) = (u32_at(bytes, 0x248), u32_at(bytes, 0x24c));
    let range = checked(
        LAYER,
        code.len(),
        ("payload_offset", 0x248, offset.unwrap_or(0)),
        ("payload_length", 0x24c, size.unwrap_or(0)),
    )?;
    let range = base + range.start..base + range.end;
    found.inner = match Format::detect(&bytes[range.clone()]) {
        Some(_) => Inner::At(range),
        None if bytes[range.clone()].starts_with(b"\x7fELF") => Inner::At(range),
        None if bytes[range.clone()].starts_with(LZOP_MAGIC) => Inner::At(range),
        None => return Err(Error::NoPayload { layer: LAYER }),
    };
    Ok(found)
}

/// The NUL-terminated string at `kernel_version` + 0x200.
fn kernel_version(bytes: &[u8]) -> Option<String> {
    let pointer = u16_at(bytes, 0x20e).filter(|pointer| *pointer != 0)?;
    let text = bytes.get(pointer as usize + 0x200..)?;
    let text = &text[..text.len().min(512)];
    let end = text.iter().position(|byte| *byte == 0)?;
    let text = std::str::from_utf8(&text[..end]).ok()?;
    text.starts_with(|c: char| c.is_ascii_digit()).then(|| text.to_owned())
}

/// The range in two 32-bit fields, each with its name and its offset.
fn range_in(
    layer: &'static str,
    bytes: &[u8],
    len: usize,
    offset: (&'static str, usize),
    size: (&'static str, usize),
) -> Result<Range<usize>, Error> {
    let value = |at| u32_at(bytes, at).unwrap_or(0);
    checked(layer, len, (offset.0, offset.1, value(offset.1)), (size.0, size.1, value(size.1)))
}

/// The same with the values: (name, offset, value).
fn checked(
    layer: &'static str,
    len: usize,
    offset: (&'static str, usize, u32),
    size: (&'static str, usize, u32),
) -> Result<Range<usize>, Error> {
    let out_of_range = |(field, offset, value): (&'static str, usize, u32), limit: usize| {
        Error::OutOfRange { layer, field, offset, value: u64::from(value), limit: limit as u64 }
    };
    let start = offset.2 as usize;
    if start >= len {
        return Err(out_of_range(offset, len));
    }
    match size.2 as usize {
        0 => Err(out_of_range(size, len)),
        length if length > len - start => Err(out_of_range(size, len - start)),
        length => Ok(start..start + length),
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_le_bytes)
}

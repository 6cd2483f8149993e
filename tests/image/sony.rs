//! Sony's boot image, an ELF file with program headers. The results are checked with goblin, an
//! independent ELF parser.

use crate::common;
use crate::common::cli;

use cli::Scratch;
use common::vendor_images;
use goblin::elf::{Elf, ProgramHeader};

const LINE: &str = "console=ttyHSL0,115200,n8 androidboot.hardware=sony";

fn sony() -> Vec<u8> {
    vendor_images().into_iter().find(|(name, _)| name == "sony").unwrap().1
}

fn scratch() -> Scratch {
    let scratch = Scratch::new();
    scratch.file("boot.img", &sony());
    scratch
}

fn headers(bytes: &[u8]) -> Vec<ProgramHeader> {
    Elf::parse(bytes).unwrap().program_headers
}

/// The contents of the segment with these flags.
fn segment(bytes: &[u8], flags: u32) -> &[u8] {
    let headers = headers(bytes);
    let header = headers.iter().find(|header| header.p_flags == flags).unwrap();
    &bytes[header.p_offset as usize..][..header.p_filesz as usize]
}

const KERNEL: u32 = 0;
const RAMDISK: u32 = 0x8000_0000;
const RPM: u32 = 0x0100_0000;
const CMDLINE: u32 = 0x2000_0000;

/// `after` is `before` with another ramdisk and command line, everything else where it belongs.
fn right(before: &[u8], after: &[u8], ramdisk: &[u8], line: &[u8]) {
    assert!(segment(after, RAMDISK) == ramdisk, "ramdisk");
    assert_eq!(segment(after, CMDLINE), line);
    for flags in [KERNEL, RPM] {
        assert!(segment(after, flags) == segment(before, flags), "{flags:#x}");
    }
    let (old, new) = (headers(before), headers(after));
    let mut end = 4096;
    for (old, new) in old.iter().zip(&new) {
        assert_eq!(new.p_offset, end, "each follows the one before it");
        assert_eq!(new.p_memsz, new.p_filesz);
        let kept = |h: &ProgramHeader| (h.p_type, h.p_flags, h.p_vaddr, h.p_paddr, h.p_align);
        assert_eq!(kept(old), kept(new));
        end += new.p_filesz;
    }
    let behind = &after[end as usize..];
    assert!(behind.iter().all(|byte| *byte == 0), "nothing behind the last one");
    assert!(before[..44] == after[..44], "the ELF header");
}

#[test]
fn a_longer_command_line_moves_the_following_segments() {
    let scratch = scratch();
    let text = scratch.ok("cmdline boot.img");
    assert_eq!(text, format!("{LINE}\n"));
    scratch.ok("cmdline boot.img --add quiet -o out.img");
    let line = format!("{LINE} quiet\n");
    right(&sony(), &scratch.read("out.img"), segment(&sony(), RAMDISK), line.as_bytes());
}

#[test]
fn a_ramdisk_edit_moves_the_following_segments() {
    let scratch = scratch();
    scratch.file("new", &[7; 5001]);
    scratch.ok("ramdisk boot.img add etc/new new -o out.img");
    let out = scratch.read("out.img");
    let ramdisk = segment(&out, RAMDISK).to_vec();
    assert!(
        ramdisk.starts_with(segment(&sony(), RAMDISK))
            && ramdisk.len() > segment(&sony(), RAMDISK).len()
    );
    right(&sony(), &out, &ramdisk, format!("{LINE}\n").as_bytes());
}

#[test]
fn the_command_line_is_a_file_of_the_unpacked_image() {
    let scratch = scratch();
    scratch.ok("unpack boot.img -d dir");
    assert_eq!(scratch.read("dir/cmdline"), format!("{LINE}\n").as_bytes());
    assert!(!String::from_utf8(scratch.read("dir/image.toml")).unwrap().contains("ttyHSL0"));
    for line in ["another=1\n", &format!("{LINE}!\n"), &LINE.replace("115200", "921600")] {
        scratch.file("dir/cmdline", line.as_bytes());
        scratch.ok("repack dir -o out.img");
        right(&sony(), &scratch.read("out.img"), segment(&sony(), RAMDISK), line.as_bytes());
    }
}

#[test]
fn an_address_is_edited_in_the_manifest() {
    let scratch = scratch();
    scratch.ok("unpack boot.img -d dir");
    let manifest = String::from_utf8(scratch.read("dir/image.toml")).unwrap();
    assert!(manifest.contains("ramdisk_addr = 0x41500000\n"), "{manifest}");
    scratch.file("dir/image.toml", manifest.replace("0x41500000", "0x42500000").as_bytes());
    scratch.ok("repack dir -o out.img");
    let out = scratch.read("out.img");
    let ramdisk = headers(&out).into_iter().find(|header| header.p_flags == RAMDISK).unwrap();
    assert_eq!(ramdisk.p_paddr, 0x4250_0000);
}

#[test]
fn a_command_line_that_cannot_be_is_refused() {
    let scratch = scratch();
    let error = scratch.error(&format!("cmdline boot.img --add {} -o out.img", "x".repeat(1023)));
    assert!(error.contains("cmdline holds 1023"), "{error}");
    // The flags of the command line's segment become those of an IPL.
    let mut bytes = sony();
    bytes[52 + 3 * 32 + 27] = 0x40;
    scratch.file("without.img", &bytes);
    let error = scratch.error("cmdline without.img --add quiet -o out.img");
    assert!(error.contains("this Sony ELF has no segment for a command line"), "{error}");
    assert!(!scratch.exists("out.img"));
}

#[test]
fn segments_with_pages_between_them_keep_their_alignment() {
    let packed = sony();
    let mut bytes = packed[..4096].to_vec();
    for (index, header) in headers(&packed).iter().enumerate() {
        bytes.resize(bytes.len().next_multiple_of(2048), 0);
        let offset = (bytes.len() as u32).to_le_bytes();
        bytes[52 + 32 * index + 4..][..4].copy_from_slice(&offset);
        bytes.extend_from_slice(&packed[header.p_offset as usize..][..header.p_filesz as usize]);
    }
    let scratch = Scratch::new();
    scratch.file("boot.img", &bytes);
    scratch.file("new", &[7; 5001]);
    scratch.ok("ramdisk boot.img add etc/new new -o out.img");
    let out = scratch.read("out.img");
    assert!(headers(&out).iter().all(|header| header.p_offset % 2048 == 0));
    for flags in [KERNEL, RPM, CMDLINE] {
        assert!(segment(&out, flags) == segment(&bytes, flags), "{flags:#x}");
    }
    scratch.ok("ramdisk out.img cat etc/new");
}

#[test]
fn another_elf_file_is_not_a_boot_image() {
    // No segment is a ramdisk any more: an ELF file like a vmlinux.
    let mut bytes = sony();
    bytes[52 + 32 + 27] = 0;
    let scratch = Scratch::new();
    scratch.file("vmlinux", &bytes);
    let text = scratch.ok("info vmlinux");
    assert!(text.contains("a bare kernel"), "{text}");
}

#[test]
fn a_segment_beyond_the_end_is_reported_and_edits_are_refused() {
    let scratch = Scratch::new();
    let bytes = sony();
    scratch.file("boot.img", &bytes[..bytes.len() - 10]);
    let error = scratch.error("cmdline boot.img --add quiet -o out.img");
    assert!(
        error.contains("cmdline_size at offset 164: says that cmdline takes 52 bytes"),
        "{error}"
    );
    assert!(!scratch.exists("out.img"));
}

//! What the tests share: fixtures and the real images beside a checkout.

#![allow(dead_code, reason = "each test program uses its own part")]

pub mod archives;
pub mod avb;
pub mod cli;
#[cfg(feature = "device")]
pub mod device_tree;
pub mod flows;
pub mod ko;
pub mod peers;
#[path = "../../fuzz/shared.rs"]
pub mod shared;
pub mod synthetic;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub use shared::elf;
use vfioboot::compression::{self, Format};
use vfioboot::image::{Chunk, Edit, Image, SectionName};
use vfioboot::ramdisk::cpio::CpioWriter;

/// A file under `fixtures/`.
pub fn fixture_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

/// The bytes of a file under `fixtures/`.
pub fn fixture(name: &str) -> Vec<u8> {
    let path = fixture_path(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every image under `fixtures/images`, by name, in order.
pub fn images() -> Vec<(String, Vec<u8>)> {
    files_in(&fixture_path("images"))
}

/// Every vendor's form under `fixtures/vendor`, by name, in order.
pub fn vendor_images() -> Vec<(String, Vec<u8>)> {
    files_in(&fixture_path("vendor"))
}

/// Real images that may lie beside a checkout; says so when they do not.
pub fn real_images() -> Vec<(String, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/images");
    if !dir.is_dir() {
        eprintln!("no real images beside the checkout: only the fixtures are tested");
        return Vec::new();
    }
    files_in(&dir)
}

fn files_in(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut files: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "img"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, fs::read(&path).unwrap())
        })
        .collect();
    files.sort();
    files
}

/// The image with an AVB footer as avbtool leaves it: padded to `partition` bytes, a vbmeta blob
/// at the next 4096 bytes, the footer at the end.
pub fn with_avb_footer(image: &[u8], partition: usize) -> Vec<u8> {
    let mut blob = b"AVB0".to_vec();
    blob.extend((4..1600u32).map(|i| (i * 7) as u8));
    let at = image.len().next_multiple_of(4096);
    let mut bytes = image.to_vec();
    bytes.resize(at, 0);
    bytes.extend_from_slice(&blob);
    bytes.resize(partition - 64, 0);
    bytes.extend_from_slice(b"AVBf\0\0\0\x01\0\0\0\0");
    for number in [image.len(), at, blob.len()] {
        bytes.extend_from_slice(&(number as u64).to_be_bytes());
    }
    bytes.resize(partition, 0);
    bytes
}

/// The image after `change`, through the library's own `rebuild`.
pub fn edited(image: &[u8], change: impl FnOnce(&mut Edit<'_>)) -> Vec<u8> {
    let image = Image::parse(image).unwrap();
    let mut edit = image.edit().unwrap();
    change(&mut edit);
    image.rebuild(edit).unwrap().output.to_vec()
}

/// The image with another command line.
pub fn with_cmdline(image: &[u8], line: &str) -> Vec<u8> {
    edited(image, |edit| edit.header.set_cmdline(line.as_bytes()).unwrap())
}

/// The image with other bytes in one section.
pub fn with_section(image: &[u8], name: SectionName, bytes: Vec<u8>) -> Vec<u8> {
    edited(image, |edit| edit.sections.push((name, vec![Chunk::owned(bytes)])))
}

/// The image with a kernel of this config. `lines` come after what every ramdisk needs, and
/// the last line of a symbol wins.
pub fn with_config(image: &[u8], lines: &str) -> Vec<u8> {
    with_section(image, SectionName::Kernel, kernel(lines))
}

/// The release of [`kernel`].
pub const RELEASE: &str = "6.1.99-test";

/// An arm64 Image (Documentation/arch/arm64/booting.rst) with a banner and an embedded config;
/// no code.
pub fn kernel(lines: &str) -> Vec<u8> {
    let mut config = "CONFIG_ARM64=y\nCONFIG_BLK_DEV_INITRD=y\n".to_owned();
    for format in ["GZIP", "BZIP2", "LZMA", "XZ", "LZ4", "ZSTD"] {
        let line = format!("CONFIG_RD_{format}=y\n");
        if !lines.contains(&format!("CONFIG_RD_{format} ")) {
            config += &line;
        }
    }
    if lines.contains("CONFIG_BLK_DEV_INITRD ") {
        config = config.replace("CONFIG_BLK_DEV_INITRD=y\n", "");
    }
    config += lines;
    let packed = compression::encode(Format::Gzip, config.as_bytes(), None).unwrap();
    let mut image = vec![0; 64];
    image[56..60].copy_from_slice(b"ARM\x64");
    let banner = format!("Linux version {RELEASE} (builder@test) (gcc 12) #1 SMP\n\0");
    for part in [banner.as_bytes(), b"IKCFG_ST", &packed, b"IKCFG_ED"] {
        image.extend_from_slice(part);
    }
    image.resize(image.len().next_multiple_of(4096), 0);
    let size = image.len() as u64;
    image[16..24].copy_from_slice(&size.to_le_bytes());
    image
}

/// `e_machine` of arm64 and x86_64.
pub const AARCH64: u16 = 183;
/// See [`AARCH64`].
pub const X86_64: u16 = 62;

/// An executable like [`elf`] that asks for an interpreter: a dynamic executable.
pub fn dynamic_elf(machine: u16) -> Vec<u8> {
    shared::elf_with(machine, 3)
}

/// A `.ko` file with a `.modinfo` section and nothing else.
pub fn module(name: &str, release: &str, depends: &str) -> Vec<u8> {
    let info = format!("name={name}\0depends={depends}\0vermagic={release} SMP preempt aarch64\0");
    let names = b"\0.modinfo\0.shstrtab\0";
    let mut ko = elf(AARCH64)[..64].to_vec();
    ko[16..18].copy_from_slice(&1u16.to_le_bytes());
    ko[32..40].fill(0);
    ko[54..58].fill(0);
    let info_at = 64u64;
    let names_at = info_at + info.len() as u64;
    let table_at = names_at + names.len() as u64;
    ko[40..48].copy_from_slice(&table_at.to_le_bytes());
    ko[58..64].copy_from_slice(&[64, 0, 3, 0, 2, 0]);
    ko.extend_from_slice(info.as_bytes());
    ko.extend_from_slice(names);
    let sections = [
        (0u32, 0u32, 0u64, 0u64),
        (1, 1, info_at, info.len() as u64),
        (10, 3, names_at, names.len() as u64),
    ];
    for (name, kind, offset, size) in sections {
        ko.extend_from_slice(&name.to_le_bytes());
        ko.extend_from_slice(&kind.to_le_bytes());
        // flags, address, offset, size, link and info in one, alignment, entry size
        for number in [0, 0, offset, size, 0, 1, 0] {
            ko.extend_from_slice(&number.to_le_bytes());
        }
    }
    ko
}

/// A newc archive of regular files and, for names that end in `/`, directories.
pub fn cpio(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = CpioWriter::new(Vec::new());
    for (name, data) in entries {
        match name.strip_suffix('/') {
            Some(name) => writer.dir(name.as_bytes(), 0o755).unwrap(),
            None => writer.file(name.as_bytes(), 0o755, data).unwrap(),
        }
    }
    writer.finish().unwrap()
}

/// What `program` makes of `input`.
pub fn pipe(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input));
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "{program} {arguments:?}: {}", output.status);
    output.stdout
}

/// A flattened device tree whose only node is `/chosen`.
pub fn device_tree(bootargs: &str) -> Vec<u8> {
    let mut structure = Vec::new();
    let word = |bytes: &mut Vec<u8>, value: usize| bytes.extend((value as u32).to_be_bytes());
    let text = |bytes: &mut Vec<u8>, text: &str| {
        bytes.extend(text.as_bytes());
        bytes.push(0);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    };
    word(&mut structure, 1);
    text(&mut structure, "");
    word(&mut structure, 1);
    text(&mut structure, "chosen");
    word(&mut structure, 3);
    word(&mut structure, bootargs.len() + 1);
    word(&mut structure, 0);
    text(&mut structure, bootargs);
    for token in [2, 2, 9] {
        word(&mut structure, token);
    }
    let strings = b"bootargs\0";
    let (reserved, at) = (40, 56);
    let mut tree = Vec::new();
    let total = at + structure.len() + strings.len();
    for value in [
        0xd00dfeed,
        total,
        at,
        at + structure.len(),
        reserved,
        17,
        16,
        0,
        strings.len(),
        structure.len(),
    ] {
        word(&mut tree, value);
    }
    tree.resize(at, 0);
    tree.extend(structure);
    tree.extend(strings);
    tree
}

/// An error with its causes, in one line, as the programs print it.
pub fn message(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

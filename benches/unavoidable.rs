//! What `benches/run` measures against: the work that no program can leave out which does the same,
//! with the libraries and compiler options of vfioboot.
//!
//! `unavoidable patch IMAGE OUT`: for a patch of IMAGE, one copy of the file on disk, one SHA-256 of
//! it (and the SHA-1 of the `id` in headers v0 to v2), the ramdisk unpacked once, the kernel
//! searched once for its config.
//!
//! `unavoidable copy IMAGE OUT`: the copy and the SHA-256 alone, for undoing a patch.
//!
//! `unavoidable decode FILE`: the stream that FILE starts with, unpacked once.

use std::error::Error;
use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use sha1::Sha1;
use sha2::{Digest, Sha256};
use vfioboot::compression::{Decoder, Format};
use vfioboot::image::{Header, Image, SectionName};
use vfioboot::kernel::Kernel;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let paths: Vec<&Path> = arguments.iter().skip(1).map(Path::new).collect();
    let work = arguments.first().and_then(|work| work.to_str());
    match (work, paths.as_slice()) {
        (Some("patch"), [image, out]) => patch(&map(image)?, out),
        (Some("copy"), [image, out]) => copy(&map(image)?, out),
        (Some("decode"), [file]) => decode(&map(file)?),
        _ => Err("usage: unavoidable patch|copy IMAGE OUT, unavoidable decode FILE".into()),
    }
}

fn map(path: &Path) -> std::io::Result<memmap2::Mmap> {
    // SAFETY: a private, read-only mapping of a file that nobody changes meanwhile.
    unsafe { memmap2::Mmap::map(&File::open(path)?) }
}

fn patch(bytes: &[u8], out: &Path) -> Result<(), Box<dyn Error>> {
    let image = Image::parse(bytes)?;
    if let Some(kernel) = image.section(SectionName::Kernel) {
        Kernel::parse(kernel)?.scan()?;
    }
    decode(image.section(SectionName::Ramdisk).ok_or("no ramdisk")?)?;
    if image.header().and_then(Header::id).is_some() {
        std::hint::black_box(Sha1::digest(bytes));
    }
    copy(bytes, out)
}

fn copy(bytes: &[u8], out: &Path) -> Result<(), Box<dyn Error>> {
    std::hint::black_box(Sha256::digest(bytes));
    let mut file = File::create(out)?;
    file.write_all(bytes)?;
    Ok(file.sync_all()?)
}

/// Unpacks the stream that `bytes` start with and keeps nothing.
fn decode(bytes: &[u8]) -> Result<(), Box<dyn Error>> {
    let format = Format::detect(bytes).ok_or("is not compressed")?;
    let mut decoder = Decoder::new(format, bytes)?;
    let mut buffer = vec![0; 128 << 10];
    while decoder.read(&mut buffer).map_err(|error| decoder.error(&error))? > 0 {}
    Ok(())
}

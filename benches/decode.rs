//! `decode FILE`: unpack the stream that FILE starts with, once, and keep nothing: what
//! `vfioboot check` of a compressed kernel is measured against.

use std::io::{Error, Read};

use vfioboot::compression::{Decoder, Format};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args_os().nth(1).ok_or("usage: decode FILE")?;
    let file = std::fs::File::open(path)?;
    // SAFETY: a private, read-only mapping of a file that nobody changes meanwhile.
    let bytes = unsafe { memmap2::Mmap::map(&file) }?;
    let format = Format::detect(&bytes).ok_or("not compressed")?;
    let mut decoder = Decoder::new(format, &bytes)?;
    let mut buffer = vec![0; 128 << 10];
    while decoder.read(&mut buffer).map_err(|e| Error::other(decoder.error(&e)))? > 0 {}
    println!("{} bytes of {format} to {}", decoder.consumed(), decoder.produced());
    Ok(())
}

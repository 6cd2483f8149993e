//! What the ramdisks of an image hold, segment by segment, as the kernel unpacks them:
//!
//!     cargo run --example list_ramdisk -- init_boot.img

use std::error::Error;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use vfioboot::bootset::{BootSet, File};
use vfioboot::ramdisk::{Entries, Limits};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args_os().nth(1).map(PathBuf::from).ok_or("expected an image")?;
    list_ramdisk(&path, &mut io::stdout().lock())
}

/// Write the entries of each ramdisk: segment, mode, size in bytes and path.
pub fn list_ramdisk(path: &Path, out: &mut dyn Write) -> Result<(), Box<dyn Error>> {
    let bytes = std::fs::read(path)?;
    let set = BootSet::new([File::new(path.to_string_lossy(), &bytes)])?;
    for ramdisk in set.ramdisks() {
        writeln!(out, "{}:", ramdisk.spot)?;
        // a stream: the ramdisk is never in memory as a whole
        let mut entries = Entries::new(ramdisk.bytes, Limits::default());
        while let Some(entry) = entries.next_entry()? {
            let (mode, size) = (entry.header.mode, entry.header.filesize);
            let path = entry.path().escape_ascii();
            writeln!(out, "{:3} {mode:06o} {size:9} {path}", entries.segment())?;
        }
    }
    Ok(())
}

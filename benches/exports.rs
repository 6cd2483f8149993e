//! The symbols that a kernel exports, read from its image, as lines of `Module.symvers`.
//!
//!     cargo run -p vfioboot-measure --bin exports -- KERNEL

use std::error::Error;
use std::fs;
use std::io::Write;

use vfioboot::kernel::Kernel;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("expected KERNEL")?;
    let bytes = fs::read(&path)?;
    let exports = Kernel::parse(&bytes)?.exports()?.ok_or("no table of exported symbols found")?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for (name, export) in exports.iter() {
        let kind = if export.gpl { "EXPORT_SYMBOL_GPL" } else { "EXPORT_SYMBOL" };
        let crc = export.crc.unwrap_or_default();
        writeln!(out, "{crc:#010x}\t{name}\tvmlinux\t{kind}\t{}", export.namespace)?;
    }
    Ok(())
}

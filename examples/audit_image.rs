//! Can this kernel pass PCI devices through? The audit of the images of one device:
//!
//!     cargo run --example audit_image -- boot.img [vendor_boot.img init_boot.img …]

use std::error::Error;
use std::io::{self, Write};
use std::path::PathBuf;

use vfioboot::audit::{self, Profile, Verdict};
use vfioboot::bootset::{BootSet, File};

fn main() -> Result<(), Box<dyn Error>> {
    let paths: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    audit_image(&paths, &mut io::stdout().lock())
}

/// Write what the rules say about the images in these files.
pub fn audit_image(paths: &[PathBuf], out: &mut dyn Write) -> Result<(), Box<dyn Error>> {
    let files = paths.iter().map(std::fs::read).collect::<Result<Vec<_>, _>>()?;
    let named = std::iter::zip(paths, &files);
    let set = BootSet::new(named.map(|(path, bytes)| File::new(path.to_string_lossy(), bytes)))?;

    let profile = Profile::builtin("passthrough")?;
    let report = audit::check(&set, &audit::Options::new(profile))?;
    writeln!(out, "{}", report.kernel())?;
    for finding in report.evaluation.with(Verdict::Fail) {
        writeln!(out, "{}: {}", finding.rule.id, finding.rule.fix)?;
    }
    writeln!(out, "{}", report.outcome().name())?;
    Ok(())
}

//! Patch the images of one device so that a PCI device is on vfio-pci before /init runs, and
//! restore the originals from the result:
//!
//!     cargo run --example patch_and_undo -- vfiorun-aarch64 0000:01:00.0 boot.img [vendor_boot.img …]
//!
//! Nothing is written: [`Output`](vfioboot::image::Output) has what `vfioboot patch -d` puts into
//! files.

use std::error::Error;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use vfioboot::bootset::{BootSet, File};
use vfioboot::patch::{self, Options, Runtimes};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let vfiorun = arguments.next().ok_or("expected VFIORUN DEVICE IMAGE…")?;
    let device = arguments.next().and_then(|device| device.into_string().ok());
    let images: Vec<PathBuf> = arguments.map(PathBuf::from).collect();
    let out = &mut io::stdout().lock();
    patch_and_undo(vfiorun.as_ref(), &device.ok_or("expected a device")?, &images, out)
}

/// Write what a patch for `device` changes, and check that it can be undone.
pub fn patch_and_undo(
    vfiorun: &Path,
    device: &str,
    paths: &[PathBuf],
    out: &mut dyn Write,
) -> Result<(), Box<dyn Error>> {
    let vfiorun = std::fs::read(vfiorun)?;
    let files = paths.iter().map(std::fs::read).collect::<Result<Vec<_>, _>>()?;
    let named = std::iter::zip(paths, &files);
    let set = BootSet::new(named.map(|(path, bytes)| File::new(path.to_string_lossy(), bytes)))?;

    let options = Options::new(vec![device.parse()?], Runtimes::given(&vfiorun));
    let plan = patch::plan(&set, &options)?;
    for warning in &plan.warnings {
        writeln!(out, "warning: {warning}")?;
    }
    let mut patched = files.clone();
    for ((file, path), image) in patched.iter_mut().zip(paths).zip(&plan.images) {
        if let Some(output) = &image.output {
            writeln!(out, "{}: {} bytes", path.display(), image.size_after)?;
            *file = output.to_vec();
        }
    }

    let named = std::iter::zip(paths, &patched);
    let set = BootSet::new(named.map(|(path, bytes)| File::new(path.to_string_lossy(), bytes)))?;
    for (original, restored) in files.iter().zip(patch::unpatch(&set)?) {
        if restored.is_some_and(|restored| restored.to_vec() != *original) {
            return Err("unpatch does not restore the original".into());
        }
    }
    writeln!(out, "unpatch restores the originals")?;
    Ok(())
}

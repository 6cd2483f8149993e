//! The `rdinit=` parameters of a set.

use crate::cmdline::Cmdline;
use crate::image::{Header, ImageKind};
use crate::patch::context::Context;

/// The image whose line has the last `rdinit=`, in the order in which bootloaders join the lines
/// (vendor_boot, then boot), and the program that it names.
pub(crate) fn last(set: &Context<'_, '_>) -> Option<(usize, String)> {
    const LAST_FIRST: &[ImageKind] = &[ImageKind::Boot, ImageKind::VendorBoot];
    LAST_FIRST.iter().find_map(|kind| {
        let index = set.find(*kind)?;
        let line = set.images[index].header().map(Header::cmdline)?;
        Some((index, program(&Cmdline::new(line))?))
    })
}

/// The program that the last `rdinit=` of a line names.
pub(crate) fn program<B: AsRef<[u8]>>(line: &Cmdline<B>) -> Option<String> {
    // PID 1 starts in /, so a relative path means the same.
    let path = String::from_utf8_lossy(line.value("rdinit")?).into_owned();
    Some(if path.starts_with('/') { path } else { format!("/{path}") })
}

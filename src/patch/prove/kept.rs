//! Everything that the kernel unpacked before the patch is still unpacked, with the same content.

use std::collections::BTreeSet;

use super::read_back::ReadBack;
use super::unproven::Unproven;
use crate::bootset::{BootSet, Spot};
use crate::patch::error::Error;
use crate::patch::parts::Parts;
use crate::ramdisk::cpio::FileType;
use crate::ramdisk::normalise;
use crate::ramdisk::tree::TreeNode;

/// The paths at which the plan puts files of the patch in place of others.
pub(super) fn planned(parts: &Parts<'_>) -> Vec<String> {
    let original = parts.all.original.iter().map(|original| original.path());
    let paths: BTreeSet<String> = parts.all.shadows.iter().cloned().chain(original).collect();
    paths.into_iter().collect()
}

/// Where an entry is: the ramdisk, and its number in it.
type Place = (Spot, usize);

/// Prove it; gives the number of paths that are the same. `shadowed` are the planned exceptions.
///
/// # Errors
/// [`Error::NotProven`].
pub(super) fn prove(
    originals: &BootSet<'_>,
    read: &ReadBack<'_>,
    shadowed: &[String],
) -> Result<usize, Error> {
    stops(originals, read)?;
    let tree = originals.tree()?;
    let (before, after) = (Numbering::of(originals), Numbering::of(&read.set));
    // A planned path may lead through symbolic links.
    let resolved = shadowed.iter().filter_map(|path| tree.resolve(path.as_bytes(), false));
    let planned: BTreeSet<Vec<u8>> = resolved
        .chain(shadowed.iter().map(|path| normalise(path.as_bytes()).into_owned()))
        .collect();
    let mut old = tree.nodes().peekable();
    let mut unchanged = 0;
    for now in read.set.tree()?.nodes() {
        if let Some(lost) = old.next_if(|node| node.path < now.path) {
            return Err(Unproven::Lost { path: shown(lost.path) }.into());
        }
        let was = old.next_if(|node| node.path == now.path);
        let ours = after.find(now.source).filter(|at| read.segment_of(at.0, at.1).is_some());
        match (was, ours) {
            (None, Some(_)) => {}
            (None, None) => return Err(Unproven::Appeared { path: shown(now.path) }.into()),
            (Some(_), Some(_)) if planned.contains(now.path) => {}
            (Some(was), Some(_)) if same_directory(originals, read, &was, &now) => unchanged += 1,
            (Some(was), None) if same(read, (&before, &after), &was, &now) => unchanged += 1,
            (Some(_), _) => return Err(Unproven::Changed { path: shown(now.path) }.into()),
        }
    }
    match old.next() {
        Some(lost) => Err(Unproven::Lost { path: shown(lost.path) }.into()),
        None => Ok(unchanged),
    }
}

/// The kernel stops where it stopped before, if it did.
fn stops(originals: &BootSet<'_>, read: &ReadBack<'_>) -> Result<(), Error> {
    let parts = std::iter::zip(&originals.initramfs().parts, &read.set.initramfs().parts);
    for (before, now) in parts {
        if let (None, Some(stop)) = (before.stops, now.stops) {
            let image = read.set.images()[now.spot.image].kind();
            return Err(Unproven::Stops { image, stop }.into());
        }
    }
    Ok(())
}

/// Whether both have the same entry.
fn same(
    read: &ReadBack<'_>,
    (before, after): (&Numbering, &Numbering),
    was: &TreeNode<'_>,
    now: &TreeNode<'_>,
) -> bool {
    let now_at = after.find(now.source).map(|(spot, entry)| {
        let own = read.segments.iter().find(|own| own.spot == spot);
        let ours = own.filter(|own| own.entries.end <= entry).map_or(0, |own| own.entries.len());
        (spot, entry - ours)
    });
    now_at.is_some()
        && before.find(was.source) == now_at
        && (was.file_type, was.target) == (now.file_type, now.target)
}

/// Whether the patch makes the same directory again, with the same mode.
fn same_directory(
    originals: &BootSet<'_>,
    read: &ReadBack<'_>,
    was: &TreeNode<'_>,
    now: &TreeNode<'_>,
) -> bool {
    let mode = |set: &BootSet<'_>, source| {
        let (_, inventory, entry) = set.locate(source)?;
        inventory.header(entry).map(|header| header.mode)
    };
    was.file_type == FileType::Directory
        && now.file_type == FileType::Directory
        && mode(originals, was.source) == mode(&read.set, now.source)
}

fn shown(path: &[u8]) -> String {
    format!("/{}", path.escape_ascii())
}

/// The numbers of entries over all ramdisks.
struct Numbering(Vec<(Spot, usize)>);

impl Numbering {
    fn of(set: &BootSet<'_>) -> Self {
        Numbering(set.numbering())
    }

    fn find(&self, source: u64) -> Option<Place> {
        let mut source = usize::try_from(source).ok()?;
        for (spot, count) in &self.0 {
            if source < *count {
                return Some((*spot, source));
            }
            source -= count;
        }
        None
    }
}

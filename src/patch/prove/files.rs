//! The kernel finds every file of the patch, with its content.

use std::collections::BTreeMap;

use super::expected::{Content, ExpectedFile};
use super::read_back::{ReadBack, distinct};
use super::unproven::Unproven;
use crate::patch::error::Error;
use crate::patch::rewrite::{PlacedSegment, Rewritten};
use crate::ramdisk::cpio::FileType;

/// Prove it; gives their paths.
///
/// # Errors
/// [`Error::NotProven`].
pub(super) fn prove(read: &ReadBack<'_>, rewritten: &Rewritten<'_>) -> Result<Vec<String>, Error> {
    let order: Vec<_> = read.set.initramfs().parts.iter().map(|part| part.spot).collect();
    let mut segments: Vec<&PlacedSegment> = rewritten.segments.iter().collect();
    segments.sort_by_key(|segment| order.iter().position(|spot| *spot == segment.spot));
    // The last one of a path is the one that stays.
    let mut files: BTreeMap<&str, (&PlacedSegment, &ExpectedFile)> = BTreeMap::new();
    for segment in segments {
        files.extend(segment.files.iter().map(|file| (file.path.as_str(), (segment, file))));
    }
    for (segment, file) in files.values() {
        find(read, segment, file)?;
    }
    Ok(files.into_keys().map(str::to_owned).collect())
}

fn find(read: &ReadBack<'_>, segment: &PlacedSegment, file: &ExpectedFile) -> Result<(), Error> {
    let path = || file.path.clone();
    let found = read.set.tree()?.find(file.path.as_bytes(), false);
    let found = found.ok_or_else(|| Unproven::Missing { path: path() })?;
    let located = read.set.locate(found.source).and_then(|(ramdisk, inventory, entry)| {
        let own = read.segment_of(ramdisk.spot, entry)?;
        Some((own, entry, inventory.header(entry)?.mode))
    });
    // An entry of another ramdisk stands there.
    let (own, entry, mode) = located.ok_or_else(|| Unproven::Content { path: path() })?;
    let same = |bytes: &[u8]| {
        let index = distinct(segment).iter().position(|content| *content == bytes);
        own.spot == segment.spot && own.contents.get(&entry) == index.as_ref()
    };
    let regular = found.file_type == FileType::Regular;
    let right = match &file.content {
        Content::File(bytes) => regular && same(bytes),
        Content::Program(bytes) => regular && same(bytes) && mode & 0o111 != 0,
        Content::Link(target) => found.file_type == FileType::Symlink && found.target == *target,
    };
    match right {
        true => Ok(()),
        false => Err(Unproven::Content { path: path() }.into()),
    }
}

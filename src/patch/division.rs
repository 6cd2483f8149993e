//! Which files of a patch go into which segment.
//!
//! The kernel unpacks the ramdisks one after the other, and a later file replaces an earlier one. The
//! runtime and its files have names of their own, so they stand with the word on the command line
//! that starts them. Only a file that replaces another must be unpacked after that one; if there is
//! such a file further back, the files of other programs go into a second segment there, together:
//! a list of modules with the modules that it names.

use super::context::Context;
use super::contribution::Contribution;
use super::error::Error;
use super::place::{Place, Places};
use super::prove::unproven::Unproven;
use super::segment_file::SegmentDirectory;
use crate::bootfile::ORIGINALS;
use crate::ramdisk::cpio::FileType;

/// The places of the segments, and the files of the second one.
pub(crate) struct Division {
    /// Where the segment with the runtime goes.
    pub home: Place,
    /// The second segment.
    pub late: Option<Late>,
}

/// A segment without the runtime.
pub(crate) struct Late {
    /// Where it goes.
    pub place: Place,
    /// Its files.
    pub files: Contribution,
}

impl Division {
    /// Divide the files in `all`, whose runtime goes to `home`: those of the second segment are taken
    /// out.
    ///
    /// # Errors
    /// [`Error::NotProven`] for a file that a ramdisk behind all places would replace.
    pub(crate) fn of(
        set: &Context<'_, '_>,
        places: &Places,
        mut home: Place,
        all: &mut Contribution,
    ) -> Result<Self, Error> {
        let Some((path, position)) = last_replaced(set, all)?.filter(|(_, at)| *at > home.position)
        else {
            add_parents(set, home, all)?;
            return Ok(Division { home, late: None });
        };
        let place = places.last().filter(|place| place.position >= position);
        let place = place.ok_or_else(|| Unproven::Replaced {
            path,
            by: set.images[set.initramfs().parts[position].spot.image].kind(),
        })?;
        if place.spot.image == home.spot.image {
            home = place;
            add_parents(set, home, all)?;
            return Ok(Division { home, late: None });
        }
        let kept = |path: &str| path.starts_with(ORIGINALS);
        let (stay, files) = all.files.drain(..).partition(|file| kept(&file.path));
        all.files = stay;
        let mut files = Contribution {
            files,
            directories: std::mem::take(&mut all.directories),
            runtime_names: std::mem::take(&mut all.runtime_names),
            ..Contribution::default()
        };
        add_parents(set, home, all)?;
        add_parents(set, place, &mut files)?;
        Ok(Division { home, late: Some(Late { place, files }) })
    }
}

/// Of the files of the ramdisks that `all` replaces, the one that is unpacked last; and which of the
/// ramdisks has it.
fn last_replaced(
    set: &Context<'_, '_>,
    all: &Contribution,
) -> Result<Option<(String, usize)>, Error> {
    let paths = all.files.iter().map(|file| &file.path).chain(&all.runtime_names);
    let mut last = None;
    for path in paths {
        let Some(found) = set.tree()?.find(path.as_bytes(), false) else { continue };
        let Some(position) = position(set, found.source) else { continue };
        if last.as_ref().is_none_or(|(_, before)| *before < position) {
            last = Some((path.clone(), position));
        }
    }
    Ok(last)
}

/// Which of the ramdisks, in memory order, has the entry of this number.
fn position(set: &Context<'_, '_>, source: u64) -> Option<usize> {
    let spot = set.spot_of(source)?;
    set.initramfs().parts.iter().position(|part| part.spot == spot)
}

/// The directories of `files` that only a ramdisk after `place` makes: the kernel drops a file
/// whose directory is missing.
fn add_parents(set: &Context<'_, '_>, place: Place, files: &mut Contribution) -> Result<(), Error> {
    let paths: Vec<String> = files
        .files
        .iter()
        .map(|file| file.path.clone())
        .chain(files.runtime_names.iter().cloned())
        .chain(files.directories.iter().map(|directory| directory.path.clone()))
        .collect();
    let mut added: Vec<SegmentDirectory> = Vec::new();
    for path in &paths {
        for (end, _) in path.match_indices('/').filter(|(at, _)| *at > 0) {
            let parent = &path[..end];
            let known = |own: &SegmentDirectory| own.path == parent;
            if added.iter().any(known) || files.directories.iter().any(known) {
                continue;
            }
            let Some(found) = set.tree()?.find(parent.as_bytes(), false) else { continue };
            let later = position(set, found.source).is_some_and(|at| at > place.position);
            if found.file_type != FileType::Directory || !later {
                continue;
            }
            let mode = set.entry(&found)?.map_or(0o755, |(header, _)| header.mode & 0o7777);
            added.push(SegmentDirectory { path: parent.to_owned(), mode });
        }
    }
    added.append(&mut files.directories);
    files.directories = added;
    Ok(())
}

//! The set of the results, parsed again.

use std::collections::BTreeMap;
use std::ops::Range;

use super::expected::Content;
use super::unproven::Unproven;
use crate::bootset::{BootSet, Spot};
use crate::image::Image;
use crate::patch::error::Error;
use crate::patch::materialise::copy;
use crate::patch::rewrite::{PlacedSegment, Rewritten};
use crate::ramdisk::Collector;

/// The bytes of the results; None for an image that stays as it is.
pub(super) fn materialise(set: &BootSet<'_>, rewritten: &Rewritten<'_>) -> Vec<Option<Vec<u8>>> {
    let mut bytes: Vec<Option<Vec<u8>>> = set.images().iter().map(|_| None).collect();
    for image in &rewritten.images {
        bytes[image.index] = Some(copy(set, &image.output));
    }
    bytes
}

/// The set of the results.
pub(super) struct ReadBack<'b> {
    /// The set.
    pub set: BootSet<'b>,
    /// Indices of the images that changed, in the order of flashing.
    pub changed: Vec<usize>,
    /// The segments of the patch.
    pub segments: Vec<ReadSegment>,
}

/// A segment of the patch, as it was read.
pub(super) struct ReadSegment {
    /// Its ramdisk.
    pub spot: Spot,
    /// The numbers of its entries.
    pub entries: Range<usize>,
    /// For entries whose data is that of an expected file: which of the [`distinct`] contents it is.
    pub contents: BTreeMap<usize, usize>,
}

impl<'b> ReadBack<'b> {
    /// Read the results, whose `bytes` are those of the images that changed.
    ///
    /// # Errors
    /// [`Error::NotProven`].
    pub(super) fn read<'a: 'b>(
        originals: &BootSet<'a>,
        bytes: &'b [Option<Vec<u8>>],
        rewritten: &Rewritten<'_>,
    ) -> Result<Self, Error> {
        let mut images: Vec<Image<'b>> = Vec::new();
        for (original, bytes) in std::iter::zip(originals.images(), bytes) {
            images.push(match bytes {
                None => original.clone(),
                Some(bytes) => {
                    let image = original.kind();
                    let unreadable = |source| Unproven::Unreadable { image, source };
                    Image::parse(bytes).map_err(unreadable)?
                }
            });
        }
        let set = originals.successor(images);
        let changed: Vec<usize> = rewritten.images.iter().map(|image| image.index).collect();
        let mut segments = Vec::new();
        for segment in &rewritten.segments {
            segments.push(read_segment(originals, &set, segment)?);
        }
        for index in 0..set.images().len() {
            // Also the other fragments of an image that changed.
            set.share(index, originals);
        }
        let roles = std::iter::zip(set.roles(), originals.roles());
        if let Some(index) = roles.into_iter().position(|(now, before)| now != before) {
            return Err(Unproven::Role { image: originals.images()[index].kind() }.into());
        }
        Ok(ReadBack { set, changed, segments })
    }

    /// The segment with an entry of this ramdisk.
    pub(super) fn segment_of(&self, spot: Spot, entry: usize) -> Option<&ReadSegment> {
        self.segments.iter().find(|own| own.spot == spot && own.entries.contains(&entry))
    }
}

fn read_segment(
    originals: &BootSet<'_>,
    set: &BootSet<'_>,
    segment: &PlacedSegment,
) -> Result<ReadSegment, Error> {
    let image = set.images()[segment.spot.image].kind();
    let unproven = || Unproven::Ramdisk { image };
    let (before, now) = (originals.ramdisk(segment.spot), set.ramdisk(segment.spot));
    let (before, now) = (before.ok_or_else(unproven)?, now.ok_or_else(unproven)?);
    let (start, end) = (segment.range.start, segment.range.end);
    let inserted = start.checked_sub(now.offset).zip(end.checked_sub(now.offset));
    let (start, end) = inserted.filter(|(_, end)| *end <= now.bytes.len()).ok_or_else(unproven)?;
    let mut compare = Compare { contents: distinct(segment), found: BTreeMap::new() };
    let entries = now.read_grown(before, &(start..end), &mut compare).ok().flatten();
    let entries = entries.ok_or_else(unproven)?;
    Ok(ReadSegment { spot: segment.spot, entries, contents: compare.found })
}

/// The contents of the regular files of a segment, each once.
pub(super) fn distinct(segment: &PlacedSegment) -> Vec<&[u8]> {
    let mut distinct: Vec<&[u8]> = Vec::new();
    for file in &segment.files {
        let (Content::File(bytes) | Content::Program(bytes)) = &file.content else { continue };
        if !distinct.contains(&bytes.as_slice()) {
            distinct.push(bytes);
        }
    }
    distinct
}

/// Compares the data of entries with what is expected.
struct Compare<'f> {
    contents: Vec<&'f [u8]>,
    found: BTreeMap<usize, usize>,
}

impl Collector for Compare<'_> {
    fn wants(&self, _: &str, size: u32) -> bool {
        self.contents.iter().any(|content| content.len() == size as usize)
    }

    fn take(&mut self, entry: usize, _: &str, data: &[u8]) {
        if let Some(content) = self.contents.iter().position(|content| *content == data) {
            self.found.insert(entry, content);
        }
    }
}

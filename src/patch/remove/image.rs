//! An image with another command line and other ramdisks.

use crate::bootset::Ramdisk;
use crate::image::{
    self, AvbChange, Chunk, DerivedPolicy, Header, Image, Output, SectionName, resize_fragment,
};
use crate::patch::error::Error;
use crate::ramdisk::edit::Pieces;

/// A ramdisk with its new bytes.
pub(super) type Changed<'r, 'a> = (&'r Ramdisk<'a>, Pieces<'a>);

/// `image` with the command line `line` and these ramdisks, and what happened to AVB's metadata.
///
/// # Errors
/// [`Error::Image`].
pub(super) fn rewritten<'a>(
    image: &Image<'a>,
    line: Option<Vec<u8>>,
    changed: Vec<Changed<'_, 'a>>,
) -> Result<(Output<'a>, Option<AvbChange>), Error> {
    let Some(mut edit) = image.edit() else {
        let chunks = changed.into_iter().flat_map(|(_, pieces)| chunks(pieces)).collect();
        let output = image.wrap(Output::from_chunks(chunks), DerivedPolicy::KeepRight)?;
        return Ok((output, None));
    };
    if let Some(line) = line {
        edit.header.set_cmdline(&line)?;
    }
    if let Some((first, _)) = changed.first() {
        edit.sections = sections(image, first.section, changed)?;
    }
    let rebuilt = image.rebuild(edit)?;
    Ok((rebuilt.output, rebuilt.avb_change))
}

/// The section of the ramdisks, and the table of its fragments.
fn sections<'a>(
    image: &Image<'a>,
    section: SectionName,
    changed: Vec<Changed<'_, 'a>>,
) -> Result<Vec<(SectionName, Vec<Chunk<'a>>)>, Error> {
    let old = image.section(section).unwrap_or_default();
    let entry_size = image.header().and_then(Header::ramdisk_table).map(|(_, size)| size);
    let table = image.section(SectionName::VendorRamdiskTable);
    let mut table = table.zip(entry_size).map(|(table, size)| (table.to_vec(), size));
    let (mut new, mut position) = (Vec::new(), 0);
    for (Ramdisk { spot, offset, bytes, .. }, pieces) in changed {
        let size: usize = pieces.iter().map(|piece| piece.len()).sum();
        new.push(Chunk::borrowed(&old[position..*offset]));
        new.extend(chunks(pieces));
        position = offset + bytes.len();
        if let (Some((table, entry_size)), Some(number)) = (&mut table, spot.fragment) {
            let resized = u32::try_from(size).ok();
            let resized =
                resized.and_then(|size| resize_fragment(table, *entry_size, number, size));
            *table = resized.ok_or(image::Error::SectionTooLarge { section, size: size as u64 })?;
        }
    }
    new.push(Chunk::borrowed(&old[position..]));
    new.retain(|chunk| !chunk.is_empty());
    let table =
        table.map(|(table, _)| (SectionName::VendorRamdiskTable, vec![Chunk::owned(table)]));
    Ok(std::iter::once((section, new)).chain(table).collect())
}

fn chunks(pieces: Pieces<'_>) -> impl Iterator<Item = Chunk<'_>> {
    pieces.into_iter().map(Chunk::Bytes)
}

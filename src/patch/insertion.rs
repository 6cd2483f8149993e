//! The point in an image at which the segment is inserted.

use super::context::Context;
use super::error::Error;
use super::place::Place;
use crate::bootset::Spot;
use crate::compression::Format;
use crate::image::{self, Chunk, Header, Image, SectionName, Wrapper, resize_fragment};
use crate::ramdisk::AppendPoint;

/// The point at which the segment is inserted.
pub(crate) struct Insertion<'a> {
    /// Where the ramdisk is.
    pub spot: Spot,
    /// The section that grows.
    pub section: SectionName,
    /// The offset in it, in bytes.
    pub offset: usize,
    /// The ramdisk (of a vendor_boot: the fragment) that grows.
    pub ramdisk: &'a [u8],
    /// The segment has a multiple of this many bytes, where zeros can be added.
    alignment: usize,
    /// Format and alignment of the segment.
    pub point: AppendPoint,
}

/// Sections with their new bytes.
pub(crate) type Sections<'a> = Vec<(SectionName, Vec<Chunk<'a>>)>;

impl<'a> Insertion<'a> {
    /// The insertion at this place of a set.
    ///
    /// # Errors
    /// [`Error::NoRamdisk`], [`Error::Ramdisk`] for a ramdisk to which nothing can be appended.
    pub(crate) fn find(set: &Context<'_, 'a>, place: Place) -> Result<Self, Error> {
        let ramdisk = set.ramdisk(place.spot).ok_or(Error::NoRamdisk)?;
        let inventory = set.inventory(place.spot).ok_or(Error::NoRamdisk)?;
        let point = inventory.append_point_after(place.after)?;
        let carrier = &set.images[place.spot.image];
        let wrapper = carrier.section_wrapper(SectionName::Ramdisk);
        let wrapper = wrapper.as_ref().or(carrier.wrapper());
        let alignment = match place.spot.fragment {
            Some(_) => 4,
            None => wrapper.map_or(1, Wrapper::alignment),
        };
        Ok(Insertion {
            spot: place.spot,
            section: ramdisk.section,
            offset: ramdisk.offset + point.offset,
            ramdisk: ramdisk.bytes,
            alignment,
            point,
        })
    }

    /// Pad the segment so that a raw archive in a fragment after this one, and a bootconfig, stay at a
    /// multiple of 4. No zeros may follow lz4_legacy; only lz4_legacy follows it in a fragment anyway,
    /// and the kernel reads a bootconfig anywhere.
    pub(crate) fn keep_alignment(&self, segment: &mut Vec<u8>) {
        if self.point.format != Some(Format::Lz4Legacy) {
            segment.resize(segment.len().next_multiple_of(self.alignment), 0);
        }
    }

    /// The sections of `carrier` with the segment in them.
    ///
    /// # Errors
    /// [`Error::NoRamdisk`]; [`Error::Image`] if the fragment becomes too large for its table.
    pub(crate) fn sections(
        &self,
        carrier: &Image<'a>,
        segment: Vec<u8>,
    ) -> Result<Sections<'a>, Error> {
        let section = self.section;
        let old = carrier.section(section).ok_or(Error::NoRamdisk)?;
        let (head, tail) = old.split_at(self.offset);
        let fragment_size = self.ramdisk.len() + segment.len();
        let mut chunks = vec![Chunk::borrowed(head), Chunk::owned(segment), Chunk::borrowed(tail)];
        chunks.retain(|chunk| !chunk.is_empty());
        let mut sections = vec![(section, chunks)];
        let table = carrier.header().and_then(Header::ramdisk_table);
        let old_table = carrier.section(SectionName::VendorRamdiskTable);
        if let (Some(index), Some((_, entry_size)), Some(old)) =
            (self.spot.fragment, table, old_table)
        {
            let table = u32::try_from(fragment_size)
                .ok()
                .and_then(|size| resize_fragment(old, entry_size, index, size))
                .ok_or(image::Error::SectionTooLarge { section, size: fragment_size as u64 })?;
            sections.push((SectionName::VendorRamdiskTable, vec![Chunk::owned(table)]));
        }
        Ok(sections)
    }
}

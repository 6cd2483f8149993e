//! The point in an image at which the segment is inserted.

use super::assignment::Assignment;
use super::error::Error;
use crate::compression::Format;
use crate::image::{self, Chunk, Header, Image, SectionName, Wrapper, resize_fragment};
use crate::ramdisk::{self, AppendPoint, Inventory};

/// The point at which the segment is inserted.
pub(crate) struct Insertion<'a> {
    /// The section that grows.
    pub section: SectionName,
    /// The offset in it, in bytes.
    pub offset: usize,
    /// The ramdisk (of a vendor_boot: the fragment) that grows.
    pub ramdisk: &'a [u8],
    /// Index of the fragment.
    fragment: Option<usize>,
    /// The segment has a multiple of this many bytes, where zeros can be added.
    alignment: usize,
    /// Format and alignment of the segment.
    pub point: AppendPoint,
}

/// Sections with their new bytes.
pub(crate) type Sections<'a> = Vec<(SectionName, Vec<Chunk<'a>>)>;

impl<'a> Insertion<'a> {
    /// The end of the assigned ramdisk in the image `carrier`; `inventory` is that of the ramdisk.
    ///
    /// # Errors
    /// [`Error::NoRamdisk`], [`Error::Image`] for a fragment in a vendor's wrapper,
    /// [`Error::Ramdisk`] for a ramdisk to which nothing can be appended.
    pub(crate) fn find(
        carrier: &Image<'a>,
        assignment: &Assignment,
        inventory: Option<&Inventory>,
    ) -> Result<Self, Error> {
        let wrapper = carrier.section_wrapper(SectionName::Ramdisk);
        let wrapper = wrapper.as_ref().or(carrier.wrapper());
        let (section, start, ramdisk) = match assignment.fragment {
            None => {
                let section = SectionName::Ramdisk;
                (section, 0, carrier.section(section).ok_or(Error::NoRamdisk)?)
            }
            Some(index) => {
                let fragments = carrier.fragments();
                let fragment = fragments.get(index).ok_or(Error::NoRamdisk)?;
                fragment.require_bare()?;
                (SectionName::VendorRamdisk, fragment.offset, fragment.bytes)
            }
        };
        let point = match inventory {
            Some(inventory) => inventory.append_point()?,
            None => ramdisk::append_point(ramdisk)?,
        };
        let fragment = assignment.fragment;
        let alignment = match fragment {
            Some(_) => 4,
            None => wrapper.map_or(1, Wrapper::alignment),
        };
        Ok(Insertion { section, offset: start + point.offset, ramdisk, fragment, alignment, point })
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
        if let (Some(index), Some((_, entry_size)), Some(old)) = (self.fragment, table, old_table) {
            let table = u32::try_from(fragment_size)
                .ok()
                .and_then(|size| resize_fragment(old, entry_size, index, size))
                .ok_or(image::Error::SectionTooLarge { section, size: fragment_size as u64 })?;
            sections.push((SectionName::VendorRamdiskTable, vec![Chunk::owned(table)]));
        }
        Ok(sections)
    }
}

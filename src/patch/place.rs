//! Where in the images the segment goes.

use super::Error;
use super::target::Targets;
use crate::compression::Format;
use crate::image::{self, Chunk, Header, Image, SectionName, resize_fragment};
use crate::ramdisk::{self, AppendPoint};

/// Where the segment goes.
pub struct Place<'a> {
    /// The section that grows.
    pub section: SectionName,
    /// Where in it, in bytes.
    pub at: usize,
    /// The ramdisk (of a vendor_boot: the fragment) that grows.
    pub ramdisk: &'a [u8],
    pub point: AppendPoint,
}

impl<'a> Place<'a> {
    pub fn find(carrier: &Image<'a>, targets: &Targets) -> Result<Self, Error> {
        let (section, start, ramdisk) = match targets.fragment {
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
        let point = ramdisk::append_point(ramdisk)?;
        Ok(Place { section, at: start + point.offset, ramdisk, point })
    }

    /// A raw archive in a ramdisk that is loaded behind this one must stay at a multiple of 4.
    /// Behind lz4_legacy no zeros may stand, and nothing but lz4_legacy follows anyway.
    pub fn keep_alignment(&self, segment: &mut Vec<u8>) {
        if self.point.format != Some(Format::Lz4Legacy) {
            segment.resize(segment.len().next_multiple_of(4), 0);
        }
    }

    /// The sections with the segment in them.
    pub fn grown(
        &self,
        carrier: &Image<'a>,
        targets: &Targets,
        segment: Vec<u8>,
    ) -> Result<Vec<(SectionName, Vec<Chunk<'a>>)>, Error> {
        let section = self.section;
        let old = carrier.section(section).ok_or(Error::NoRamdisk)?;
        let (head, tail) = old.split_at(self.at);
        let fragment_size = self.ramdisk.len() + segment.len();
        let mut chunks = vec![Chunk::borrowed(head), Chunk::owned(segment), Chunk::borrowed(tail)];
        chunks.retain(|chunk| !chunk.is_empty());
        let mut sections = vec![(section, chunks)];
        let table = carrier.header().and_then(Header::ramdisk_table);
        let old_table = carrier.section(SectionName::VendorRamdiskTable);
        if let (Some(index), Some((_, entry_size)), Some(old)) =
            (targets.fragment, table, old_table)
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

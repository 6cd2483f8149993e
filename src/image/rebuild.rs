//! Write an image with an edited header or other sections: everything else is copied.

use std::borrow::Cow;

use super::avb;
use super::layout::{offset_of, place};
use super::region::trailing_zeros;
use super::{
    AvbChange, AvbFooter, AvbPolicy, Chunk, DerivedPolicy, Error, Header, Image, Output,
    RegionKind, SectionName, id,
};

/// What to change.
#[derive(Clone, Debug)]
pub struct Edit<'a> {
    /// The header to write. Section sizes, `id` and `recovery_dtbo_offset` are seen to.
    pub header: Header,
    /// Sections that get another payload; all others are copied. A vendor's wrapper around one
    /// stays around it.
    pub sections: Vec<(SectionName, Vec<Chunk<'a>>)>,
    /// What becomes of the `id` of v0–v2.
    pub id: DerivedPolicy,
    /// What becomes of an AVB footer and its vbmeta blob.
    pub avb: AvbPolicy<'a>,
    /// What becomes of sizes and checksums in vendors' wrappers.
    pub wrapper: DerivedPolicy,
}

/// An edited image.
#[derive(Clone, Debug)]
pub struct Rebuilt<'a> {
    /// The bytes to write.
    pub output: Output<'a>,
    /// The header as written.
    pub header: Header,
    /// The AVB footer as written.
    pub avb: Option<AvbFooter>,
    /// What became of the AVB footer and its blob; None where there was none.
    pub avb_change: Option<AvbChange>,
    /// Bytes up to where padding to the partition's size, or AVB's blob, begins.
    pub content_size: u64,
}

impl<'a> Image<'a> {
    /// An edit that changes nothing yet; None for a bare payload, which has no header.
    pub fn edit(&self) -> Option<Edit<'a>> {
        let header = self.header()?.clone();
        let (id, wrapper) = (DerivedPolicy::KeepRight, DerivedPolicy::KeepRight);
        Some(Edit { header, sections: Vec::new(), id, avb: AvbPolicy::Preserve, wrapper })
    }

    /// The image with `edit` applied.
    ///
    /// Padding of sections whose size stays is copied, that of others is zeros up to the page.
    /// What follows the sections moves with them; zeros at the end of the file give way, so
    /// that the size of a partition dump stays. With an AVB footer the vbmeta blob is moved to
    /// the next 4096 bytes behind the image, the footer names its place, and the file's size
    /// stays; what is in the blob is up to the [`AvbPolicy`].
    ///
    /// # Errors
    /// [`Error::Lies`] when the image has problems, [`Error::NoSection`],
    /// [`Error::SectionTooLarge`], [`Error::Avb`], [`Error::PartitionTooSmall`],
    /// [`Error::Sealed`], [`Error::WrapperTooLarge`].
    pub fn rebuild(&self, edit: Edit<'a>) -> Result<Rebuilt<'a>, Error> {
        let Edit { mut header, sections: replaced, id: policy, avb, wrapper } = edit;
        // An unterminated command line may be edited: writing it anew mends it.
        let lie = self.problems().iter().find(|problem| !problem.field.ends_with("cmdline"));
        if let Some(problem) = lie {
            return Err(Error::Lies(problem.clone()));
        }
        let old_header = self.header().ok_or(Error::NoSection(SectionName::Kernel))?;
        let mut replaced = self.wrap_sections(replaced, wrapper)?;
        if let Some(line) = header.new_cmdline_segment(old_header)
            && !replaced.iter().any(|(name, _)| *name == SectionName::Cmdline)
        {
            replaced.push((SectionName::Cmdline, vec![Chunk::owned(line)]));
        }
        self.update_sizes(&mut header, &replaced)?;
        self.update_id(&mut header, &replaced, policy);

        let mut output = Output::default();
        output.push(Chunk::owned(header.to_bytes()));
        let (placed, _) = place(old_header, self.bytes().len());
        let new_places = header.sections().into_iter().filter(|field| field.size > 0);
        let page = u64::from(header.page_size());
        let mut old_end = header.size();
        let first = old_header.sections_start().min(self.bytes().len());
        output.push(Chunk::borrowed(&self.bytes()[old_end..first]));
        old_end = first.max(old_end);
        let last_padded = placed.last().is_none_or(|last| {
            (last.offset + last.size + last.padding).is_multiple_of(page as usize)
        });
        let count = new_places.clone().count();
        for (i, field) in new_places.enumerate() {
            pad_to_page(&mut output, page);
            let old = placed.iter().find(|old| old.section == field.section);
            match replaced.iter().find(|(section, _)| *section == field.section) {
                Some((_, chunks)) => chunks.iter().cloned().for_each(|chunk| output.push(chunk)),
                None => {
                    let old = old.ok_or(Error::NoSection(field.section))?;
                    output.push(Chunk::borrowed(&self.bytes()[old.offset..old.offset + old.size]));
                }
            }
            match old {
                Some(old) if old.size == field.size as usize => {
                    let start = old.offset + old.size;
                    output.push(Chunk::borrowed(&self.bytes()[start..start + old.padding]));
                }
                // An image cut off right behind its last section stays that way.
                _ if i + 1 == count && !last_padded => {}
                _ => pad_to_page(&mut output, page),
            }
        }
        if let Some(last) = placed.last() {
            old_end = last.offset + last.size + last.padding;
        }
        let mut rebuilt = self.finish(output, header, old_end, avb)?;
        rebuilt.output = self.wrap(rebuilt.output, wrapper)?;
        rebuilt.content_size += self.start() as u64;
        Ok(rebuilt)
    }

    /// Put the wrappers of sections around their new payloads.
    fn wrap_sections(
        &self,
        replaced: Vec<(SectionName, Vec<Chunk<'a>>)>,
        policy: DerivedPolicy,
    ) -> Result<Vec<(SectionName, Vec<Chunk<'a>>)>, Error> {
        let wrap = |(name, chunks)| match self.section_wrapper(name) {
            Some(wrapper) => Ok((name, wrapper.wrap(chunks, policy)?)),
            None => Ok((name, chunks)),
        };
        replaced.into_iter().map(wrap).collect()
    }

    fn update_sizes(
        &self,
        header: &mut Header,
        replaced: &[(SectionName, Vec<Chunk<'a>>)],
    ) -> Result<(), Error> {
        let known = header.sections();
        for (section, chunks) in replaced {
            if !known.iter().any(|field| field.section == *section) {
                return Err(Error::NoSection(*section));
            }
            let size: u64 = chunks.iter().map(Chunk::len).sum();
            let fits = u32::try_from(size);
            let size = fits.map_err(|_| Error::SectionTooLarge { section: *section, size })?;
            header.set_section_size(*section, size);
        }
        // Kept when it was right, like the id; an image without a DTBO has 0 there.
        let stated = self.header().and_then(Header::recovery_dtbo_offset);
        let true_offset = self.header().and_then(|old| offset_of(old, SectionName::RecoveryDtbo));
        if stated.is_some_and(|offset| offset != 0 && Some(offset) == true_offset)
            && let Some(offset) = offset_of(header, SectionName::RecoveryDtbo)
        {
            header.set_recovery_dtbo_offset(offset);
        }
        Ok(())
    }

    fn update_id(
        &self,
        header: &mut Header,
        replaced: &[(SectionName, Vec<Chunk<'a>>)],
        policy: DerivedPolicy,
    ) {
        let Some(stated) = self.header().and_then(Header::id) else { return };
        let untouched = replaced.is_empty() && policy == DerivedPolicy::KeepRight;
        if policy == DerivedPolicy::Keep || untouched {
            return;
        }
        let (before, after) = id::before_and_after(self, replaced);
        if policy == DerivedPolicy::Recompute || *stated == before {
            header.set_id(after);
        }
    }

    /// What follows the last section, `old_end` being where it began before.
    fn finish(
        &self,
        mut output: Output<'a>,
        header: Header,
        old_end: usize,
        policy: AvbPolicy<'_>,
    ) -> Result<Rebuilt<'a>, Error> {
        let file = self.bytes().len() as u64;
        let Some(footer) = self.avb() else {
            let tail = &self.bytes()[old_end..];
            output.push(Chunk::borrowed(&tail[..tail.len() - trailing_zeros(tail)]));
            let content_size = output.size();
            output.push(Chunk::Zeros(file.saturating_sub(content_size)));
            return Ok(Rebuilt { output, header, avb: None, avb_change: None, content_size });
        };
        let stated = footer.original_image_size as usize;
        let old_content = stated.max(old_end).max(self.trailing_end());
        output.push(Chunk::borrowed(&self.bytes()[old_end..old_content]));
        let content_size = output.size();
        let Some((blob, change)) = avb::rewrite(self, &policy, &output, content_size)? else {
            self.require_room(content_size, 0, file)?;
            output.push(Chunk::Zeros(file - content_size));
            let avb_change = Some(AvbChange::Stripped);
            return Ok(Rebuilt { output, header, avb: None, avb_change, content_size });
        };
        let avb_change = Some(change);
        if content_size == old_content as u64 && matches!(blob, Cow::Borrowed(_)) {
            output.push(Chunk::borrowed(&self.bytes()[old_content..]));
            let avb = Some(footer.clone());
            return Ok(Rebuilt { output, header, avb, avb_change, content_size });
        }
        let mut footer = footer.clone();
        footer.original_image_size = content_size;
        footer.vbmeta_offset = content_size.next_multiple_of(AvbFooter::BLOB_ALIGNMENT);
        footer.vbmeta_size = blob.len() as u64;
        let end = footer.vbmeta_offset + footer.vbmeta_size;
        let room = file - AvbFooter::SIZE as u64;
        self.require_room(end, footer.vbmeta_size, room)?;
        output.push(Chunk::Zeros(footer.vbmeta_offset - content_size));
        output.push(Chunk::Bytes(blob));
        output.push(Chunk::Zeros(room - end));
        output.push(Chunk::owned(footer.to_bytes()));
        Ok(Rebuilt { output, header, avb: Some(footer), avb_change, content_size })
    }

    fn require_room(&self, end: u64, vbmeta: u64, room: u64) -> Result<(), Error> {
        match end.checked_sub(room) {
            Some(missing @ 1..) => Err(Error::PartitionTooSmall {
                partition: self.bytes().len() as u64,
                image: end - vbmeta,
                vbmeta,
                missing,
            }),
            _ => Ok(()),
        }
    }

    /// Where unknown bytes in front of the vbmeta blob end.
    fn trailing_end(&self) -> usize {
        let before_blob = self.regions().iter().take_while(|r| r.kind != RegionKind::Vbmeta);
        let trailing = before_blob.filter(|region| region.kind == RegionKind::Trailing);
        trailing.map(|region| region.offset + region.size).max().unwrap_or(0)
    }
}

fn pad_to_page(output: &mut Output<'_>, page: u64) {
    let size = output.size();
    output.push(Chunk::Zeros(size.next_multiple_of(page) - size));
}

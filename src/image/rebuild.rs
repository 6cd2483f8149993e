//! Write an image with an edited header or other sections: everything else is copied.

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
    /// The header to write. Section sizes, `id` and `recovery_dtbo_offset` are updated.
    pub header: Header,
    /// Sections with a new payload; all others are copied. The vendor wrapper of a section is kept.
    pub sections: Vec<(SectionName, Vec<Chunk<'a>>)>,
    /// How to treat the `id` of v0–v2.
    pub id: DerivedPolicy,
    /// How to treat an AVB footer and its vbmeta blob.
    pub avb: AvbPolicy<'a>,
    /// How to treat sizes and checksums in vendor wrappers.
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
    /// How the AVB footer and its blob were changed; None if there was no footer.
    pub avb_change: Option<AvbChange>,
    /// Bytes before the padding to the partition's size or the vbmeta blob.
    pub content_size: u64,
}

impl<'a> Image<'a> {
    /// An edit that changes nothing yet; None for a bare payload, which has no header.
    pub fn edit(&self) -> Option<Edit<'a>> {
        let header = self.header()?.clone();
        let (id, wrapper) = (DerivedPolicy::KeepRight, DerivedPolicy::KeepRight);
        Some(Edit { header, sections: Vec::new(), id, avb: AvbPolicy::Preserve, wrapper })
    }

    /// Apply `edit` to the image.
    ///
    /// The padding of a section whose size does not change is copied; other sections are padded
    /// with zeros to the page. Bytes after the sections move with them; zeros at the end of the
    /// file are dropped as needed, so that a partition dump keeps its size. With an AVB footer, the
    /// vbmeta blob moves to the next multiple of 4096 bytes after the image, the footer is updated,
    /// and the file keeps its size; the [`AvbPolicy`] decides on the contents of the blob.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] when the image has problems, [`Error::NoSection`],
    /// [`Error::SectionTooLarge`], [`Error::Avb`], [`Error::PartitionTooSmall`],
    /// [`Error::Sealed`], [`Error::WrapperTooLarge`].
    pub fn rebuild(&self, edit: Edit<'a>) -> Result<Rebuilt<'a>, Error> {
        let Edit { mut header, sections: replaced, id: policy, avb, wrapper } = edit;
        // An unterminated command line may be edited: writing it terminates it.
        let lie = self.problems().iter().find(|problem| !problem.field.ends_with("cmdline"));
        if let Some(problem) = lie {
            return Err(Error::Inconsistent(problem.clone()));
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
                // An image that ends right after its last section, without padding, stays that way.
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

    /// Wrap the new payloads in the wrappers of their sections.
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
        // Recomputed if it was correct, like the id; it is 0 in an image without a DTBO.
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

    /// Append the bytes that follow the last section, which started at `old_end` before.
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
        // Bytes after the image, which its digest does not cover, stay uncovered.
        let uncovered = if stated < old_end { 0 } else { old_content - stated };
        let covered = content_size - uncovered as u64;
        let Some((blob, change)) = avb::rewrite(self, &policy, &output, covered)? else {
            self.require_room(content_size, 0, file)?;
            output.push(Chunk::Zeros(file - content_size));
            let avb_change = Some(AvbChange::Stripped);
            return Ok(Rebuilt { output, header, avb: None, avb_change, content_size });
        };
        let avb_change = Some(change);
        let old_blob = footer.vbmeta_range();
        let mut footer = footer.clone();
        footer.original_image_size = covered;
        if content_size == old_content as u64 && blob.len() == old_blob.len() {
            let end = self.bytes().len() - AvbFooter::SIZE;
            output.push(Chunk::borrowed(&self.bytes()[old_content..old_blob.start]));
            output.push(Chunk::Bytes(blob));
            output.push(Chunk::borrowed(&self.bytes()[old_blob.end..end]));
            output.push(Chunk::owned(footer.to_bytes()));
            return Ok(Rebuilt { output, header, avb: Some(footer), avb_change, content_size });
        }
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

    /// The end of unknown bytes before the vbmeta blob.
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

//! The undo record: the data that `unpatch` needs, besides the patched image, to restore the
//! original byte for byte. JSON at `vfioboot/undo` in the appended segment.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::error::{Error, UndoRecordError};
use super::undo_parts::{Bytes, Tail, WrapperUndo, literal};
use crate::bootset::UNDO_FORMAT;
use crate::image::avb::Vbmeta;
use crate::image::layout::{Placed, place};
use crate::image::{Chunk, Edit, Header, Image, ImageKind, Output, RegionKind, SectionName};

/// The originals of a patched set of images.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UndoRecord {
    format: u32,
    /// Name and version of the program that patched.
    pub tool: String,
    /// One for each image that was changed; the first is the one that carries the record.
    pub images: Vec<ImageUndo>,
}

/// How to restore one original image from the patched one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageUndo {
    /// What kind of image it is.
    pub kind: ImageKind,
    /// Size of the original file in bytes.
    size: u64,
    /// The original wrapper of the vendor around the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wrapper: Option<WrapperUndo>,
    /// The original wrapper of the vendor around the section that grew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    section_wrapper: Option<WrapperUndo>,
    /// SHA-256 of the original file.
    #[serde(with = "super::hex")]
    sha256: [u8; 32],
    /// The original header; empty for a bare payload.
    #[serde(with = "super::hex")]
    header: Vec<u8>,
    /// The command line that the patch wrote; empty for a bare payload.
    #[serde(with = "super::hex")]
    patched_cmdline: Vec<u8>,
    /// The section that grew and where in it the segment was put.
    inserted: Option<(SectionName, u64)>,
    /// Sections whose bytes were replaced: the vendor ramdisk table.
    replaced: Vec<(SectionName, Bytes)>,
    /// Bytes that were not zero and were overwritten: offset in the original, bytes.
    displaced: Vec<(u64, Bytes)>,
    /// The data after the sections, in order; for a vbmeta image the whole image.
    tail: Vec<Tail>,
}

impl UndoRecord {
    /// A record for `images`.
    pub(crate) fn new(images: Vec<ImageUndo>) -> Self {
        let tool = format!("vfioboot {}", env!("CARGO_PKG_VERSION"));
        UndoRecord { format: UNDO_FORMAT, tool, images }
    }

    /// The record's bytes.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = serde_json::to_vec(self).map_err(UndoRecordError::Json)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Read a record.
    ///
    /// # Errors
    /// [`Error::UndoRecord`] for anything that this version did not write.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let Format { format } = serde_json::from_slice(bytes).map_err(UndoRecordError::Json)?;
        if format != UNDO_FORMAT {
            return Err(UndoRecordError::Format { format }.into());
        }
        let record: UndoRecord = serde_json::from_slice(bytes).map_err(UndoRecordError::Json)?;
        match record.images.is_empty() {
            true => Err(UndoRecordError::NoImages.into()),
            false => Ok(record),
        }
    }

    /// Add the images of another record that this one does not have.
    pub(crate) fn merge(&mut self, other: UndoRecord) {
        for image in other.images {
            if !self.images.contains(&image) {
                self.images.push(image);
            }
        }
    }

    /// The part for this image, patched or not: a set has one of each kind, but more vbmeta images.
    pub fn image(&self, image: &Image<'_>) -> Option<&ImageUndo> {
        let mut all = self.images.iter();
        all.find(|undo| undo.kind == image.kind() && undo.describes_the_same(image))
    }
}

impl ImageUndo {
    /// Record the data of `image` that writing `edit` will remove; `sections` are the replaced ones.
    /// Without an edit the image is a bare payload. `inserted` names the section that
    /// only grows, and where; its other bytes are not recorded.
    pub(crate) fn record(
        image: &Image<'_>,
        edit: Option<&Edit<'_>>,
        sections: &[(SectionName, Vec<Chunk<'_>>)],
        inserted: Option<(SectionName, u64)>,
    ) -> Self {
        let line = edit.and_then(|edit| edit.header.new_cmdline_segment(image.header()?));
        let line = line.map(|line| (SectionName::Cmdline, vec![Chunk::owned(line)]));
        let sections: Vec<_> = sections.iter().cloned().chain(line).collect();
        let old = |name| image.section(name).unwrap_or_default();
        let grows = |name| inserted.is_some_and(|(section, _)| section == name);
        let replaced = sections.iter().filter(|(name, _)| !grows(*name));
        let replaced = replaced.map(|(name, _)| (*name, Bytes(old(*name).to_vec()))).collect();
        let resized = |name| {
            let new = sections.iter().find(|(section, _)| *section == name);
            new.is_some_and(|(_, chunks)| {
                chunks.iter().map(Chunk::len).sum::<u64>() != old(name).len() as u64
            })
        };
        let (mut displaced, mut tail) = (Vec::new(), Vec::new());
        if let Some(header) = image.header() {
            let (placed, _) = place(header, image.bytes().len());
            displaced = displaced_bytes(image, placed.iter().filter(|own| resized(own.section)));
            let start = end_of_sections(header, &placed, image.bytes().len());
            let keeps_blob = edit.is_some_and(|edit| image.keeps_vbmeta(edit.avb));
            tail = tail_of(image, start, keeps_blob);
        } else if inserted.is_none() {
            tail.extend(literal(image.bytes()));
        }
        ImageUndo {
            kind: image.kind(),
            size: image.file().len() as u64,
            wrapper: image.wrapper().map(WrapperUndo::record),
            section_wrapper: inserted
                .and_then(|(section, _)| image.section_wrapper(section))
                .map(|wrapper| WrapperUndo::record(&wrapper)),
            sha256: image.sha256(),
            header: image.header().map(Header::to_bytes).unwrap_or_default(),
            patched_cmdline: edit.map(|edit| edit.header.cmdline()).unwrap_or_default(),
            inserted,
            replaced,
            displaced,
            tail,
        }
    }

    /// Of a vbmeta image: whether this one describes the same partitions. A patch changes their digests
    /// and keys only.
    fn describes_the_same(&self, image: &Image<'_>) -> bool {
        fn described(vbmeta: &Vbmeta<'_>) -> Vec<(&'static str, Option<Vec<u8>>)> {
            let descriptors = vbmeta.descriptors.iter().map(|entry| &entry.descriptor);
            descriptors.map(|own| (own.kind(), own.partition().map(<[u8]>::to_vec))).collect()
        }
        if self.kind != ImageKind::Vbmeta {
            return true;
        }
        let mut original = Output::default();
        let known = self.tail(image, 0, &mut original).map(|()| original.to_vec());
        let known =
            known.as_deref().and_then(|bytes| Some(described(&Vbmeta::parse(bytes, 0).ok()?)));
        let found = image.vbmeta().and_then(Result::ok);
        known.is_some() && known == found.as_ref().map(described)
    }

    /// Whether `patched` has another command line than the patch gave it.
    pub(crate) fn cmdline_changed(&self, patched: &Image<'_>) -> bool {
        patched.header().is_some_and(|header| header.cmdline() != self.patched_cmdline)
    }

    /// The command line of the original.
    pub(crate) fn original_line(&self) -> Option<Vec<u8>> {
        Header::parse(&self.header).ok().map(|header| header.cmdline())
    }

    /// The command line that the patch wrote.
    pub(crate) fn patched_line(&self) -> &[u8] {
        &self.patched_cmdline
    }

    /// The section that the patch enlarged, and the bytes in it that the original does not have: the
    /// segment, its padding, and anything added later.
    pub(crate) fn inserted(&self, patched: &Image<'_>) -> Option<(SectionName, Range<usize>)> {
        let (section, at) = self.inserted?;
        let old_size = match patched.header() {
            None => self.image_size(),
            Some(_) => {
                let sizes = Header::parse(&self.header).ok()?.sections();
                match &self.section_wrapper {
                    Some(wrapper) => wrapper.payload_size(),
                    None => u64::from(sizes.iter().find(|field| field.section == section)?.size),
                }
            }
        };
        let now = patched.section(section)?.len();
        let at = usize::try_from(at).ok()?;
        let end = at.checked_add(now.checked_sub(usize::try_from(old_size).ok()?)?)?;
        (end <= now).then_some((section, at..end))
    }

    /// The bytes of `section` that the original does not have, and that is all there is to it. None
    /// where the record has the section itself.
    pub(crate) fn cut(&self, patched: &Image<'_>, section: SectionName) -> Option<Range<usize>> {
        if self.replaced.iter().any(|(own, _)| *own == section) {
            return None;
        }
        match self.inserted {
            Some((own, _)) if own == section => self.inserted(patched).map(|(_, range)| range),
            Some(_) | None => patched.header().map(|_| 0..0),
        }
    }

    /// The original of `patched`, checked against the recorded SHA-256.
    ///
    /// # Errors
    /// [`Error::Undo`] when the patched image was changed since, so that the original cannot be
    /// had.
    pub(crate) fn restore<'a>(&self, patched: &Image<'a>) -> Result<Output<'a>, Error> {
        let output = self.rebuild(patched).ok_or(Error::Undo { kind: self.kind })?;
        if output.size() != self.size || output.sha256() != self.sha256 {
            return Err(Error::Undo { kind: self.kind });
        }
        Ok(output)
    }

    /// What the record makes of `patched`, not compared with the SHA-256; None if it lacks something
    /// that it must have.
    pub(super) fn rebuild<'a>(&self, patched: &Image<'a>) -> Option<Output<'a>> {
        // A patch never makes a file smaller, so a record cannot restore an image larger than the
        // patched one.
        let possible = self.size.max(self.image_size()) <= patched.file().len() as u64;
        let output = possible.then(|| self.assemble(patched)).flatten();
        match (&self.wrapper, patched.wrapper()) {
            (None, None) => output,
            (Some(undo), Some(now)) => output
                .and_then(|output| undo.restore(now, output, self.size))
                .map(Output::from_chunks),
            _ => None,
        }
    }

    /// SHA-256 of the original file.
    pub fn original_sha256(&self) -> [u8; 32] {
        self.sha256
    }

    /// Size of the original image without the wrapper around it, in bytes.
    fn image_size(&self) -> u64 {
        self.wrapper.as_ref().map_or(self.size, WrapperUndo::payload_size)
    }

    /// None if the patched image lacks something that it must have.
    fn assemble<'a>(&self, patched: &Image<'a>) -> Option<Output<'a>> {
        let mut output = Output::default();
        let Some(patched_header) = patched.header() else {
            match self.inserted {
                Some((section, _)) => {
                    self.section(patched, section, self.image_size(), &mut output)?
                }
                None => self.tail(patched, 0, &mut output)?,
            }
            return Some(output);
        };
        let header = Header::parse(&self.header).ok()?;
        let size = usize::try_from(self.image_size()).ok()?;
        let (placed, _) = place(&header, size);
        let (patched_placed, _) = place(patched_header, patched.bytes().len());
        output.push(Chunk::owned(self.header.clone()));
        let first = end_of_sections(&header, &[], size);
        output.push(Chunk::borrowed(patched.bytes().get(header.size()..first)?));
        for section in &placed {
            let gap = (section.offset as u64).checked_sub(output.size())?;
            output.push(Chunk::Zeros(gap));
            self.section(patched, section.section, section.size as u64, &mut output)?;
            let now = patched_placed.iter().find(|now| now.section == section.section)?;
            let end = (section.offset + section.size) as u64;
            let displaced = self.displaced.iter().find(|(offset, _)| *offset == end);
            output.push(match displaced {
                Some((_, bytes)) => Chunk::owned(bytes.0.clone()),
                None if now.size == section.size => {
                    Chunk::borrowed(padding_of(patched.bytes(), now).get(..section.padding)?)
                }
                None => Chunk::Zeros(section.padding as u64),
            });
        }
        let end = end_of_sections(patched_header, &patched_placed, patched.bytes().len());
        self.tail(patched, end, &mut output)?;
        Some(output)
    }

    /// The original data after the sections; the sections of the patched image end at `end`.
    fn tail<'a>(&self, patched: &Image<'a>, mut end: usize, output: &mut Output<'a>) -> Option<()> {
        let mut zeros = 0u64;
        for tail in &self.tail {
            output.push(match tail {
                Tail::Zeros(count) => {
                    zeros = zeros.checked_add(*count).filter(|zeros| *zeros <= self.size)?;
                    Chunk::Zeros(*count)
                }
                Tail::Literal(bytes) => Chunk::owned(bytes.0.clone()),
                Tail::Vbmeta => {
                    Chunk::borrowed(patched.bytes().get(patched.avb()?.vbmeta_range())?)
                }
                Tail::Trailing(count) => {
                    let start = end;
                    end = start.checked_add(usize::try_from(*count).ok()?)?;
                    Chunk::borrowed(patched.bytes().get(start..end)?)
                }
            });
        }
        Some(())
    }

    /// The original bytes of a section, `size` of them.
    fn section<'a>(
        &self,
        patched: &Image<'a>,
        name: SectionName,
        size: u64,
        output: &mut Output<'a>,
    ) -> Option<()> {
        if let Some((_, bytes)) = self.replaced.iter().find(|(section, _)| *section == name) {
            output.push(Chunk::owned(bytes.0.clone()));
            return Some(());
        }
        let wrapped = self.inserted.is_some_and(|(section, _)| section == name);
        if let Some(undo) = self.section_wrapper.as_ref().filter(|_| wrapped) {
            let now = patched.section_wrapper(name)?;
            let mut payload = Output::default();
            self.payload(now.payload(), name, undo.payload_size(), &mut payload)?;
            let chunks = undo.restore(&now, payload, self.size)?;
            chunks.into_iter().for_each(|chunk| output.push(chunk));
            return Some(());
        }
        self.payload(patched.raw_section(name)?, name, size, output)
    }

    /// `now` without the inserted bytes.
    fn payload<'a>(
        &self,
        now: &'a [u8],
        name: SectionName,
        size: u64,
        output: &mut Output<'a>,
    ) -> Option<()> {
        let at = self.inserted.filter(|(section, _)| *section == name);
        let Some((_, at)) = at else {
            output.push(Chunk::borrowed(now));
            return Some(());
        };
        let at = usize::try_from(at).ok()?;
        let inserted = now.len().checked_sub(usize::try_from(size).ok()?)?;
        output.push(Chunk::borrowed(now.get(..at)?));
        output.push(Chunk::borrowed(now.get(at.checked_add(inserted)?..)?));
        Some(())
    }
}

/// The padding of these sections, where it is not zero.
fn displaced_bytes<'p>(
    image: &Image<'_>,
    sections: impl Iterator<Item = &'p Placed>,
) -> Vec<(u64, Bytes)> {
    let padding = sections.map(|section| {
        let offset = section.offset + section.size;
        (offset as u64, padding_of(image.bytes(), section))
    });
    let used = padding.filter(|(_, padding)| padding.iter().any(|byte| *byte != 0));
    used.map(|(offset, padding)| (offset, Bytes(padding.to_vec()))).collect()
}

/// The data of the image from `start`, the end of its sections.
fn tail_of(image: &Image<'_>, start: usize, keeps_blob: bool) -> Vec<Tail> {
    let mut tail = Vec::new();
    let mut after_blob = false;
    for region in image.regions().iter().filter(|region| region.offset >= start) {
        match region.kind {
            // If the blob moves, the data after it moves, too.
            RegionKind::Trailing if !after_blob => tail.push(Tail::Trailing(region.size as u64)),
            RegionKind::Vbmeta if keeps_blob => tail.push(Tail::Vbmeta),
            _ => tail.extend(literal(image.region_bytes(region))),
        }
        after_blob |= region.kind == RegionKind::Vbmeta;
    }
    tail
}

fn padding_of<'a>(bytes: &'a [u8], placed: &Placed) -> &'a [u8] {
    let end = placed.offset + placed.size;
    &bytes[end..end + placed.padding]
}

/// The offset at which the sections end.
fn end_of_sections(header: &Header, placed: &[Placed], file_size: usize) -> usize {
    let first = || header.sections_start().min(file_size);
    placed.last().map_or_else(first, |last| last.offset + last.size + last.padding)
}

//! Vendor headers and trailers around a whole image or around one section.
//!
//! A form is data: magics, the offset of the payload, and the values that are computed from the
//! payload (`forms`). Such values are recomputed after an edit, but only if they were correct
//! before; all other bytes are kept.
//!
//! | file | subject |
//! |---|---|
//! | `forms` | the table of forms |
//! | `derived` | sizes and checksums of the payload |
//! | `trailer` | markers after the image |

mod derived;
mod forms;
mod trailer;

use std::ops::Range;

use super::region::trailing_zeros;
use super::{Chunk, DerivedPolicy, Error, ImageKind, Output, SectionName};
use derived::{Derived, Position};
use forms::Spec;

pub(super) use trailer::is_samsung;
pub use trailer::trailer_name;

/// A vendor header (and trailer) with its payload.
#[derive(Clone, Debug)]
pub struct Wrapper<'a> {
    spec: &'static Spec,
    bytes: &'a [u8],
    payload: Range<usize>,
}

/// A value of a wrapper that is computed from the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrapperField {
    /// Its name.
    pub name: &'static str,
    /// Its offset in bytes from the start of the wrapper.
    pub offset: usize,
    /// Whether it is the value that the vendor's tool would write.
    pub right: bool,
}

impl<'a> Wrapper<'a> {
    /// The wrapper around the image in the file `bytes`.
    pub(crate) fn around_image(bytes: &'a [u8]) -> Option<Self> {
        forms::FORMS.iter().find_map(|spec| Self::of(spec, bytes))
    }

    /// The wrapper around the payload of a section.
    pub(crate) fn around_section(bytes: &'a [u8]) -> Option<Self> {
        forms::FORMS.iter().filter(|spec| spec.in_sections).find_map(|spec| Self::of(spec, bytes))
    }

    fn of(spec: &'static Spec, bytes: &'a [u8]) -> Option<Self> {
        if !spec.matches(bytes) {
            return None;
        }
        let start = (spec.start)(bytes).filter(|start| *start < bytes.len())?;
        let room = (bytes.len() - start).saturating_sub(spec.trailer).saturating_sub(spec.block);
        // If the size is not valid, the payload is everything that the form does not take itself.
        let stated = spec.stated_size(bytes).filter(|size| (1..=room).contains(size));
        Some(Wrapper { spec, bytes, payload: start..start + stated.unwrap_or(room) })
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.spec.name
    }

    /// The name of the payload in the wrapper, if the form has one.
    pub fn label(&self) -> Option<String> {
        let text = self.bytes.get(self.spec.label.clone()?)?;
        let text: Vec<u8> = text.iter().copied().take_while(|byte| *byte != 0).collect();
        (!text.is_empty()).then(|| text.escape_ascii().to_string())
    }

    /// The payload.
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[self.payload.clone()]
    }

    /// The range of the payload, in bytes from the start of the wrapper.
    pub fn payload_range(&self) -> Range<usize> {
        self.payload.clone()
    }

    /// The values that are computed from the payload. Reads the whole payload.
    pub fn fields(&self) -> Vec<WrapperField> {
        let field = |derived: &Derived| WrapperField {
            name: derived.name,
            offset: match derived.position {
                Position::Header(at) => at,
                Position::Trailer(at) => self.payload.end + at,
                Position::Block(at) => self.bytes.len() - self.block().len() + at,
            },
            right: self.is_right(derived),
        };
        self.spec.derived.iter().map(field).collect()
    }

    /// Why the payload cannot be changed; None if it can.
    pub fn refusal(&self) -> Option<&'static str> {
        (self.spec.refusal)(self.bytes)
    }

    /// The kind of the payload, if the wrapper determines it.
    pub(super) fn payload_kind(&self) -> Option<(ImageKind, SectionName)> {
        (self.spec.payload_kind)(self.bytes)
    }

    /// The wrapper with its payload.
    pub fn whole(&self) -> &'a [u8] {
        self.bytes
    }

    fn header(&self) -> &'a [u8] {
        &self.bytes[..self.payload.start]
    }

    /// Everything after the payload.
    fn after(&self) -> &'a [u8] {
        &self.bytes[self.payload.end..]
    }

    /// The form's bytes right after the payload.
    fn trailer(&self) -> &'a [u8] {
        &self.after()[..self.spec.trailer.min(self.after().len())]
    }

    /// The form's bytes at the end of the file.
    fn block(&self) -> &'a [u8] {
        &self.after()[self.after().len() - self.spec.block.min(self.after().len())..]
    }

    /// The bytes between the trailer and the block, which an edit keeps; it only drops zeros at
    /// their end.
    pub(crate) fn rest(&self) -> &'a [u8] {
        &self.after()[self.trailer().len()..self.after().len() - self.block().len()]
    }

    /// The parts that an edit may change: the header up to the last computed value, the trailer, and
    /// the block.
    pub(crate) fn volatile(&self) -> [&'a [u8]; 3] {
        let header = self.spec.derived.iter().filter(|d| matches!(d.position, Position::Header(_)));
        let end = header.map(Derived::end).max().unwrap_or(0);
        [&self.header()[..end.min(self.payload.start)], self.trailer(), self.block()]
    }

    /// The offset of the payload after a bootloader that starts it from there.
    pub fn after_loader(&self) -> Option<usize> {
        let loader = self.spec.size.is_none() && self.payload.start > 0;
        loader.then_some(self.payload.start)
    }

    /// The payload should keep its size modulo this number.
    pub(crate) fn alignment(&self) -> usize {
        if self.spec.stays_last { 4 } else { 1 }
    }

    /// The part that has the value.
    fn part(&self, derived: &Derived) -> &'a [u8] {
        match derived.position {
            Position::Header(_) => self.header(),
            Position::Trailer(_) => self.trailer(),
            Position::Block(_) => self.block(),
        }
    }

    /// A size of 0 or all ones is not used: the payload goes on to the end of its section. Not so
    /// where a trailer is found by the size.
    fn is_unbounded(&self, size: &Derived) -> bool {
        let stored = self.part(size).get(size.range());
        let unused = stored.is_some_and(|bytes| bytes == [0; 4] || bytes == [0xff; 4]);
        unused && self.spec.trailer == 0
    }

    fn is_right(&self, derived: &Derived) -> bool {
        let output = Output::from_chunks(vec![Chunk::borrowed(self.payload())]);
        let expected = derived.expected(self.header(), &output);
        let stored = self.part(derived).get(derived.range());
        expected.is_some_and(|expected| stored == Some(&expected[..]))
    }

    /// Wrap another payload, for a section.
    ///
    /// # Errors
    /// [`Error::Sealed`], [`Error::WrapperTooLarge`], [`Error::WrapperSize`].
    pub(super) fn wrap(
        &self,
        payload: Vec<Chunk<'a>>,
        policy: DerivedPolicy,
    ) -> Result<Vec<Chunk<'a>>, Error> {
        let Some(Parts { header, payload, trailer, block }) = self.parts(payload, policy)? else {
            return Ok(vec![Chunk::borrowed(self.bytes)]);
        };
        let around = [Chunk::owned(trailer), Chunk::borrowed(self.rest()), Chunk::owned(block)];
        Ok(std::iter::once(header).chain(payload.into_chunks()).chain(around).collect())
    }

    /// Wrap another payload, for a file: zeros after it are dropped as the payload grows.
    ///
    /// # Errors
    /// As [`Self::wrap`]; [`Error::PartitionTooSmall`] if no room is left for a block at the end.
    pub(super) fn wrap_file(
        &self,
        payload: Output<'a>,
        policy: DerivedPolicy,
    ) -> Result<Output<'a>, Error> {
        let Some(Parts { header, payload, trailer, block }) =
            self.parts(payload.into_chunks(), policy)?
        else {
            return Ok(Output::from_chunks(vec![Chunk::borrowed(self.bytes)]));
        };
        // Zeros fill the partition, unless the form has to be at the end.
        let zeros = trailing_zeros(self.rest());
        let fills = (zeros > 0 || !block.is_empty()) && !self.spec.stays_last;
        let rest = &self.rest()[..self.rest().len() - if fills { zeros } else { 0 }];
        let kept = [Chunk::owned(trailer), Chunk::borrowed(rest)];
        let mut output = Output::from_chunks(
            std::iter::once(header).chain(payload.into_chunks()).chain(kept).collect(),
        );
        let room = (self.bytes.len() - block.len()) as u64;
        let missing = output.size().saturating_sub(room);
        if missing > 0 && !block.is_empty() {
            let (partition, image) = (room, output.size());
            return Err(Error::PartitionTooSmall { partition, image, vbmeta: 0, missing });
        }
        if fills {
            output.push(Chunk::Zeros(room.saturating_sub(output.size())));
        }
        output.push(Chunk::owned(block));
        Ok(output)
    }

    /// The parts around another payload; None if everything stays as it is.
    fn parts(
        &self,
        payload: Vec<Chunk<'a>>,
        policy: DerivedPolicy,
    ) -> Result<Option<Parts<'a>>, Error> {
        let payload = Output::from_chunks(payload);
        let same = payload.equals(self.payload());
        if same && policy != DerivedPolicy::Recompute {
            return Ok(None);
        }
        if let Some(reason) = self.refusal()
            && !same
        {
            return Err(Error::Sealed { form: self.spec.name, reason });
        }
        let mut header = self.header().to_vec();
        let (mut trailer, mut block) = (self.trailer().to_vec(), self.block().to_vec());
        for derived in self.spec.derived {
            let write = match policy {
                DerivedPolicy::Keep => false,
                DerivedPolicy::Recompute => true,
                DerivedPolicy::KeepRight => self.is_right(derived),
            };
            if !write {
                self.require_unbounded(derived, payload.size(), policy)?;
                continue;
            }
            let value = derived.expected(&header, &payload);
            let too_large =
                || Error::WrapperTooLarge { form: self.spec.name, size: payload.size() };
            let value = value.ok_or_else(too_large)?;
            let part = match derived.position {
                Position::Header(_) => &mut header,
                Position::Trailer(_) => &mut trailer,
                Position::Block(_) => &mut block,
            };
            if let Some(place) = part.get_mut(derived.range()) {
                place.copy_from_slice(&value);
            }
        }
        let header = match header == self.header() {
            true => Chunk::borrowed(self.header()),
            false => Chunk::owned(header),
        };
        Ok(Some(Parts { header, payload, trailer, block }))
    }

    /// Refuse a payload of another size if the size in the wrapper stays wrong: a loader reads as
    /// many bytes as it says, without the new ones.
    fn require_unbounded(
        &self,
        derived: &Derived,
        size: u64,
        policy: DerivedPolicy,
    ) -> Result<(), Error> {
        let bounds = derived.is_size() && !self.is_unbounded(derived);
        let changes = size != self.payload().len() as u64;
        match policy == DerivedPolicy::KeepRight && bounds && changes {
            true => Err(Error::WrapperSize { form: self.spec.name, field: derived.name }),
            false => Ok(()),
        }
    }
}

/// A wrapper around another payload.
struct Parts<'a> {
    header: Chunk<'a>,
    payload: Output<'a>,
    trailer: Vec<u8>,
    block: Vec<u8>,
}

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

/// A vendor header (and trailer) with its payload, which may be in another one.
#[derive(Clone, Debug)]
pub struct Wrapper<'a> {
    spec: &'static Spec,
    bytes: &'a [u8],
    /// What this header is around.
    own: Range<usize>,
    /// The wrapper there.
    inner: Option<Box<Wrapper<'a>>>,
}

/// Maximum number of wrappers within each other.
const MAX_DEPTH: usize = 4;

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
        Self::around(bytes, |_| true, 1)
    }

    /// The wrapper around the payload of a section.
    pub(crate) fn around_section(bytes: &'a [u8]) -> Option<Self> {
        Self::around(bytes, |spec| spec.in_sections, 1)
    }

    fn around(bytes: &'a [u8], allows: fn(&Spec) -> bool, depth: usize) -> Option<Self> {
        let mut forms = forms::FORMS.iter().filter(|spec| allows(spec));
        let mut wrapper = forms.find_map(|spec| Self::of(spec, bytes))?;
        let payload = &bytes[wrapper.own.clone()];
        if depth < MAX_DEPTH && payload.len() < bytes.len() {
            wrapper.inner = Self::around(payload, allows, depth + 1).map(Box::new);
        }
        Some(wrapper)
    }

    fn of(spec: &'static Spec, bytes: &'a [u8]) -> Option<Self> {
        if !spec.matches(bytes) {
            return None;
        }
        let start = (spec.start)(bytes).filter(|start| *start < bytes.len())?;
        let room = (bytes.len() - start).saturating_sub(spec.trailer).saturating_sub(spec.block);
        // If the size is not valid, the payload is everything that the form does not take itself.
        let stated = spec.stated_size(bytes).filter(|size| (1..=room).contains(size));
        let own = start..start + stated.unwrap_or(room);
        Some(Wrapper { spec, bytes, own, inner: None })
    }

    /// This wrapper and those within it, outermost first, each by itself: its payload is what it is
    /// around.
    pub fn layers(&self) -> Vec<Wrapper<'a>> {
        let mut layers = vec![Wrapper { inner: None, ..self.clone() }];
        layers.extend(self.inner.iter().flat_map(|inner| inner.layers()));
        layers
    }

    /// The wrapper that this one is around.
    pub(crate) fn inner(&self) -> Option<&Wrapper<'a>> {
        self.inner.as_deref()
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

    /// The payload, without any wrapper.
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[self.payload_range()]
    }

    /// The range of the payload, in bytes from the start of the wrapper.
    pub fn payload_range(&self) -> Range<usize> {
        match &self.inner {
            None => self.own.clone(),
            Some(inner) => {
                let Range { start, end } = inner.payload_range();
                self.own.start + start..self.own.start + end
            }
        }
    }

    /// The range of what this header is around.
    pub(crate) fn own_range(&self) -> Range<usize> {
        self.own.clone()
    }

    /// What this header is around.
    fn own_payload(&self) -> &'a [u8] {
        &self.bytes[self.own.clone()]
    }

    /// The values that are computed from what this header is around. Reads all of it.
    pub fn fields(&self) -> Vec<WrapperField> {
        let field = |derived: &Derived| WrapperField {
            name: derived.name,
            offset: match derived.position {
                Position::Header(at) => at,
                Position::Trailer(at) => self.own.end + at,
                Position::Block(at) => self.bytes.len() - self.block().len() + at,
            },
            right: self.is_right(derived),
        };
        self.spec.derived.iter().map(field).collect()
    }

    /// Why the payload cannot be changed; None if it can.
    pub fn refusal(&self) -> Option<&'static str> {
        let inner = || self.inner.as_ref().and_then(|inner| inner.refusal());
        (self.spec.refusal)(self.bytes).or_else(inner)
    }

    /// The bootconfig that the kernel reads behind the payload.
    pub(super) fn bootconfig(&self) -> Option<&'a [u8]> {
        let own = (self.spec.bootconfig)(self.bytes).and_then(|range| self.bytes.get(range));
        own.or_else(|| self.inner.as_ref()?.bootconfig())
    }

    /// The kind of the payload, if the wrapper determines it.
    pub(super) fn payload_kind(&self) -> Option<(ImageKind, SectionName)> {
        let inner = self.inner.as_ref().and_then(|inner| inner.payload_kind());
        inner.or_else(|| (self.spec.payload_kind)(self.bytes))
    }

    /// The wrapper with its payload.
    pub fn whole(&self) -> &'a [u8] {
        self.bytes
    }

    fn header(&self) -> &'a [u8] {
        &self.bytes[..self.own.start]
    }

    /// Everything after what it is around.
    fn after(&self) -> &'a [u8] {
        &self.bytes[self.own.end..]
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
        [&self.header()[..end.min(self.own.start)], self.trailer(), self.block()]
    }

    /// The offset of the payload after a bootloader that starts it from there.
    pub fn after_loader(&self) -> Option<usize> {
        let loader = self.spec.size.is_none() && self.own.start > 0;
        loader.then_some(self.own.start)
    }

    /// The name of such a bootloader and that offset, also of one within this wrapper.
    pub(crate) fn loader(&self) -> Option<(&'static str, usize)> {
        let own = self.after_loader().map(|offset| (self.name(), offset));
        own.or_else(|| {
            let (name, offset) = self.inner.as_ref()?.loader()?;
            Some((name, self.own.start + offset))
        })
    }

    /// The payload should keep its size modulo this number.
    pub(crate) fn alignment(&self) -> usize {
        let inner = self.inner.as_ref().map_or(1, |inner| inner.alignment());
        if self.spec.stays_last { 4 } else { inner }
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
        let output = Output::from_chunks(vec![Chunk::borrowed(self.own_payload())]);
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
        let payload = match &self.inner {
            Some(inner) => inner.wrap(payload, policy)?,
            None => payload,
        };
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
        let payload = match &self.inner {
            Some(inner) => inner.wrap_file(payload, policy)?,
            None => payload,
        };
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
        let same = payload.equals(self.own_payload());
        if same && policy != DerivedPolicy::Recompute {
            return Ok(None);
        }
        if let Some(reason) = (self.spec.refusal)(self.bytes)
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
        let changes = size != self.own_payload().len() as u64;
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

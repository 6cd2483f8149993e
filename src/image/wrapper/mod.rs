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
        let room = bytes.len() - start;
        let stated = spec.stated_size(bytes);
        // If the size is not valid, the payload is everything after the header.
        let size = stated.filter(|size| (1..=room.saturating_sub(spec.trailer)).contains(size));
        let size = size.unwrap_or_else(|| room.saturating_sub(spec.trailer));
        Some(Wrapper { spec, bytes, payload: start..start + size })
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

    fn trailer(&self) -> &'a [u8] {
        &self.bytes[self.payload.end..][..self.spec.trailer.min(self.rest().len())]
    }

    /// Everything after the payload: the trailer and unknown bytes.
    fn rest(&self) -> &'a [u8] {
        &self.bytes[self.payload.end..]
    }

    /// The parts that an edit may change: the header up to the last computed value, and everything
    /// after the payload.
    pub(crate) fn volatile(&self) -> (&'a [u8], &'a [u8]) {
        let header = self.spec.derived.iter().filter(|d| matches!(d.position, Position::Header(_)));
        let end = header.map(Derived::end).max().unwrap_or(0);
        (&self.header()[..end.min(self.payload.start)], self.rest())
    }

    /// A size of 0 or all ones is not used: the payload goes on to the end of its section. Not so
    /// where a trailer is found by the size.
    fn is_unbounded(&self, size: &Derived) -> bool {
        let stored = self.header().get(size.range());
        let unused = stored.is_some_and(|bytes| bytes == [0; 4] || bytes == [0xff; 4]);
        unused && self.spec.trailer == 0
    }

    fn is_right(&self, derived: &Derived) -> bool {
        let output = Output::from_chunks(vec![Chunk::borrowed(self.payload())]);
        let part = match derived.position {
            Position::Header(_) => self.header(),
            Position::Trailer(_) => self.trailer(),
        };
        let expected = derived.expected(self.header(), &output);
        expected.is_some_and(|expected| part.get(derived.range()) == Some(&expected[..]))
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
        let payload = Output::from_chunks(payload);
        let same = payload.equals(self.payload());
        if same && policy != DerivedPolicy::Recompute {
            return Ok(vec![Chunk::borrowed(self.bytes)]);
        }
        if let Some(reason) = self.refusal()
            && !same
        {
            return Err(Error::Sealed { form: self.spec.name, reason });
        }
        let mut header = self.header().to_vec();
        let mut trailer = self.trailer().to_vec();
        for derived in self.spec.derived {
            let write = match policy {
                DerivedPolicy::Keep => false,
                DerivedPolicy::Recompute => true,
                DerivedPolicy::KeepRight => self.is_right(derived),
            };
            if !write {
                // A loader reads as many bytes as the wrong size says, without the new ones.
                if policy == DerivedPolicy::KeepRight
                    && derived.is_size()
                    && !self.is_unbounded(derived)
                    && payload.size() != self.payload().len() as u64
                {
                    return Err(Error::WrapperSize { form: self.spec.name, field: derived.name });
                }
                continue;
            }
            let value = derived.expected(&header, &payload);
            let too_large =
                || Error::WrapperTooLarge { form: self.spec.name, size: payload.size() };
            let value = value.ok_or_else(too_large)?;
            let part = match derived.position {
                Position::Header(_) => &mut header,
                Position::Trailer(_) => &mut trailer,
            };
            if let Some(place) = part.get_mut(derived.range()) {
                place.copy_from_slice(&value);
            }
        }
        let rest = &self.rest()[trailer.len()..];
        let mut chunks = vec![if header == self.header() {
            Chunk::borrowed(self.header())
        } else {
            Chunk::owned(header)
        }];
        chunks.extend(payload.into_chunks());
        chunks.push(Chunk::owned(trailer));
        chunks.push(Chunk::borrowed(rest));
        Ok(chunks)
    }

    /// Wrap another payload, for a file: trailing zeros are dropped as the payload grows.
    ///
    /// # Errors
    /// As [`Self::wrap`].
    pub(super) fn wrap_file(
        &self,
        payload: Output<'a>,
        policy: DerivedPolicy,
    ) -> Result<Output<'a>, Error> {
        let mut chunks = self.wrap(payload.into_chunks(), policy)?;
        let rest = self.rest();
        let zeros = trailing_zeros(rest).min(rest.len() - self.trailer().len());
        if let [_, .., Chunk::Bytes(last)] = &mut chunks[..]
            && zeros > 0
        {
            let kept = last.len() - zeros;
            *last = self.bytes[self.bytes.len() - last.len()..][..kept].into();
            let size: u64 = chunks.iter().map(Chunk::len).sum();
            chunks.push(Chunk::Zeros((self.bytes.len() as u64).saturating_sub(size)));
        }
        Ok(Output::from_chunks(chunks))
    }
}

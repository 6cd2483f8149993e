//! Parts of the undo record: bytes, what comes after the sections, and the wrappers of vendors.

use serde::{Deserialize, Serialize};

use crate::image::{Chunk, Output, Wrapper};

/// The original wrapper of a vendor: the parts that the patch changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct WrapperUndo {
    /// Bytes before what it is around.
    start: u64,
    /// Bytes of what it is around.
    size: u64,
    /// The first of the bytes before; the patch keeps the others.
    header: Bytes,
    /// The bytes after; [`Tail::Trailing`] are those that the patch kept.
    behind: Vec<Tail>,
    /// The wrapper that it is around.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    inner: Option<Box<WrapperUndo>>,
}

impl WrapperUndo {
    pub(super) fn record(wrapper: &Wrapper<'_>) -> Self {
        let [header, trailer, block] = wrapper.volatile();
        let payload = wrapper.own_range();
        let kept = literal(wrapper.rest()).map(|tail| match tail {
            Tail::Literal(bytes) => Tail::Trailing(bytes.0.len() as u64),
            zeros => zeros,
        });
        WrapperUndo {
            start: payload.start as u64,
            size: payload.len() as u64,
            header: Bytes(header.to_vec()),
            behind: literal(trailer).chain(kept).chain(literal(block)).collect(),
            inner: wrapper.inner().map(|inner| Box::new(WrapperUndo::record(inner))),
        }
    }

    /// Bytes of the payload, without any wrapper.
    pub(super) fn payload_size(&self) -> u64 {
        self.inner.as_ref().map_or(self.size, |inner| inner.payload_size())
    }

    /// The original of the wrapper `now`, around `payload`.
    pub(super) fn restore<'a>(
        &self,
        now: &Wrapper<'a>,
        payload: Output<'a>,
        limit: u64,
    ) -> Option<Vec<Chunk<'a>>> {
        let payload = match (&self.inner, now.inner()) {
            (None, None) => payload,
            (Some(undo), Some(now)) => Output::from_chunks(undo.restore(now, payload, limit)?),
            _ => return None,
        };
        let header = now.whole().get(..usize::try_from(self.start).ok()?)?;
        let rest = header.get(self.header.0.len()..)?;
        let mut chunks = vec![Chunk::owned(self.header.0.clone()), Chunk::borrowed(rest)];
        chunks.extend(payload.into_chunks());
        let rest = now.rest();
        let mut kept = &rest[rest.iter().position(|byte| *byte != 0).unwrap_or(rest.len())..];
        for tail in &self.behind {
            chunks.push(match tail {
                Tail::Zeros(count) if *count <= limit => Chunk::Zeros(*count),
                Tail::Literal(bytes) => Chunk::owned(bytes.0.clone()),
                Tail::Trailing(count) => {
                    let (own, left) = kept.split_at_checked(usize::try_from(*count).ok()?)?;
                    kept = left;
                    Chunk::borrowed(own)
                }
                _ => return None,
            });
        }
        Some(chunks)
    }
}

/// Bytes, in hex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Bytes(#[serde(with = "super::hex")] pub Vec<u8>);

/// A piece of the data after the sections.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Tail {
    /// This many zero bytes.
    Zeros(u64),
    /// This many bytes, which follow the sections of the patched image too.
    Trailing(u64),
    /// The vbmeta blob, which the patched image has too; one that is replaced is a literal.
    Vbmeta,
    /// These bytes.
    Literal(Bytes),
}

/// These bytes, with the zeros before and after them only counted.
pub(super) fn literal(bytes: &[u8]) -> impl Iterator<Item = Tail> {
    let is_used = |byte: &u8| *byte != 0;
    let start = bytes.iter().position(is_used).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(is_used).map_or(start, |last| last + 1);
    let middle = &bytes[start..end];
    let parts = [
        (start > 0).then_some(Tail::Zeros(start as u64)),
        (!middle.is_empty()).then(|| Tail::Literal(Bytes(middle.to_vec()))),
        (end < bytes.len()).then_some(Tail::Zeros((bytes.len() - end) as u64)),
    ];
    parts.into_iter().flatten()
}

use super::budget::Exhausted;
use super::format::Format;

/// A compressed stream that could not be decoded.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The stream is damaged or ends early.
    #[error("{format} stream: {reason} (after {consumed} bytes of it, {produced} unpacked)")]
    Corrupt {
        /// The format it claims to be.
        format: Format,
        /// Compressed bytes read until then.
        consumed: usize,
        /// Bytes unpacked until then.
        produced: u64,
        /// What the decoder says.
        reason: String,
    },
    /// More output than the caller allows.
    #[error("{format} stream unpacks to more than {limit} bytes, the limit")]
    TooLarge {
        /// The format.
        format: Format,
        /// The limit in bytes.
        limit: u64,
    },
    /// The run has unpacked too much, over all its parts.
    #[error("{format} stream: {source}")]
    Budget {
        /// The format of the stream that took the rest.
        format: Format,
        /// The budget.
        source: Exhausted,
    },
}

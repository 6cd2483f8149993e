//! How much one run may unpack, over all its files and nestings.
//!
//! A file of 12 KB can unpack to gigabytes, and hold the same megabyte in thousands of table entries.
//! The limits of the formats bound each part; the budget bounds their sum. It belongs to the thread
//! that does the work, so that each decoder takes from it, however deep it is nested, and no function
//! on the way has to pass it on.

use std::cell::Cell;
use std::fmt;

use super::format::Format;

/// Bytes that any run may unpack. The largest initramfs of a distribution unpacks to about 300 MB,
/// the largest kernel to about 100 MB.
const BASE: u64 = 512 << 20;
/// Bytes that a run may unpack for each byte of its input. Kernels and ramdisks shrink to a third;
/// gzip makes at most 1,032 bytes of one, the others far more.
const RATIO: u64 = 64;

thread_local! {
    static CURRENT: Cell<Option<Left>> = const { Cell::new(None) };
}

/// What is left of the budget of a thread.
#[derive(Clone, Copy)]
struct Left {
    budget: Budget,
    bytes: u64,
}

/// How many bytes a run may unpack or read again. Slow formats count more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    bytes: u64,
    /// Inputs add nothing to it.
    fixed: bool,
}

impl Budget {
    /// The default for inputs of `size` bytes together: far above what any real device needs.
    pub fn for_input(size: u64) -> Self {
        Budget { bytes: size.saturating_mul(RATIO).saturating_add(BASE), fixed: false }
    }

    /// A budget of `bytes`, whatever the inputs are.
    pub fn of(bytes: u64) -> Self {
        Budget { bytes, fixed: true }
    }

    /// Add what an input of `size` bytes brings with it to the budget of this thread, if it is the
    /// default one.
    pub fn grant(size: u64) {
        let more = size.saturating_mul(RATIO);
        let grown = CURRENT.get().map(|Left { budget, bytes }| match budget.fixed {
            true => Left { budget, bytes },
            false => Left {
                budget: Budget { bytes: budget.bytes.saturating_add(more), ..budget },
                bytes: bytes.saturating_add(more),
            },
        });
        CURRENT.set(grown);
    }

    /// Bytes.
    pub fn bytes(self) -> u64 {
        self.bytes
    }

    /// Apply it to this thread until the scope ends; it replaces the one that was there.
    #[must_use = "the budget applies until the scope is dropped"]
    pub fn enter(self) -> BudgetScope {
        BudgetScope { before: CURRENT.replace(Some(Left { budget: self, bytes: self.bytes })) }
    }

    /// Take `bytes` from the budget of this thread, if it has one.
    ///
    /// # Errors
    /// [`Exhausted`]: nothing is left, now and for everything after it.
    pub fn take(bytes: u64) -> Result<(), Exhausted> {
        let Some(left) = CURRENT.get() else { return Ok(()) };
        let rest = left.bytes.checked_sub(bytes);
        CURRENT.set(Some(Left { bytes: rest.unwrap_or(0), ..left }));
        match rest {
            Some(_) => Ok(()),
            None => Err(Exhausted { budget: left.budget }),
        }
    }

    /// Take what unpacking `bytes` of `format` costs.
    pub(crate) fn take_unpacked(format: Format, bytes: u64) -> Result<(), Exhausted> {
        Budget::take(bytes.saturating_mul(cost(format)))
    }
}

/// How much slower a decoder is than the fast ones, on the runs of equal bytes that bombs consist of.
fn cost(format: Format) -> u64 {
    match format {
        Format::Bzip2 => 4,
        Format::Xz | Format::Lzma => 3,
        Format::Gzip | Format::Lz4Legacy | Format::Lz4Frame | Format::Zstd => 1,
    }
}

/// While it lives, a [`Budget`] applies to the thread that made it.
pub struct BudgetScope {
    before: Option<Left>,
}

impl fmt::Debug for BudgetScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BudgetScope").finish_non_exhaustive()
    }
}

impl Drop for BudgetScope {
    fn drop(&mut self) {
        CURRENT.set(self.before);
    }
}

/// A run has used up its budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this run would unpack more than {} bytes, its budget: no real image of this size does; if this one is real, raise it with --limit",
    budget.bytes()
)]
pub struct Exhausted {
    /// The whole budget.
    pub budget: Budget,
}

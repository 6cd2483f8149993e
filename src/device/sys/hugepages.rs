//! Pools of hugetlb pages, as the kernel counts them (`Documentation/admin-guide/mm/hugetlbpage.rst`).

use crate::device::sys::host::{Host, HostError};

/// Why a pool cannot be counted.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// An attribute cannot be read.
    #[error(transparent)]
    Attribute(#[from] HostError),
    /// An attribute does not hold a number.
    #[error("/{path} reads \"{value}\"")]
    NotNumber {
        /// Its path.
        path: String,
        /// What it holds.
        value: String,
    },
}

/// The pool of pages of so many bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pool {
    directory: String,
}

const COUNT: &str = "/nr_hugepages";

impl Pool {
    /// The one whose pages have so many bytes.
    pub(crate) fn of(page: u64) -> Self {
        Self { directory: format!("sys/kernel/mm/hugepages/hugepages-{}kB", page / 1024) }
    }

    /// The one whose number of pages is at `path`, if that is such a number.
    pub(crate) fn counted_at(path: &str) -> Option<Self> {
        path.strip_suffix(COUNT).map(|directory| Self { directory: directory.to_owned() })
    }

    /// Where the number of its pages is read and set.
    pub(crate) fn count(&self) -> String {
        format!("{}{COUNT}", self.directory)
    }

    /// How many pages are free, and nobody has mapped what they are for.
    pub(crate) fn free(&self, host: &Host) -> Result<u64, PoolError> {
        let number = |name: &str| -> Result<u64, PoolError> {
            let path = format!("{}/{name}", self.directory);
            let value = host.read(&path)?;
            value.parse().map_err(|_| PoolError::NotNumber { path, value })
        };
        Ok(number("free_hugepages")?.saturating_sub(number("resv_hugepages")?))
    }
}

//! Why an image was not installed, and what is in the partition now.

use std::io;

/// Why nothing was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It is a file, or a device of another kind.
    #[error(
        "is not a block device: --install writes to the partition that the image was read from; name it, such as /dev/block/by-name/boot_a"
    )]
    NotBlockDevice,
    /// The kernel says that something else has it.
    #[error("is in use (mounted, or part of another device): the kernel gives it to nobody else")]
    InUse,
    /// It cannot be opened for writing.
    #[error(
        "cannot be opened for writing: {0}; it takes root, and `blockdev --setrw` where the kernel has it read-only"
    )]
    Open(#[source] io::Error),
    /// What it has is not what was patched.
    #[error("has other bytes than were patched: something wrote to it meanwhile")]
    Changed,
    /// The image is for another partition.
    #[error("is the partition {name:?}, and this image belongs into {expected}")]
    OtherPartition {
        /// Its name in the partition table.
        name: String,
        /// The names that the image can have, without the suffix of a slot.
        expected: String,
    },
    /// The device runs from the other slot.
    #[error(
        "belongs to slot {slot}, and the running system is slot {running}: --other-slot writes it all the same"
    )]
    OtherSlot {
        /// The suffix of its slot.
        slot: String,
        /// The suffix of the running one.
        running: String,
    },
    /// The bootloader starts only what the vendor or the owner signed.
    #[error(
        "the bootloader is locked ({0}): it would not start a patched image, and the device might not start again; unlock it first"
    )]
    Locked(String),
    /// The result is larger than the partition.
    #[error("has {size} bytes, and the result has {needed}")]
    TooSmall {
        /// Bytes of the partition.
        size: u64,
        /// Bytes of the result.
        needed: u64,
    },
}

/// What went wrong while the partition was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// Reading, writing or syncing.
    #[error("{what} at offset {offset}: {error}")]
    Io {
        /// What was done: "read", "write" or "sync".
        what: &'static str,
        /// In the partition.
        offset: u64,
        /// The system's answer.
        #[source]
        error: io::Error,
    },
    /// What came back is not what was written.
    #[error("the partition has other bytes at offset {offset} than were written")]
    Differs {
        /// The first one.
        offset: u64,
    },
}

/// Why an image is not in the partition.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing was written.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Nothing was written: the partition could not be read.
    #[error("nothing was written: {0}")]
    Unread(#[source] Failure),
    /// It was written in part, and then the original was again, and read back.
    #[error("{0}; the original is back in the partition, as was read back")]
    Restored(#[source] Failure),
    /// It was written in part, and so was the original.
    #[error(
        "{failure}; writing the original again failed, too: {restore}. The partition has parts of both: do not restart the device, write the original with `dd` (the copy of --backup, or `vfioboot unpatch` of the patched image)"
    )]
    Broken {
        /// Of the result.
        failure: Failure,
        /// Of the original.
        restore: Failure,
    },
}

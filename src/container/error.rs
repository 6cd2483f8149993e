//! Errors of opening a container and of reading what is in it.

use super::form::Form;
use super::limits::MAX_DEPTH;
use crate::compression::{self, Exhausted, Format};
use crate::ota;

/// A container cannot be read, or what is wanted is not in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file that is not a container.
    #[error(
        "is not a container of images: expected an OTA payload.bin, a zip file, a tar archive, a sparse or super image, or a compressed image, found {found}"
    )]
    NotContainer {
        /// What it is.
        found: String,
    },
    /// An OTA payload that cannot be read.
    #[error(transparent)]
    Payload(#[from] ota::Error),
    /// A compressed stream that cannot be read.
    #[error(transparent)]
    Compression(#[from] compression::Error),
    /// The run has unpacked too much.
    #[error(transparent)]
    Budget(#[from] Exhausted),
    /// Something else after a compressed stream.
    #[error(
        "after the {format} stream come {size} bytes from offset {offset} that are not {format}"
    )]
    Trailing {
        /// The format.
        format: Format,
        /// Where they start in the file.
        offset: usize,
        /// How many there are.
        size: usize,
    },
    /// A zip file that cannot be read.
    #[error("the zip file")]
    Zip(#[from] zip::result::ZipError),
    /// A file in a zip file that extends past its end.
    #[error("{name} takes {size} bytes from offset {offset}, but the zip file ends at {end}")]
    Truncated {
        /// Its name.
        name: String,
        /// Its offset in bytes.
        offset: u64,
        /// Its size in bytes.
        size: u64,
        /// The size of the zip file.
        end: u64,
    },
    /// A tar archive that cannot be read.
    #[error("the tar archive")]
    Tar(#[source] std::io::Error),
    /// The MD5 behind a tar archive is another one.
    #[error(
        "the tar archive is damaged: its MD5 is {found}, and the line behind it says {stated}: download it \
         again (if it was changed on purpose, cut off that line)"
    )]
    TarDigest {
        /// That in the line.
        stated: String,
        /// That of the archive.
        found: String,
    },
    /// A file in an archive with another size than the archive says.
    #[error("{name} has {found} bytes, but the archive says {expected}")]
    EntrySize {
        /// Its name.
        name: String,
        /// Extracted bytes, at most one more than expected.
        found: u64,
        /// Expected bytes.
        expected: u64,
    },
    /// A damaged sparse image.
    #[error("the sparse image, offset {offset}: {message}")]
    Sparse {
        /// Where, in bytes.
        offset: usize,
        /// What is wrong.
        message: String,
    },
    /// A super image that cannot be used.
    #[error("the super image {message}")]
    Super {
        /// What is wrong.
        message: String,
    },
    /// Something with more bytes than are read.
    #[error("{what} has more than {limit} bytes, the limit")]
    TooLarge {
        /// What.
        what: String,
        /// The limit in bytes.
        limit: u64,
    },
    /// Too many files in an archive.
    #[error("the archive has more than {limit} files")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// Too many containers around each other.
    #[error("more than {MAX_DEPTH} containers are around each other")]
    TooDeep,
    /// A container without images.
    #[error(
        "the {form} contains neither an image such as boot.img, nor a kernel, nor a payload.bin; it has {names}"
    )]
    NothingInside {
        /// The container.
        form: Form,
        /// Some of the files in it.
        names: String,
    },
    /// Several archives in an archive, without a sign which one has the images.
    #[error(
        "the {form} contains several archives ({names}): unpack it, and give the one that has boot.img"
    )]
    SeveralArchives {
        /// The container.
        form: Form,
        /// Their names.
        names: String,
    },
    /// No image of those that a device boots with.
    #[error("none of {wanted} found; the file has {known}")]
    NoBootImage {
        /// The partitions.
        wanted: String,
        /// Those in the file.
        known: String,
    },
    /// A partition that is not in the file.
    #[error("there is no partition {wanted}; the file has {known}")]
    NoPartition {
        /// The requested partition.
        wanted: String,
        /// The partitions in the file.
        known: String,
    },
    /// Several images of one partition.
    #[error("several files are {partition}: {paths}; unpack the archive, and give the right one")]
    Ambiguous {
        /// The partition.
        partition: String,
        /// The files.
        paths: String,
    },
    /// One image is wanted, and there are several.
    #[error("is a {form} with several images ({names})")]
    Several {
        /// The container.
        form: Form,
        /// The partitions in it.
        names: String,
        /// Those that a device boots with.
        boot_set: Vec<String>,
    },
    /// An image is wanted, and there is a kernel alone.
    #[error(
        "is a {form} with a kernel ({name}) and no boot image: its installer puts the kernel into the boot image of the device; give that image, after the installation"
    )]
    KernelOnly {
        /// The container.
        form: Form,
        /// The file with the kernel.
        name: String,
    },
    /// What was read cannot be written.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Names for a message: the first ones.
pub(super) fn names<'n>(all: impl Iterator<Item = &'n str>) -> String {
    const SHOWN: usize = 20;
    let mut shown: Vec<String> = Vec::new();
    let mut more = 0;
    for name in all {
        match shown.len() < SHOWN {
            true => shown.push(name.escape_debug().to_string()),
            false => more += 1,
        }
    }
    match (shown.is_empty(), more) {
        (true, _) => "no files".to_owned(),
        (false, 0) => shown.join(", "),
        (false, _) => format!("{} and {more} more", shown.join(", ")),
    }
}

//! Errors of reading and writing images.

use super::avb::SignError;
use super::hint::Hint;
use super::problem::Problem;
use super::section::SectionName;

fn label_of(label: &str) -> String {
    if label.is_empty() { String::new() } else { format!(" \"{label}\"") }
}

/// An image that cannot be read, or cannot be written as asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file does not start like any boot partition.
    #[error(
        "is not a boot image: expected \"ANDROID!\" or \"VNDRBOOT\" at offset 0, found {found}{hint}"
    )]
    UnknownMagic {
        /// The first bytes, printable.
        found: String,
        /// What the file may be, and how to extract an image from it.
        hint: Hint,
    },
    /// A wrapper around anything else than an image, a kernel or a ramdisk.
    #[error("{form}{}: what it is around is neither a boot image, a kernel nor a ramdisk", label_of(.label))]
    UnknownPayload {
        /// The wrapper.
        form: &'static str,
        /// The name of the payload in it; empty if there is none.
        label: String,
    },
    /// The header is longer than the file.
    #[error("the {header} header takes {needed} bytes, the file has {available}")]
    TruncatedHeader {
        /// Which header.
        header: &'static str,
        /// Its size in bytes.
        needed: usize,
        /// The file's size in bytes.
        available: usize,
    },
    /// A header version that no specification defines.
    #[error("header_version at offset {offset} is {found}, expected {expected}")]
    UnknownVersion {
        /// Offset of the field in the file.
        offset: usize,
        /// Its value.
        found: u32,
        /// The valid versions.
        expected: &'static str,
    },
    /// The header and the file disagree, so the image cannot be edited.
    #[error("{0}")]
    Inconsistent(Problem),
    /// A section that this kind of image does not have.
    #[error("the image has no {0} section")]
    NoSection(SectionName),
    /// A section that does not fit its 32-bit size field.
    #[error(
        "the {section} section would take {size} bytes, its size field holds at most 4294967295"
    )]
    SectionTooLarge {
        /// The section.
        section: SectionName,
        /// Its size in bytes.
        size: u64,
    },
    /// A command line longer than its field.
    #[error("the command line would take {needed} bytes, {field} holds {capacity} ({} too many)", needed - capacity)]
    CmdlineTooLong {
        /// The field, or the pair of fields.
        field: &'static str,
        /// Bytes it can hold, terminating NUL not counted.
        capacity: usize,
        /// Bytes asked for.
        needed: usize,
    },
    /// A NUL byte within a text field.
    #[error("{field}: must not contain a NUL byte")]
    NulInText {
        /// The field.
        field: &'static str,
    },
    /// A text that is longer than its field.
    #[error("{field} holds at most {capacity} bytes, \"{value}\" has {}", value.len())]
    TextTooLong {
        /// The field.
        field: String,
        /// Bytes it can hold.
        capacity: usize,
        /// The text.
        value: String,
    },
    /// A header field that cannot be set.
    #[error("header field {field}: {reason}")]
    Field {
        /// The field.
        field: String,
        /// Why not.
        reason: &'static str,
    },
    /// The vbmeta image cannot be written again.
    #[error("AVB")]
    Avb(#[from] SignError),
    /// A wrapper whose payload only its vendor can replace.
    #[error("{form}: its payload cannot be changed: {reason}")]
    Sealed {
        /// The wrapper.
        form: &'static str,
        /// Why, and what to do.
        reason: &'static str,
    },
    /// The size field of a wrapper was wrong already, and its payload changes size.
    #[error(
        "{form}: its {field} is wrong, so a loader would not read what an edit adds: \
         correct the size first (unpack the image, set compute_wrappers = true in image.toml, repack \
         it)"
    )]
    WrapperSize {
        /// The wrapper.
        form: &'static str,
        /// The field.
        field: &'static str,
    },
    /// A payload that does not fit the 32-bit size of its wrapper.
    #[error("{form}: a payload of {size} bytes does not fit its 32-bit size")]
    WrapperTooLarge {
        /// The wrapper.
        form: &'static str,
        /// Size of the payload in bytes.
        size: u64,
    },
    /// A vendor ramdisk fragment with a vendor header.
    #[error(
        "the vendor ramdisk fragment \"{name}\" starts with an {form}, and no bootloader is known that strips one from a fragment: unpack the image, strip it, and repack"
    )]
    WrappedFragment {
        /// Its name.
        name: String,
        /// The header.
        form: &'static str,
    },
    /// The result does not fit the partition.
    #[error(
        "the result does not fit the partition of {partition} bytes: {missing} bytes are missing (image {image}, vbmeta {vbmeta}, footer 64)"
    )]
    PartitionTooSmall {
        /// Size of the partition, which is the size of the file with its AVB footer.
        partition: u64,
        /// Bytes the image itself would take.
        image: u64,
        /// Bytes of the vbmeta blob.
        vbmeta: u64,
        /// How many bytes too few.
        missing: u64,
    },
}

impl Error {
    /// The same error, with this file in the commands that it names.
    #[must_use]
    pub fn for_file(mut self, file: &str) -> Self {
        if let Error::UnknownMagic { hint, .. } = &mut self {
            hint.for_file(file);
        }
        self
    }
}

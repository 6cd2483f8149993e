//! What patched images did not show.

use crate::bootset::Stop;
use crate::image::{self, ImageKind, SectionName};

/// Why patched images are not what the patch promises.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unproven {
    /// An image cannot be read.
    #[error("{image} cannot be read")]
    Unreadable {
        /// The image.
        image: ImageKind,
        /// What is wrong with it.
        #[source]
        source: image::Error,
    },
    /// An image is another kind of image than before.
    #[error("{image} is taken for something else than before")]
    Role {
        /// The image.
        image: ImageKind,
    },
    /// Other bytes of an image changed.
    #[error("the {section} of {image} is not the same as before")]
    Section {
        /// The image.
        image: ImageKind,
        /// The section.
        section: SectionName,
    },
    /// The ramdisk is more than the original and the segment.
    #[error("the ramdisk of {image} is not the original and what was added to it")]
    Ramdisk {
        /// The image.
        image: ImageKind,
    },
    /// The kernel stops at another place than before.
    #[error("the kernel stops in the ramdisk of {image}, because {stop}")]
    Stops {
        /// The image.
        image: ImageKind,
        /// Why.
        stop: Stop,
    },
    /// A file that the patch must put after another one is unpacked before it.
    #[error(
        "the ramdisk of {by} is unpacked later and replaces {path} of the patch: give the image whose \
         ramdisk is unpacked last as well (init_boot.img)"
    )]
    Replaced {
        /// The file.
        path: String,
        /// The image with the other file.
        by: ImageKind,
    },
    /// The kernel does not unpack a file of the patch.
    #[error("the kernel does not unpack {path}")]
    Missing {
        /// The file.
        path: String,
    },
    /// A file of the patch has another content or type.
    #[error("{path} is not what the patch has put there")]
    Content {
        /// The file.
        path: String,
    },
    /// A file of the originals is no longer unpacked.
    #[error("{path} is no longer unpacked")]
    Lost {
        /// The file.
        path: String,
    },
    /// A file of the originals has another content, and the plan does not say so.
    #[error("{path} is not the same as before")]
    Changed {
        /// The file.
        path: String,
    },
    /// A file is unpacked that was not before and that is none of the patch.
    #[error("{path} is unpacked, which it was not before")]
    Appeared {
        /// The file.
        path: String,
    },
    /// The command line in an image is not the planned one.
    #[error("the command line of {image} is not the planned one")]
    Line {
        /// The image.
        image: ImageKind,
    },
    /// A word that was on the command line is missing.
    #[error("\"{word}\" is missing on the command line of {image}")]
    WordLost {
        /// The word.
        word: String,
        /// The image.
        image: ImageKind,
    },
    /// A word of the patch has no effect.
    #[error("\"{word}\" is not in effect on the command line")]
    NoEffect {
        /// The word.
        word: String,
    },
    /// The command lines are longer than the kernel takes, and were not before.
    #[error(
        "with the words of the patch the command lines of the images come to {total} bytes, and the \
         kernel cuts off everything after the first {kept}: remove words with vfioboot cmdline"
    )]
    LineTooLong {
        /// Bytes of all of them, joined.
        total: usize,
        /// Bytes that the kernel keeps.
        kept: usize,
    },
    /// Undoing does not give the original.
    #[error("undoing the patch does not give the original of {image}")]
    Undo {
        /// The image.
        image: ImageKind,
    },
    /// AVB's metadata is not what the plan says.
    #[error("the AVB metadata of {image} is not what was planned: {what}")]
    Avb {
        /// The image.
        image: ImageKind,
        /// What is wrong.
        what: String,
    },
    /// With a part of the images flashed, the device would not boot.
    #[error("with only {flashed} flashed the kernel would start {program}, which no image has")]
    Alone {
        /// The images that were flashed.
        flashed: String,
        /// The program.
        program: String,
    },
}

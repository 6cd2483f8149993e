//! Omissions from a command line, and assumptions.

use crate::image;
use crate::image::bootconfig;

/// Whether the device uses the hash trees of its partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hashtrees {
    /// It does.
    Enabled,
    /// The flags of the vbmeta image disable them.
    Disabled,
}

impl Hashtrees {
    /// The other state.
    fn other(self) -> Self {
        match self {
            Hashtrees::Enabled => Hashtrees::Disabled,
            Hashtrees::Disabled => Hashtrees::Enabled,
        }
    }
}

impl std::fmt::Display for Hashtrees {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Hashtrees::Enabled => "not disabled",
            Hashtrees::Disabled => "disabled",
        })
    }
}

/// A note about the kernel parameters in the images.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LineNote {
    /// Several vbmeta images, none of which is chained to another.
    #[error(
        "{} vbmeta images ({}): give the top-level one alone; no kernel command line descriptor \
         counts here", .files.len(), .files.join(", ")
    )]
    SeveralVbmetas {
        /// Their files.
        files: Vec<String>,
    },
    /// A blob with a kernel command line to which the top-level vbmeta image does not chain.
    #[error(
        "{file}: the kernel command line in its vbmeta blob does not count: {top} does not chain to \
         it"
    )]
    NotChained {
        /// The image with the blob.
        file: String,
        /// The top-level vbmeta image.
        top: String,
    },
    /// A vbmeta image that cannot be read.
    #[error("{file}: {problem}")]
    Vbmeta {
        /// The image.
        file: String,
        /// What is wrong with it.
        #[source]
        problem: image::Problem,
    },
    /// The flags of the vbmeta image disable verification.
    #[error(
        "{file}: its flags disable verification, so that no kernel command line descriptor counts"
    )]
    VerificationDisabled {
        /// The vbmeta image.
        file: String,
    },
    /// A descriptor for the other state of hash trees.
    #[error(
        "{file}: AVB descriptor {index} ({text}) counts only where hash trees are {}, and {} {state}",
        .state.other(),
        if *.known { "they are" } else { "without vbmeta.img they are taken to be" }
    )]
    OtherHashtrees {
        /// The image with the descriptor.
        file: String,
        /// Index of the descriptor.
        index: usize,
        /// Its kernel parameters.
        text: String,
        /// The state of hash trees.
        state: Hashtrees,
        /// Whether the vbmeta image says so; without one they are assumed to be enabled.
        known: bool,
    },
    /// A descriptor depends on a state of hash trees that no image shows.
    #[error(
        "{file}: AVB descriptor {index} counts only where hash trees are {state}, which vbmeta.img \
         decides: give it, too"
    )]
    HashtreesUnknown {
        /// The image with the descriptor.
        file: String,
        /// Index of the descriptor.
        index: usize,
        /// The assumed state.
        state: Hashtrees,
    },
    /// A variable in a descriptor.
    #[error("{0} is filled in by the bootloader")]
    FilledIn(&'static str),
    /// A bootconfig that the kernel ignores.
    #[error("{file}: {error}: the kernel ignores the whole bootconfig")]
    Bootconfig {
        /// The image.
        file: String,
        /// What is wrong with it.
        #[source]
        error: bootconfig::Error,
    },
}

//! Why an input could not be checked, and what is odd about one that could.

use std::io;

use super::Provenance;
use super::content::Foreign;
use crate::compression;
use crate::image::{self, ImageKind};
use crate::kernel::config::ConfigError;
use crate::kernel::{self, Arch};
use crate::modules::SurveyError;

/// Why an input could not be checked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// A file that could not be opened or read.
    #[error(transparent)]
    Open(#[from] io::Error),
    /// A file of the set beside the main one that could not be opened or read.
    #[error("{file}: {error}")]
    Beside {
        /// The file.
        file: String,
        /// What the system says.
        #[source]
        error: io::Error,
    },
    /// A directory with nothing in it that can be checked.
    #[error("is a directory without any boot image, kernel or config that can be read")]
    Directory,
    /// Nothing that is checked.
    #[error(transparent)]
    Foreign(#[from] Foreign),
    /// An image that cannot be read.
    #[error(transparent)]
    Image(#[from] image::Error),
    /// A kernel that cannot be read.
    #[error(transparent)]
    Kernel(#[from] kernel::Error),
    /// A bare ramdisk where a kernel is needed.
    #[error("is a ramdisk, expected a boot image or a kernel")]
    Ramdisk,
    /// An image of a kind that holds no kernel.
    #[error("this {} image holds no kernel; name the one that does", .0.as_str())]
    WithoutKernel(ImageKind),
    /// What the image calls its kernel has no structure.
    #[error("holds no kernel that can be read: it is encrypted, or compressed in an unknown way")]
    EncryptedKernel,
    /// Containers of a kernel with something else inside.
    #[error("is not a Linux kernel: {0} that holds neither a Linux banner nor a config")]
    NotLinux(String),
    /// A stream that is damaged before anything was found in it.
    #[error(transparent)]
    Damaged(#[from] compression::Error),
    /// Text that begins as a config and is not one.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A config was given for a config.
    #[error(
        "is a kernel config itself; another one can be given for a kernel or a boot image only"
    )]
    TwoConfigs,
    /// The config given is for another architecture.
    #[error("the kernel is for {kernel}, but {source_of_config} is for {config}")]
    ForeignConfig {
        /// The kernel's architecture.
        kernel: Arch,
        /// The config's.
        config: Arch,
        /// Where the config comes from.
        source_of_config: Provenance,
    },
    /// The profile has no rules for the kernel.
    #[error(
        "is for {arch}; the profile {profile} has rules for {} only",
        .covered.iter().map(|arch| arch.name()).collect::<Vec<_>>().join(" and ")
    )]
    Architecture {
        /// The kernel's architecture.
        arch: Arch,
        /// What the profile is called.
        profile: String,
        /// What it has rules for.
        covered: Vec<Arch>,
    },
    /// A ramdisk whose modules could not be read.
    #[error("{file}: {error}")]
    Modules {
        /// The file of the image.
        file: String,
        /// Why.
        #[source]
        error: SurveyError,
    },
}

/// What is odd about an input that could be checked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A header of the kernel's containers.
    #[error(transparent)]
    Header(#[from] kernel::Problem),
    /// A boot image's kernel that may be something else.
    #[error("there is no Linux banner in it: it may not be a Linux kernel")]
    NoBanner,
    /// The kernel's own config does not count.
    #[error("the kernel has a config embedded; the one given is used instead")]
    EmbeddedConfig,
    /// A stream that is damaged behind what was looked for.
    #[error(transparent)]
    Damaged(#[from] compression::Error),
    /// A module or a ramdisk that could not be read.
    #[error("{0}")]
    Module(String),
    /// A kernel command line descriptor of AVB that does not count, or that the bootloader
    /// completes.
    #[error("{0}")]
    Avb(String),
}

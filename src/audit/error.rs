//! Errors of checking an input, and problems that do not prevent a check.

use std::io;
use std::path::PathBuf;

use super::content::Foreign;
use super::expand::ExpandError;
use crate::bootset::sources::LineNote;
use crate::bootset::{BootSet, Provenance, Role};
use crate::compression;
use crate::container;
use crate::image;
use crate::kernel::config_file::ConfigFileError;
use crate::kernel::{self, Arch};
use crate::modules::{ModuleProblem, SurveyError};

/// An input could not be checked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// A file that could not be opened or read.
    #[error(transparent)]
    Open(#[from] io::Error),
    /// Another file of the set could not be opened or read.
    #[error("{file}: {error}")]
    Beside {
        /// The file.
        file: String,
        /// What is wrong.
        error: Box<CheckError>,
    },
    /// A container that cannot be read.
    #[error("{}", chain(.0))]
    Container(#[from] container::Error),
    /// A directory without files that can be checked.
    #[error("is a directory without a readable boot image, kernel or config")]
    Directory,
    /// A file that cannot be checked.
    #[error(transparent)]
    Foreign(#[from] Foreign),
    /// No file was given.
    #[error("there is no image to check")]
    Empty,
    /// An image that cannot be read.
    #[error(transparent)]
    Image(#[from] image::Error),
    /// Another image of the set cannot be read.
    #[error("{file}: {error}")]
    ImageBeside {
        /// Its file.
        file: String,
        /// What is wrong with it.
        #[source]
        error: image::Error,
    },
    /// A config of the set beside the main file that cannot be used.
    #[error("{file}: {error}")]
    ConfigBeside {
        /// Its file.
        file: String,
        /// What is wrong with it.
        #[source]
        error: ConfigFileError,
    },
    /// A kernel that cannot be read.
    #[error(transparent)]
    Kernel(#[from] kernel::Error),
    /// A bare ramdisk instead of a kernel.
    #[error("is a ramdisk, expected a boot image or a kernel")]
    Ramdisk,
    /// A config instead of a kernel.
    #[error("is a kernel config, expected a boot image or a kernel")]
    ConfigAlone,
    /// An image without a kernel.
    #[error("this {0} image has no kernel; add the image with the kernel")]
    WithoutKernel(Role),
    /// The kernel section of the image has no structure.
    #[error("has no readable kernel: it is encrypted, or compressed in an unknown way")]
    EncryptedKernel,
    /// The containers of a kernel with other contents.
    #[error("is not a Linux kernel: {0} without a Linux banner or a config")]
    NotLinux(String),
    /// A stream is damaged before a banner or config was found.
    #[error(transparent)]
    Damaged(#[from] compression::Error),
    /// A config that cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigFileError),
    /// A config was given for a config.
    #[error(
        "is a kernel config itself; another config can be given only for a kernel or a boot image"
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
        "is for {arch}; the profile {profile} has rules only for {}",
        .covered.iter().map(|arch| arch.name()).collect::<Vec<_>>().join(" and ")
    )]
    Architecture {
        /// The kernel's architecture.
        arch: Arch,
        /// The name of the profile.
        profile: String,
        /// The architectures that it has rules for.
        covered: Vec<Arch>,
    },
    /// The config could not be expanded.
    #[error(transparent)]
    Expand(#[from] ExpandError),
    /// Modules that were given could not be read.
    #[error(transparent)]
    Modules(#[from] SurveyError),
}

/// An error and its causes on one line.
fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

impl CheckError {
    /// The error for a set without a kernel.
    pub fn without_kernel(set: &BootSet<'_>) -> Self {
        let mut roles = set.roles().iter();
        match roles.find(|role| **role != Role::Config) {
            Some(Role::Ramdisk) => CheckError::Ramdisk,
            Some(role) => CheckError::WithoutKernel(*role),
            None if set.config().is_some() => CheckError::ConfigAlone,
            None => CheckError::Empty,
        }
    }
}

/// A problem with an input that does not prevent the check.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A defect of a header of the kernel's containers.
    #[error(transparent)]
    Header(#[from] kernel::Problem),
    /// The kernel of a boot image that may not be a kernel.
    #[error("has no Linux banner: it may not be a Linux kernel")]
    NoBanner,
    /// The config that was judged is not the one given.
    #[error("the config was expanded by make olddefconfig in {}", .0.display())]
    Expanded(PathBuf),
    /// The kernel's embedded config is not used.
    #[error("the given config is used instead of the one embedded in the kernel")]
    EmbeddedConfig,
    /// A stream is damaged after the banner and config.
    #[error(transparent)]
    Damaged(#[from] compression::Error),
    /// A given module or one in a ramdisk of the images could not be read, or a ramdisk is damaged.
    #[error(transparent)]
    Module(#[from] ModuleProblem),
    /// A part of the command line in the images was ignored or assumed.
    #[error(transparent)]
    Cmdline(#[from] LineNote),
}

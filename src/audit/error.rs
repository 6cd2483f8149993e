//! Why an input could not be checked, and what is odd about one that could.

use std::io;

use super::content::Foreign;
use crate::bootset::sources::LineNote;
use crate::bootset::{BootSet, Provenance, Role};
use crate::compression;
use crate::image;
use crate::kernel::config_file::ConfigFileError;
use crate::kernel::{self, Arch};
use crate::modules::{ModuleProblem, SurveyError};

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
    /// No file at all.
    #[error("there is no image to check")]
    Empty,
    /// An image that cannot be read.
    #[error(transparent)]
    Image(#[from] image::Error),
    /// An image of the set beside the main one that cannot be read.
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
    /// A bare ramdisk where a kernel is needed.
    #[error("is a ramdisk, expected a boot image or a kernel")]
    Ramdisk,
    /// A config where a kernel is needed.
    #[error("is a kernel config, expected a boot image or a kernel")]
    ConfigAlone,
    /// An image that holds no kernel.
    #[error("this {0} image holds no kernel; name the one that does")]
    WithoutKernel(Role),
    /// What the image calls its kernel has no structure.
    #[error("holds no kernel that can be read: it is encrypted, or compressed in an unknown way")]
    EncryptedKernel,
    /// Containers of a kernel with something else inside.
    #[error("is not a Linux kernel: {0} that holds neither a Linux banner nor a config")]
    NotLinux(String),
    /// A stream that is damaged before anything was found in it.
    #[error(transparent)]
    Damaged(#[from] compression::Error),
    /// A config that cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigFileError),
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
    /// Modules that were given could not be read.
    #[error(transparent)]
    Modules(#[from] SurveyError),
}

impl CheckError {
    /// Why there is no kernel to look at in a set without one.
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
    /// A file among the modules given or in a ramdisk that could not be read, or a ramdisk that is
    /// damaged.
    #[error(transparent)]
    Module(#[from] ModuleProblem),
    /// What the images say about the command line was left out, or taken for granted.
    #[error(transparent)]
    Cmdline(#[from] LineNote),
}

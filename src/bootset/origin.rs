//! Where kernel parameters come from.

use std::fmt;

/// The origin of kernel parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The header of this boot image.
    Boot(String),
    /// The header of this vendor_boot image.
    VendorBoot(String),
    /// The user gave it.
    Given,
    /// `CONFIG_CMDLINE`.
    Config,
    /// Keys below `kernel` and `init` in the bootconfig of this image
    /// (`setup_command_line` in the kernel's `init/main.c`).
    Bootconfig(String),
    /// A kernel command line descriptor of AVB in this image.
    Avb(String),
}

impl Origin {
    /// As it is written in JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Origin::Boot(_) => "boot",
            Origin::VendorBoot(_) => "vendor_boot",
            Origin::Given => "given",
            Origin::Config => "config",
            Origin::Bootconfig(_) => "bootconfig",
            Origin::Avb(_) => "avb",
        }
    }

    /// The file that contains it.
    pub fn file(&self) -> Option<&str> {
        match self {
            Origin::Boot(file)
            | Origin::VendorBoot(file)
            | Origin::Bootconfig(file)
            | Origin::Avb(file) => Some(file),
            Origin::Given | Origin::Config => None,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Boot(file) | Origin::VendorBoot(file) => f.pad(file),
            Origin::Given => f.pad("the command line given"),
            Origin::Config => f.pad("CONFIG_CMDLINE"),
            Origin::Bootconfig(file) => write!(f, "bootconfig of {file}"),
            Origin::Avb(file) => write!(f, "AVB descriptor of {file}"),
        }
    }
}

/// A piece of the command line that the bootloader passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CmdlinePart {
    /// Where the piece comes from.
    pub origin: Origin,
    /// Its text.
    pub text: String,
}

impl CmdlinePart {
    /// Whether it is the line of an image's header.
    pub(crate) fn is_header(&self) -> bool {
        matches!(self.origin, Origin::Boot(_) | Origin::VendorBoot(_))
    }
}

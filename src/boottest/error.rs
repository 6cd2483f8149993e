//! Why images cannot be booted here.

use std::io;

use crate::bootfile::DeviceSpec;
use crate::kernel;
use crate::patch;
use crate::ramdisk;

/// Why images cannot be booted here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No image has a kernel.
    #[error("no image of the set has a kernel: give boot.img as well")]
    NoKernel,
    /// The kernel cannot be read.
    #[error("the kernel cannot be read: {0}")]
    Kernel(#[source] kernel::Error),
    /// The kernel is in a form of which nothing is known.
    #[error("the kernel is in an unknown form: its architecture is not known")]
    UnknownKernel,
    /// No image of the set is patched.
    #[error("no image of the set is patched")]
    NotPatched,
    /// The originals cannot be restored.
    #[error(transparent)]
    Originals(patch::Error),
    /// A ramdisk is damaged.
    #[error(transparent)]
    Ramdisk(#[from] ramdisk::Error),
    /// QEMU could not be started.
    #[error("{program} does not start: {error}")]
    Start {
        /// The program.
        program: String,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// QEMU refused its arguments.
    #[error("{program} ended at once: {said}")]
    Refused {
        /// The program.
        program: String,
        /// What it said.
        said: String,
    },
}

/// Why a boot here would prove nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Undecided {
    /// This system is not Linux.
    #[error("images are booted on Linux alone: the emulator reads files that only Linux has")]
    System,
    /// QEMU is not installed.
    #[error("{program} is not installed; on Debian the package {package} has it")]
    NoQemu {
        /// The program.
        program: String,
        /// Debian's package with it.
        package: String,
    },
    /// There is no board for the architecture.
    #[error("there is no board for kernels of {0}")]
    NoBoard(&'static str),
    /// No device can be put at the address.
    #[error(
        "no stand-in can be at {0}: the board has one PCI domain (a PC only 0), 16 buses, and no free slot 0 on the first"
    )]
    Address(DeviceSpec),
    /// More ids than there are devices that can stand in.
    #[error("{wanted} devices are named by their ids, and {there} can stand in")]
    TooMany {
        /// Ids that were named.
        wanted: usize,
        /// Devices that can stand in.
        there: usize,
    },
    /// The lists of modules name ids that no device on the board has.
    #[error(
        "the init of the images loads vfio-pci for ids that QEMU has no device with, and is not changed for a test"
    )]
    ListedIds,
    /// The originals do not boot here either.
    #[error("the originals do not boot on this board either: {0}")]
    Control(String),
    /// The log was never seen.
    #[error(
        "the kernel wrote nothing to the serial line of this board, and no log is in its memory"
    )]
    Silent,
}

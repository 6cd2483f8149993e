//! The command line of QEMU: how it is written, and what of it no key decides.

use crate::device::bus::pci::PciAddress;
use crate::device::guest::file::Arch;
use crate::device::guest::token::SharedToken;

/// The first monitor: the supervisor's.
pub(crate) const MONITOR: &str = "qmp.sock";
/// The second: for `status`, while the supervisor has the first.
pub const CONTROL: &str = "control.sock";
/// The object that devices are opened through.
pub(crate) const IOMMUFD: &str = "iommufd0";
/// The screen.
pub(crate) const VNC: &str = "vnc.sock";

/// The property of the `virt` board that makes room for devices with much memory.
pub(crate) const HIGH_MEMORY: &str = "highmem-mmio-size";

/// What the machine has for the guest.
#[derive(Clone, Copy, Debug)]
pub struct Resources<'a> {
    /// What QEMU emulates.
    pub arch: Arch,
    /// The pages of its memory.
    pub backing: Backing,
    /// Where QEMU makes its sockets, as it sees that directory.
    pub directory: &'a str,
    /// Whether devices are opened through iommufd.
    pub iommufd: bool,
    /// The tokens of physical functions.
    pub tokens: &'a [SharedToken],
    /// Whether QEMU filters its system calls.
    pub sandbox: bool,
    /// How much room for devices the board has above its memory, in bytes, where that is not its default.
    pub high_memory: Option<u64>,
}

impl<'a> Resources<'a> {
    /// What there is without anything special: devices are opened by their groups.
    pub fn new(arch: Arch, backing: Backing, directory: &'a str) -> Self {
        Self {
            arch,
            backing,
            directory,
            iommufd: false,
            tokens: &[],
            sandbox: false,
            high_memory: None,
        }
    }

    /// The token that a device is opened with.
    pub(crate) fn token(&self, device: PciAddress) -> Option<String> {
        let shared = self.tokens.iter().find(|shared| shared.devices.contains(&device))?;
        Some(shared.token.to_string())
    }
}

/// The pages of a guest's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backing {
    /// hugetlb pages of so many bytes.
    Hugetlb(u64),
    /// Anonymous memory: QEMU advises the kernel to use huge pages for it.
    Anonymous,
}

/// Arguments being put together.
#[derive(Debug, Default)]
pub(crate) struct Argv(Vec<String>);

impl Argv {
    /// Adds an option without a value.
    pub(crate) fn flag(&mut self, name: &str) {
        self.0.push(name.to_owned());
    }

    /// Adds an option and its value.
    pub(crate) fn pair(&mut self, name: &str, value: impl Into<String>) {
        self.0.extend([name.to_owned(), value.into()]);
    }

    /// Adds both monitors and the console.
    pub(crate) fn monitors(&mut self, directory: &str) {
        for (id, name) in [("qmp", MONITOR), ("control", CONTROL)] {
            self.pair(
                "-chardev",
                format!("socket,id={id},path={}/{name},server=on,wait=off", value(directory)),
            );
            self.pair("-mon", format!("chardev={id},mode=control"));
        }
        // The console goes where vfiorun's output goes, past vfiorun.
        self.pair("-chardev", "stdio,id=console,signal=off");
        self.pair("-serial", "chardev:console");
    }

    /// The arguments, followed by `more` as they are.
    pub(crate) fn followed_by(mut self, more: &[String]) -> Vec<String> {
        self.0.extend_from_slice(more);
        self.0
    }
}

/// A value inside an option: QEMU splits at commas and takes two for one.
pub(crate) fn value(text: &str) -> String {
    text.replace(',', ",,")
}

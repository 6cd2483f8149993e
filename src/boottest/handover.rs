//! What a bootloader gives the kernel: the kernel, the initramfs in memory, the command line.

use super::error::Error;
use crate::bootset::{BootSet, Spot};
use crate::image::{SectionName, bootconfig};
use crate::kernel::Arch;

/// What the kernel is started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handover {
    /// The kernel, in a form that QEMU loads.
    pub kernel: Vec<u8>,
    /// All ramdisks in the order of memory, then the bootconfig with its trailer.
    pub initrd: Vec<u8>,
    /// The command lines of the headers, joined.
    pub cmdline: String,
    /// The architecture of the kernel.
    pub arch: Arch,
}

impl Handover {
    /// The architecture of the kernel.
    ///
    /// # Errors
    /// [`Error::NoKernel`], [`Error::Kernel`], [`Error::UnknownKernel`].
    pub(super) fn arch_of(set: &BootSet<'_>) -> Result<Arch, Error> {
        match set.parse_kernel() {
            None => Err(Error::NoKernel),
            Some(Err(error)) => Err(Error::Kernel(error)),
            Some(Ok(_)) => set.kernel().arch.ok_or(Error::UnknownKernel),
        }
    }

    /// Put together what a bootloader puts together. `instead` are the bytes of a ramdisk to use in
    /// place of its own.
    ///
    /// # Errors
    /// [`Error::NoKernel`], [`Error::Kernel`], [`Error::UnknownKernel`].
    pub(super) fn of(set: &BootSet<'_>, instead: Option<&(Spot, Vec<u8>)>) -> Result<Self, Error> {
        let arch = Self::arch_of(set)?;
        Ok(Handover {
            kernel: kernel(set, arch)?,
            initrd: initrd(set, instead),
            cmdline: cmdline(set),
            arch,
        })
    }
}

/// QEMU unpacks gzip alone, so it gets the kernel itself; a bzImage unpacks itself.
fn kernel(set: &BootSet<'_>, arch: Arch) -> Result<Vec<u8>, Error> {
    if arch == Arch::X86_64 {
        return Ok(set.kernel_bytes().map(|(_, bytes)| bytes.to_vec()).unwrap_or_default());
    }
    match set.parse_kernel() {
        Some(Ok(kernel)) => kernel.unpacked().map_err(Error::Kernel)?.ok_or(Error::UnknownKernel),
        _ => Err(Error::NoKernel),
    }
}

fn initrd(set: &BootSet<'_>, instead: Option<&(Spot, Vec<u8>)>) -> Vec<u8> {
    let mut memory = Vec::new();
    for ramdisk in set.in_memory_order() {
        match instead {
            Some((spot, bytes)) if *spot == ramdisk.spot => memory.extend_from_slice(bytes),
            _ => memory.extend_from_slice(ramdisk.bytes),
        }
    }
    let image = set.initramfs().bootconfig.map(|index| &set.images()[index]);
    if let Some(config) = image.and_then(|image| image.section(SectionName::Bootconfig)) {
        append_bootconfig(&mut memory, config);
    }
    memory
}

/// The text, zeros to a multiple of 4, size and sum of the bytes, the magic.
fn append_bootconfig(memory: &mut Vec<u8>, config: &[u8]) {
    let start = memory.len();
    memory.extend_from_slice(config);
    memory.resize(memory.len().next_multiple_of(4), 0);
    let size = (memory.len() - start) as u32;
    let sum = memory[start..].iter().fold(0u32, |sum, byte| sum.wrapping_add((*byte).into()));
    memory.extend_from_slice(&size.to_le_bytes());
    memory.extend_from_slice(&sum.to_le_bytes());
    memory.extend_from_slice(bootconfig::MAGIC);
}

fn cmdline(set: &BootSet<'_>) -> String {
    let parts = set.command_lines().parts.iter();
    let lines = parts
        .filter(|part| part.is_header())
        .map(|part| part.text.trim())
        .filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" ")
}

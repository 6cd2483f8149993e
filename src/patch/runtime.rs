//! The vfiorun executable that goes into the ramdisk.

use goblin::elf::header::{EM_AARCH64, EM_X86_64, ET_DYN, ET_EXEC};
use goblin::elf::program_header::{PT_INTERP, PT_LOAD};

use super::Error;
use super::kernel_facts::KernelFacts;
use crate::kernel::Arch;

include!(concat!(env!("OUT_DIR"), "/runtime.rs"));

/// vfiorun for each architecture, or one that the user gave.
#[derive(Clone, Copy, Debug, Default)]
pub struct Runtimes<'a> {
    given: Option<&'a [u8]>,
    aarch64: Option<&'a [u8]>,
    x86_64: Option<&'a [u8]>,
}

impl<'a> Runtimes<'a> {
    /// What this build carries.
    pub fn built_in() -> Self {
        Runtimes { given: None, aarch64: AARCH64, x86_64: X86_64 }
    }

    /// This executable, for whatever it was built for.
    pub fn given(executable: &'a [u8]) -> Self {
        Runtimes { given: Some(executable), ..Self::default() }
    }

    /// The executable for the kernel of the set; for arm64 when there is none.
    ///
    /// # Errors
    /// As [`Runtimes::for_arch`].
    pub(super) fn choose(&self, kernel: &KernelFacts) -> Result<&'a [u8], Error> {
        self.for_arch(kernel.arch)
    }

    /// The executable for `arch`; where that is not known for arm64, or the given one for whatever
    /// it was built for.
    ///
    /// # Errors
    /// [`Error::NoRuntime`], [`Error::Kernel`] for an architecture without one, and
    /// [`Error::Runtime`] for an executable that cannot run there.
    pub fn for_arch(&self, arch: Option<Arch>) -> Result<&'a [u8], Error> {
        let (name, built_in, machine) = match arch {
            None | Some(Arch::Arm64) => ("aarch64", self.aarch64, EM_AARCH64),
            Some(Arch::X86_64) => ("x86_64", self.x86_64, EM_X86_64),
            Some(other) => return Err(Error::NoRuntime(other.name())),
        };
        let executable = self.given.or(built_in).ok_or(Error::NoRuntime(name))?;
        // Without a kernel to compare with, a given executable decides by itself.
        check(executable, arch.map(|_| machine), name)?;
        Ok(executable)
    }
}

/// PID 1 starts before any shared library is there.
fn check(executable: &[u8], machine: Option<u16>, name: &str) -> Result<(), Error> {
    let elf = goblin::elf::Elf::parse(executable)
        .map_err(|error| Error::Runtime(format!("is no ELF executable: {error}")))?;
    if machine.is_some_and(|machine| elf.header.e_machine != machine) {
        let found = goblin::elf::header::machine_to_str(elf.header.e_machine);
        return Err(Error::Runtime(format!("is built for {found}, the kernel is {name}")));
    }
    let has = |kind| elf.program_headers.iter().any(|header| header.p_type == kind);
    if has(PT_INTERP) {
        let message = "is dynamically linked: PID 1 needs a static executable";
        return Err(Error::Runtime(message.to_owned()));
    }
    // A shared library is ET_DYN too, but has no entry.
    let program = matches!(elf.header.e_type, ET_EXEC | ET_DYN) && elf.entry != 0;
    if !program || !has(PT_LOAD) {
        let kind = goblin::elf::header::et_to_str(elf.header.e_type);
        return Err(Error::Runtime(format!("is no program but an ELF file of type {kind}")));
    }
    Ok(())
}

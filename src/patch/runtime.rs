//! The vfiorun executable that goes into the ramdisk.

use std::borrow::Cow;

use goblin::elf::header::{EM_AARCH64, EM_X86_64, ET_DYN, ET_EXEC, et_to_str, machine_to_str};
use goblin::elf::program_header::{PT_INTERP, PT_LOAD};

use memchr::memmem;

use super::error::{Error, RuntimeError};
use crate::bootfile::{DISABLE_PARAMETER, RUNTIME_MARK};
use crate::compression::{self, Format};
use crate::kernel::Arch;

include!(concat!(env!("OUT_DIR"), "/runtime.rs"));

/// A vfiorun executable.
#[derive(Clone, Copy, Debug)]
pub struct Runtime<'a> {
    executable: &'a [u8],
    /// The results of [`compression::part`] that are known, by the format's name.
    parts: &'a [(&'a str, &'a [u8])],
}

impl<'a> Runtime<'a> {
    /// The executable's bytes.
    pub fn executable(&self) -> &'a [u8] {
        self.executable
    }

    /// The executable as a part of a compressed stream; None for formats without parts.
    pub(super) fn part(&self, format: Format) -> std::io::Result<Option<Cow<'a, [u8]>>> {
        let known = self.parts.iter().find(|(name, _)| *name == format.name());
        match known {
            Some((_, part)) => Ok(Some(Cow::Borrowed(*part))),
            None => Ok(compression::part(format, self.executable)?.map(Cow::Owned)),
        }
    }
}

/// vfiorun for each architecture, or one that the user gave.
#[derive(Clone, Copy, Debug, Default)]
pub struct Runtimes<'a> {
    given: Option<Runtime<'a>>,
    aarch64: Option<Runtime<'a>>,
    x86_64: Option<Runtime<'a>>,
}

impl<'a> Runtimes<'a> {
    /// The executables in this build.
    pub fn built_in() -> Self {
        Runtimes { given: None, aarch64: AARCH64, x86_64: X86_64 }
    }

    /// This executable, for the architecture that it was built for.
    pub fn given(executable: &'a [u8]) -> Self {
        let given = Some(Runtime { executable, parts: &[] });
        Runtimes { given, ..Self::default() }
    }

    /// The executable for `arch`. If that is unknown: the one for arm64, or the given
    /// one for the architecture that it was built for.
    ///
    /// # Errors
    /// [`Error::NoRuntime`] for an architecture without one, and [`Error::Runtime`] for an
    /// executable that cannot run there.
    pub fn for_arch(&self, arch: Option<Arch>) -> Result<Runtime<'a>, Error> {
        let (name, built_in, machine) = match arch {
            None | Some(Arch::Arm64) => ("aarch64", self.aarch64, EM_AARCH64),
            Some(Arch::X86_64) => ("x86_64", self.x86_64, EM_X86_64),
            Some(other) => return Err(Error::NoRuntime(other.name())),
        };
        let runtime = self.given.or(built_in).ok_or(Error::NoRuntime(name))?;
        // Without a kernel to compare with, a given executable decides the architecture.
        check(runtime.executable, arch.map(|_| machine), name)?;
        Ok(runtime)
    }
}

/// PID 1 starts before any shared library is there.
fn check(
    executable: &[u8],
    machine: Option<u16>,
    kernel: &'static str,
) -> Result<(), RuntimeError> {
    let elf = goblin::elf::Elf::parse(executable)?;
    if machine.is_some_and(|machine| elf.header.e_machine != machine) {
        let found = machine_to_str(elf.header.e_machine);
        return Err(RuntimeError::Machine { found, kernel });
    }
    let has = |kind| elf.program_headers.iter().any(|header| header.p_type == kind);
    if has(PT_INTERP) {
        return Err(RuntimeError::Dynamic);
    }
    // A shared library is ET_DYN too, but has no entry.
    let program = matches!(elf.header.e_type, ET_EXEC | ET_DYN) && elf.entry != 0;
    if !program || !has(PT_LOAD) {
        return Err(RuntimeError::NotAProgram { kind: et_to_str(elf.header.e_type) });
    }
    Ok(())
}

/// Whether this is the runtime of any version, and so never the original of anything.
pub(crate) fn is_runtime(program: &[u8]) -> bool {
    /// What only the runtime has, in versions without a mark.
    const BEFORE: [&str; 2] = ["/vfioboot/kmsg", DISABLE_PARAMETER];
    let has = |part: &[u8]| memmem::find(program, part).is_some();
    program.starts_with(goblin::elf::header::ELFMAG)
        && (has(RUNTIME_MARK) || BEFORE.iter().all(|part| has(part.as_bytes())))
}

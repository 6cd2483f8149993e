//! What only Linux has: files without a name that QEMU inherits, and a child that ends with this process.

#[cfg(target_os = "linux")]
mod system {
    use std::fs::File;
    use std::io;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::FileExt;
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use rustix::fs::{MemfdFlags, SeekFrom};

    /// Boots are tested here.
    pub(in crate::boottest) const BOOTS: bool = true;

    /// A file without a name, which a child inherits.
    pub(in crate::boottest) fn unnamed(name: &str) -> io::Result<File> {
        Ok(rustix::fs::memfd_create(name, MemfdFlags::empty())?.into())
    }

    /// What a child opens it by.
    pub(in crate::boottest) fn path(file: &File) -> String {
        format!("/proc/self/fd/{}", file.as_raw_fd())
    }

    pub(in crate::boottest) fn read_at(
        file: &File,
        bytes: &mut [u8],
        at: u64,
    ) -> io::Result<usize> {
        file.read_at(bytes, at)
    }

    /// The parts of a file that were ever written to.
    pub(in crate::boottest) fn written(file: &File) -> Vec<(u64, u64)> {
        let mut parts = Vec::new();
        let mut at = 0;
        while let Ok(start) = rustix::fs::seek(file, SeekFrom::Data(at)) {
            let Ok(end) = rustix::fs::seek(file, SeekFrom::Hole(start)) else { break };
            parts.push((start, end));
            at = end;
        }
        parts
    }

    /// The program will end with this process.
    pub(in crate::boottest) fn end_with_this_process(command: &mut Command) {
        // SAFETY: only one system call, which is safe after a fork.
        unsafe {
            command.pre_exec(|| {
                let kill = Some(rustix::process::Signal::KILL);
                rustix::process::set_parent_process_death_signal(kill).map_err(io::Error::from)
            });
        }
    }
}

/// Nothing is booted: [`Undecided::System`](super::Undecided::System) says so before any of this is called.
#[cfg(not(target_os = "linux"))]
mod system {
    use std::fs::File;
    use std::io;
    use std::process::Command;

    pub(in crate::boottest) const BOOTS: bool = false;

    pub(in crate::boottest) fn unnamed(_: &str) -> io::Result<File> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(in crate::boottest) fn path(_: &File) -> String {
        String::new()
    }

    pub(in crate::boottest) fn read_at(_: &File, _: &mut [u8], _: u64) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(in crate::boottest) fn written(_: &File) -> Vec<(u64, u64)> {
        Vec::new()
    }

    pub(in crate::boottest) fn end_with_this_process(_: &mut Command) {}
}

pub(super) use system::{BOOTS, end_with_this_process, path, read_at, unnamed, written};

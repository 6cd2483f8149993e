//! The memory of a machine, and the kernel's log in it: a kernel without a console on the serial line
//! (`console=ttynull`, another UART) writes its log there all the same.

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;

use super::{host, ring};

/// Enough for a kernel with its ramdisks. What the kernel does not use takes nothing.
const SIZE: u64 = 2 << 30;
/// How much of it is looked at in one go.
const CHUNK: u64 = 8 << 20;

/// The memory: a file without a name, which QEMU maps.
pub(super) struct Memory(File);

impl Memory {
    pub(super) fn new() -> io::Result<Self> {
        let file = host::unnamed("memory")?;
        file.set_len(SIZE)?;
        Ok(Memory(file))
    }

    /// QEMU's arguments.
    pub(super) fn arguments(&self) -> [String; 6] {
        let (file, size) = (host::path(&self.0), SIZE >> 20);
        let backend =
            format!("memory-backend-file,id=memory,size={size}M,share=on,mem-path={file}");
        let size = format!("{size}M");
        let machine = "memory-backend=memory".to_owned();
        ["-m".to_owned(), size, "-object".to_owned(), backend, "-machine".to_owned(), machine]
    }

    /// Where the kernel's log may be.
    pub(super) fn find_log(&self) -> ring::Found {
        let mut found = ring::Found::default();
        for (start, end) in host::written(&self.0) {
            let mut at = start;
            while at < end {
                // What is found begins in this chunk, and reaches a little into the next one.
                let bytes = self.read(at, (CHUNK + ring::REACH).min(end - at));
                ring::look(&bytes, at, CHUNK.min(end - at), &mut found);
                at += CHUNK;
            }
        }
        found
    }

    /// The log as far as it is written, in the form that it has on a console.
    pub(super) fn log(&self, found: &ring::Found) -> Vec<String> {
        found.longest(&|at, size| self.read(at, size))
    }

    /// A number that differs when anything in the memory does.
    pub(super) fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for (start, end) in host::written(&self.0) {
            start.hash(&mut hasher);
            for at in (start..end).step_by(CHUNK as usize) {
                hasher.write(&self.read(at, CHUNK.min(end - at)));
            }
        }
        hasher.finish()
    }

    /// What QEMU puts at the start: 2 MiB, the most that a device tree may have.
    pub(super) fn start(&self) -> Vec<u8> {
        self.read(0, 2 << 20)
    }

    /// Shorter at the end of the memory.
    fn read(&self, at: u64, size: u64) -> Vec<u8> {
        let mut bytes = vec![0; size as usize];
        let mut filled = 0;
        while let Ok(more @ 1..) = host::read_at(&self.0, &mut bytes[filled..], at + filled as u64)
        {
            filled += more;
        }
        bytes.truncate(filled);
        bytes
    }
}

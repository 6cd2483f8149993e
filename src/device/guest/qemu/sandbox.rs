//! Whether QEMU can be started with its system call filter (`-sandbox`).
//!
//! A QEMU without it refuses the option, and asking one takes longer than all the rest of a start. But one
//! that has it is linked to libseccomp, which its file says.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// What libvirt denies as well: what is obsolete, more privileges, other programs, and the priorities
/// and processors that were chosen before.
pub(crate) const ARGUMENTS: &str =
    "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny";
/// With arguments of the user's, which may name helpers that QEMU starts.
pub(crate) const ARGUMENTS_WITH_HELPERS: &str =
    "on,obsolete=deny,elevateprivileges=deny,resourcecontrol=deny";

const LIBRARY: &[u8] = b"libseccomp.so";

/// Of `elf.h`: the dynamic segment, and three of its tags.
const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
/// No program has as much of any of these.
const LIMIT: u64 = 1 << 20;

/// Whether the kernel has filters, and the QEMU at `program` uses them.
pub(crate) fn is_there(program: &Path) -> bool {
    kernel_has_filters() && is_linked(program).unwrap_or(false)
}

/// EFAULT: it wanted to read the filter (`seccomp(2)`). EINVAL: it knows of none.
fn kernel_has_filters() -> bool {
    // SAFETY: a null pointer for a filter is refused, and nothing is changed.
    let result = unsafe {
        let none: *const libc::c_void = std::ptr::null();
        libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, none)
    };
    result == -1 && std::io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT)
}

/// Whether a 64-bit little-endian ELF file needs libseccomp. `None` for any other file.
fn is_linked(program: &Path) -> Option<bool> {
    let mut file = File::open(program).ok()?;
    let header = bytes(&mut file, 0, 64)?;
    if header.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let (table, size) = (word(&header, 32)?, half(&header, 54)?);
    let segments: Vec<Vec<u8>> = (0..half(&header, 56)?)
        .map(|number| bytes(&mut file, table + number * size, 56))
        .collect::<Option<_>>()?;
    let of_kind =
        |kind: u32| segments.iter().filter(move |s| s.get(..4) == Some(&kind.to_le_bytes()));
    let dynamic = of_kind(PT_DYNAMIC).next()?;
    let dynamic = bytes(&mut file, word(dynamic, 8)?, word(dynamic, 32)?)?;
    let entries = || dynamic.chunks_exact(16).filter_map(|e| Some((word(e, 0)?, word(e, 8)?)));
    let strings = entries().find(|(tag, _)| *tag == DT_STRTAB)?.1;
    // An address; the file has it where a segment is loaded from.
    let strings = of_kind(PT_LOAD).find_map(|segment| {
        let inside = strings.checked_sub(word(segment, 16)?)?;
        (inside < word(segment, 32)?).then_some(word(segment, 8)?.checked_add(inside)?)
    })?;
    let needed: Vec<u64> =
        entries().filter(|(tag, _)| *tag == DT_NEEDED).map(|(_, name)| name).collect();
    Some(needed.into_iter().any(|name| {
        let at = strings.saturating_add(name);
        bytes(&mut file, at, LIBRARY.len() as u64).is_some_and(|name| name == LIBRARY)
    }))
}

fn bytes(file: &mut File, at: u64, length: u64) -> Option<Vec<u8>> {
    if length > LIMIT {
        return None;
    }
    let mut bytes = vec![0; usize::try_from(length).ok()?];
    file.seek(SeekFrom::Start(at)).ok()?;
    file.read_exact(&mut bytes).ok()?;
    Some(bytes)
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?).into())
}

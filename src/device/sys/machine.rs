//! The architecture of the system that a [`Host`] shows. A tree of another machine is judged by the
//! rules of that machine, whatever this program was built for.

use std::env::consts::ARCH;
use std::path::Path;

use crate::device::sys::host::Host;

/// 64-bit ARM, as `uname -m` names it.
pub const AARCH64: &str = "aarch64";
/// 64-bit x86, as `uname -m` names it.
pub const X86_64: &str = "x86_64";

/// What `uname -m` says, in a file (Linux 6.1).
pub(crate) const UNAME: &str = "proc/sys/kernel/arch";

/// What only one architecture has: in this directory a name that begins so.
const SIGNS: &[(&str, &str, &str)] = &[
    ("sys/class/iommu", "smmu", AARCH64),
    ("sys/class/iommu", "dmar", X86_64),
    ("sys/class/iommu", "ivhd", X86_64),
    ("sys/devices/system/cpu/cpu0/regs/identification", "midr_el1", AARCH64),
    ("sys/firmware/devicetree/base", "", AARCH64),
];

/// Programs that every system has one of.
const PROGRAMS: &[&str] = &["sbin/init", "system/bin/init", "init", "bin/sh", "usr/bin/env"];

/// The architecture, as `uname -m` names it: on the running system this program's own; of another
/// tree what its kernel says, what only one architecture has, or what its programs are built for.
pub fn of(host: &Host) -> String {
    if host.is_running_system() {
        return ARCH.to_owned();
    }
    if let Ok(name) = host.read(UNAME) {
        return name;
    }
    let shown = SIGNS.iter().find(|(directory, prefix, _)| {
        let names = host.list(directory).unwrap_or_default();
        names.iter().any(|name| name.starts_with(prefix))
    });
    let sign = shown.map(|(_, _, machine)| *machine);
    let named = sign.or_else(|| by_processor(host)).or_else(|| by_programs(host));
    named.unwrap_or(ARCH).to_owned()
}

/// Whether it is a 64-bit ARM system.
pub(crate) fn is_arm(host: &Host) -> bool {
    of(host) == AARCH64
}

fn by_processor(host: &Host) -> Option<&'static str> {
    let mut found = None;
    host.each_line("proc/cpuinfo", &mut |line| {
        let sign = [("CPU implementer", AARCH64), ("vendor_id", X86_64)];
        let sign = sign.iter().find(|(name, _)| line.starts_with(name));
        found = found.or(sign.map(|(_, machine)| *machine));
    });
    found
}

/// `e_machine` of the ELF header (`include/uapi/linux/elf-em.h`).
fn by_programs(host: &Host) -> Option<&'static str> {
    const EM_X86_64: u16 = 62;
    const EM_AARCH64: u16 = 183;
    let root = host.path("").canonicalize().ok()?;
    PROGRAMS.iter().find_map(|program| {
        // A link of that system may lead out of the tree.
        let real = host.path(program).canonicalize().ok()?;
        let inside = real.strip_prefix(&root).ok().and_then(Path::to_str)?;
        let header = host.bytes(inside, 20)?;
        let [0x7f, b'E', b'L', b'F', ..] = header[..] else { return None };
        match u16::from_le_bytes(*header.get(18..)?.first_chunk()?) {
            EM_X86_64 => Some(X86_64),
            EM_AARCH64 => Some(AARCH64),
            _ => None,
        }
    })
}

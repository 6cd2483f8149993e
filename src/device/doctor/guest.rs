//! What a guest needs of the host: memory, processors, QEMU.

use std::path::Path;

use super::{Check, system};
use crate::device::guest::cpu::{self, CoreType};
use crate::device::guest::file::Size;
use crate::device::guest::memory::{MARGIN, TRANSPARENT, meminfo};
use crate::device::guest::qemu::{self, probe};
use crate::device::sys::cpu_list;
use crate::device::sys::host::Host;
use crate::device::sys::machine;

/// Less free memory than this is too little for any guest, in bytes.
const LITTLE_MEMORY: u64 = MARGIN + 128 * Size::MIB;

/// Where a Debian may be on a phone, which has no QEMU of its own.
const CHROOTS: &[&str] = &["data/debian", "data/local/debian"];

pub(super) fn checks(host: &Host) -> Vec<Check> {
    vec![memory(host), hugepages(host), memlock(host), processors(host), qemu(host)]
}

fn memory(host: &Host) -> Check {
    let numbers =
        meminfo(host, "MemTotal").and_then(|total| Ok((total, meminfo(host, "MemAvailable")?)));
    let (total, available) = match numbers {
        Ok(numbers) => numbers,
        Err(error) => return Check::warning("memory", "memory", error.to_string()),
    };
    let found = format!(
        "{} of {} MiB available; all of a guest's memory is pinned",
        available / Size::MIB,
        total / Size::MIB
    );
    match available < LITTLE_MEMORY {
        true => Check::warning("memory", "memory", found)
            .fix("stop programs that use memory, or give the guest less"),
        false => Check::ok("memory", "memory", found),
    }
}

fn hugepages(host: &Host) -> Check {
    let free = meminfo(host, "HugePages_Free").ok();
    let size = meminfo(host, "Hugepagesize").unwrap_or_default() / 1024;
    let transparent = host.setting(TRANSPARENT).ok();
    let reserved = match free {
        Some(free) => format!("{free} reserved and free, of {size} KiB"),
        None => "none can be reserved (CONFIG_HUGETLBFS)".to_owned(),
    };
    match (free, transparent.as_deref()) {
        (None | Some(0), None | Some("never")) => Check::warning(
            "hugepages",
            "huge pages",
            format!("{reserved}, and no transparent ones: guest memory will be in small pages"),
        )
        .fix("write madvise to /sys/kernel/mm/transparent_hugepage/enabled, where it exists"),
        (_, transparent) => {
            let transparent = transparent.unwrap_or("not in this kernel");
            Check::ok("hugepages", "huge pages", format!("{reserved}; transparent: {transparent}"))
        }
    }
}

fn memlock(host: &Host) -> Check {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Memlock);
    let text = |limit: Option<u64>| {
        limit.map_or("no limit".to_owned(), |bytes| format!("{} KiB", bytes >> 10))
    };
    let found = format!("{}, at most {}", text(limit.current), text(limit.maximum));
    match (limit.current, limit.maximum) {
        (None, _) | (_, None) => Check::ok("memlock", "locked memory", found),
        _ if system::can(host, system::CAP_SYS_RESOURCE) => {
            Check::ok("memlock", "locked memory", format!("{found}; vfiorun run raises it"))
        }
        _ => Check::warning(
            "memlock",
            "locked memory",
            format!("{found}: too little to pin a guest's memory"),
        )
        .fix("run it as root, and vfiorun run raises it"),
    }
}

/// A guest must stay on processors of one kind.
fn processors(host: &Host) -> Check {
    let kinds = match cpu::core_types(host) {
        Ok(kinds) => kinds,
        Err(error) => return Check::warning("cpus", "processors", error.to_string()),
    };
    let count: usize = kinds.iter().map(|kind| kind.cpus.len()).sum();
    let found = match kinds.as_slice() {
        [] | [_] => format!("{count}, all of one kind"),
        kinds => {
            let text = |of: &CoreType| format!("{}: {of}", cpu_list::format(&of.cpus));
            format!(
                "{count} of {} kinds ({}); a guest is kept on one of them",
                kinds.len(),
                kinds.iter().map(text).collect::<Vec<_>>().join("; ")
            )
        }
    };
    Check::ok("cpus", "processors", found)
}

fn qemu(host: &Host) -> Check {
    let check = |status: fn(&'static str, &'static str, String) -> Check, found| {
        status("qemu", "QEMU", found)
    };
    let name = format!("qemu-system-{}", machine::of(host));
    let path = std::env::var("PATH").ok();
    let outside =
        qemu::in_root(&host.path(""), &name, path.as_deref()).map(|program| ("", program));
    let inside = || {
        let found = |chroot: &&'static str| qemu::in_root(&host.path(chroot), &name, None);
        CHROOTS.iter().find_map(|chroot| Some((*chroot, found(chroot)?)))
    };
    let Some((chroot, program)) = outside.or_else(inside) else {
        let android = if host.exists("system/build.prop") {
            "; Termux's QEMU has no KVM, a Debian chroot's has"
        } else {
            ""
        };
        return check(Check::problem, format!("{name} is not on the PATH{android}"))
            .fix("install it (Debian: qemu-system-arm or qemu-system-x86), or name it in the guest file: qemu = \"/path\"");
    };
    let (shown, root) = match chroot {
        "" => (program.clone(), host.path("")),
        _ => (format!("{program} in the chroot /{chroot}"), host.path(chroot)),
    };
    let asked = match (chroot, root == Path::new("/")) {
        // Another tree than the running system: its programs are examined from outside.
        ("", false) => {
            probe::abilities(&host.path(program.trim_start_matches('/')).to_string_lossy(), None)
        }
        _ => probe::abilities(&program, Some(&root)),
    };
    let Some(has) = asked else {
        let fix = match chroot {
            "" => {
                "start it by hand to see why: a program of another system needs its own libraries, and with chroot in the guest file it finds them"
            }
            _ => {
                "chroot into it and start QEMU by hand to see why; as another user than root that is not possible"
            }
        };
        return check(Check::warning, format!("{shown} exists but does not run here")).fix(fix);
    };
    match has.missing(true) {
        None => check(Check::ok, format!("{shown}, with kvm and vfio-pci")),
        Some(lacks) => {
            check(Check::problem, format!("{shown} was built without {lacks}")).fix(probe::FIX)
        }
    }
}

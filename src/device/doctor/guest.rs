//! What a guest needs of the host: memory, processors, QEMU.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{ARCH, Check};
use crate::device::host::Host;

/// Less free memory than this is not enough for any guest worth the name, in KiB.
const LITTLE_MEMORY: u64 = 256 << 10;

/// Where a QEMU may be when it is not on the PATH: Android has none, a chroot may.
const QEMU_PLACES: [&str; 4] =
    ["usr/bin", "usr/local/bin", "data/debian/usr/bin", "data/local/debian/usr/bin"];

pub(super) fn checks(host: &Host) -> Vec<Check> {
    vec![memory(host), hugepages(host), memlock(), processors(host), qemu(host)]
}

/// A value of /proc/meminfo, in its unit (KiB, or pages).
fn meminfo(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    value.split_whitespace().next()?.parse().ok()
}

fn memory(host: &Host) -> Check {
    let text = match host.read("proc/meminfo") {
        Ok(text) => text,
        Err(error) => return Check::warning("memory", "memory", error.to_string()),
    };
    let (total, available) = (meminfo(&text, "MemTotal"), meminfo(&text, "MemAvailable"));
    let (Some(total), Some(available)) = (total, available) else {
        return Check::warning("memory", "memory", "/proc/meminfo does not tell");
    };
    let found = format!(
        "{} of {} MiB available; a guest's memory is pinned whole",
        available >> 10,
        total >> 10
    );
    match available < LITTLE_MEMORY {
        true => Check::warning("memory", "memory", found)
            .fix("stop what needs memory, or give the guest less"),
        false => Check::ok("memory", "memory", found),
    }
}

fn hugepages(host: &Host) -> Check {
    let text = host.read("proc/meminfo").unwrap_or_default();
    let check = |found: String| Check::ok("hugepages", "huge pages", found);
    let free = meminfo(&text, "HugePages_Free");
    let size = meminfo(&text, "Hugepagesize").unwrap_or_default();
    let thp = host.read("sys/kernel/mm/transparent_hugepage/enabled").ok();
    let transparent = thp.as_deref().and_then(|text| text.split(['[', ']']).nth(1));
    let reserved = match free {
        Some(free) => format!("{free} reserved and free, of {size} KiB"),
        None => "none can be reserved (CONFIG_HUGETLBFS)".to_owned(),
    };
    match (free, transparent) {
        (None | Some(0), None | Some("never")) => Check::warning(
            "hugepages",
            "huge pages",
            format!("{reserved}, and no transparent ones: guest memory will be in small pages"),
        )
        .fix("write madvise to /sys/kernel/mm/transparent_hugepage/enabled, where it is there"),
        (_, transparent) => check(format!(
            "{reserved}; transparent: {}",
            transparent.unwrap_or("not in this kernel")
        )),
    }
}

fn memlock() -> Check {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Memlock);
    let text = |limit: Option<u64>| {
        limit.map_or("no limit".to_owned(), |bytes| format!("{} KiB", bytes >> 10))
    };
    let found = format!("{}, at most {}", text(limit.current), text(limit.maximum));
    match (limit.current, limit.maximum) {
        (None, _) | (_, None) => Check::ok("memlock", "locked memory", found),
        _ => Check::warning(
            "memlock",
            "locked memory",
            format!("{found}: too little to pin a guest's memory"),
        )
        .fix("vfiorun run raises it as root"),
    }
}

/// Processors of one kind have one MIDR; a guest must stay on one kind.
fn processors(host: &Host) -> Check {
    let base = "sys/devices/system/cpu";
    let is_processor = |name: &String| {
        name.strip_prefix("cpu")
            .is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
    };
    let names: Vec<String> =
        host.list(base).unwrap_or_default().into_iter().filter(is_processor).collect();
    let mut kinds: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for name in &names {
        let midr = host.read(&format!("{base}/{name}/regs/identification/midr_el1"));
        kinds.entry(midr.unwrap_or_default()).or_default().push(&name["cpu".len()..]);
    }
    let found = match kinds.len() {
        0 | 1 => format!("{}, all of one kind", names.len()),
        count => {
            let clusters: Vec<String> =
                kinds.iter().map(|(midr, cpus)| format!("{midr}: {}", cpus.join(","))).collect();
            format!(
                "{} of {count} kinds ({}); a guest is kept on one of them",
                names.len(),
                clusters.join("; ")
            )
        }
    };
    Check::ok("cpus", "processors", found)
}

fn qemu(host: &Host) -> Check {
    let name = format!("qemu-system-{ARCH}");
    let Some(program) = find(host, &name) else {
        let android = if host.exists("system/build.prop") {
            "; Termux's QEMU has no KVM, a Debian chroot's has"
        } else {
            ""
        };
        return Check::problem("qemu", "QEMU", format!("{name} is not on the PATH{android}"))
            .fix("install it (Debian: qemu-system-arm or qemu-system-x86), or name it in the guest file: qemu = \"/path\"");
    };
    let shown = program.display();
    let (accelerators, devices) = (ask(&program, "-accel"), ask(&program, "-device"));
    let (Some(accelerators), Some(devices)) = (accelerators, devices) else {
        return Check::warning("qemu", "QEMU", format!("{shown} is there but does not run here"))
            .fix("inside of a chroot it runs with its own libraries: name the chroot in the guest file");
    };
    let has_kvm = accelerators.lines().any(|line| line.trim() == "kvm");
    match (has_kvm, devices.contains("\"vfio-pci\"")) {
        (true, true) => Check::ok("qemu", "QEMU", format!("{shown}, with kvm and vfio-pci")),
        (false, _) => Check::problem("qemu", "QEMU", format!("{shown} was built without KVM"))
            .fix("take a QEMU that has it: Debian's, not Termux's"),
        (true, false) => {
            Check::problem("qemu", "QEMU", format!("{shown} was built without vfio-pci"))
                .fix("take a QEMU that has it, as Debian's has")
        }
    }
}

fn find(host: &Host, name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path =
        std::env::split_paths(&path).map(|dir| host.path(dir.strip_prefix("/").unwrap_or(&dir)));
    let elsewhere = QEMU_PLACES.iter().map(|place| host.path(place));
    on_path.chain(elsewhere).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// What the program lists for `OPTION help`.
fn ask(program: &Path, option: &str) -> Option<String> {
    let mut command = Command::new(program);
    command.args([option, "help"]).stdin(Stdio::null()).stderr(Stdio::null());
    let output = command.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

//! Takes out of texts what belongs to a person or to one machine alone.

use crate::cmdline::Cmdline;

/// Parameters of the kernel command line that tell nothing about anybody: the whole name, or its
/// beginning when it ends in a full stop or a hyphen.
const PLAIN: &[&str] = &[
    "amd_iommu",
    "arm-smmu-",
    "arm-smmu.",
    "cma",
    "console",
    "default_hugepagesz",
    "disable_bypass",
    "efi",
    "hugepages",
    "hugepagesz",
    "initcall_blacklist",
    "intel_iommu",
    "intremap",
    "iommu",
    "iommu.",
    "irqchip.",
    "isolcpus",
    "kvm-arm.",
    "kvm-amd.",
    "kvm-intel.",
    "kvm.",
    "lockdown",
    "maxcpus",
    "mem",
    "modprobe.",
    "module_blacklist",
    "nomodeset",
    "pci",
    "pcie-aspm",
    "pcie-port-pm",
    "quiet",
    "rdinit",
    "swiotlb",
    "vfio-",
    "vfio.",
    "vfioboot.",
    "video",
];

/// What a value is replaced by.
const LEFT_OUT: &str = "left-out";

/// The command line, and the names of the parameters whose values are left out. What follows `--`
/// goes to init and is left out whole.
pub(super) fn command_line(line: String) -> (String, Vec<String>) {
    let line = Cmdline::new(line);
    let (mut kept, mut left_out): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    for parameter in line.parameters() {
        let name = String::from_utf8_lossy(parameter.name).into_owned();
        let dashed = name.replace('_', "-");
        let plain = PLAIN.iter().any(|known| {
            let known = known.replace('_', "-");
            match known.ends_with(['.', '-']) {
                true => dashed.starts_with(&known),
                false => dashed == known,
            }
        });
        match parameter.value {
            None => kept.push(name),
            Some(_) if plain => kept.push(String::from_utf8_lossy(parameter.raw).into_owned()),
            Some(_) => {
                kept.push(format!("{name}={LEFT_OUT}"));
                left_out.push(name);
            }
        }
    }
    left_out.sort_unstable();
    left_out.dedup();
    (kept.join(" "), left_out)
}

/// A line of `/proc/interrupts` without its columns of counts.
pub(super) fn interrupt(line: &str) -> Option<String> {
    let (number, rest) = line.split_once(':')?;
    let number: u32 = number.trim().parse().ok()?;
    let is_count = |word: &&str| word.bytes().all(|byte| byte.is_ascii_digit());
    let words: Vec<&str> = rest.split_whitespace().skip_while(is_count).collect();
    Some(format!("{number}: 0 {}", words.join(" ")))
}

/// What a processor is, and not which one.
pub(super) fn processor(line: &str) -> Option<String> {
    const KEPT: &[&str] = &[
        "processor",
        "vendor_id",
        "cpu family",
        "model",
        "model name",
        "stepping",
        "CPU implementer",
        "CPU architecture",
        "CPU variant",
        "CPU part",
        "CPU revision",
    ];
    let (name, value) = line.split_once(':')?;
    // The model of a board, which some kernels show under the same name, is not a number.
    let number = value.trim().bytes().all(|byte| byte.is_ascii_digit());
    let kept = KEPT.contains(&name.trim()) && (name.trim() != "model" || number);
    kept.then(|| line.to_owned())
}

/// Where the kernel lies in memory is nobody's business.
pub(super) fn memory(line: &str) -> Option<String> {
    (!line.contains("Kernel ")).then(|| line.to_owned())
}

/// A mount (`proc_pid_mountinfo(5)`): of which disk, and whether it is the root.
pub(super) fn mount(line: &str) -> Option<String> {
    let (own, filesystem) = line.split_once(" - ")?;
    let own: Vec<&str> = own.split(' ').collect();
    let [id, parent, device, _, place, ..] = own[..] else { return None };
    let mut filesystem = filesystem.split(' ');
    let (kind, source) = (filesystem.next()?, filesystem.next()?);
    let source = block(source).unwrap_or("none");
    if source == "none" && device.starts_with("0:") && kind != "btrfs" {
        return None;
    }
    let place = if place == "/" { "/" } else { "/left-out" };
    Some(format!("{id} {parent} {device} / {place} rw - {kind} {source} rw"))
}

/// A disk that is swapped to (`/proc/swaps`).
pub(super) fn swap(line: &str) -> Option<String> {
    let header = line.starts_with("Filename");
    (header || block(line.split_whitespace().next()?).is_some()).then(|| line.to_owned())
}

/// A block device by the kernel's name, and not by one that somebody gave it.
fn block(source: &str) -> Option<&str> {
    let name = source.strip_prefix("/dev/")?;
    (!name.contains('/')).then_some(source)
}

/// A line of the kernel log about what the examination is about.
pub(super) fn message(text: &str) -> Option<String> {
    const ABOUT: &[&str] = &[
        "vfio",
        "VFIO",
        "iommu",
        "IOMMU",
        "DMAR",
        "AMD-Vi",
        "smmu",
        "SMMU",
        "kvm",
        "KVM",
        "GIC",
        "ITS",
        "Hyp mode",
        "HYP mode",
        "VHE mode",
        "D3cold",
        "can't reserve",
        "after FLR",
        "after bus reset",
        "vfioboot: ",
    ];
    let wanted = ABOUT.iter().any(|word| text.contains(word));
    (wanted && !text.contains("ommand line")).then(|| text.to_owned())
}

/// The text with the addresses of network cards taken out: `52:54:00:12:34:56`, and the names of
/// interfaces that are made of them (`enx525400123456`).
pub(super) fn text(text: &str) -> String {
    const PAIRS: usize = 6;
    const NAMES: &[&str] = &["enx", "wlx", "wwx"];
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let before = out.bytes().last();
        let inside = before.is_some_and(|byte| byte.is_ascii_hexdigit() || byte == b':');
        if !inside && is_address(rest, PAIRS) {
            out.push_str("00:00:00:00:00:00");
            rest = &rest[PAIRS * 3 - 1..];
        } else if let Some(name) = NAMES.iter().find(|name| is_name(rest, name)) {
            out.push_str(name);
            out.push_str("000000000000");
            rest = &rest[name.len() + PAIRS * 2..];
        } else {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    out
}

fn is_address(text: &str, pairs: usize) -> bool {
    let bytes = text.as_bytes();
    let separator = bytes.get(2).copied().unwrap_or_default();
    let place = |at: usize| match at % 3 {
        2 => bytes[at] == separator,
        _ => bytes[at].is_ascii_hexdigit(),
    };
    let length = pairs * 3 - 1;
    [b':', b'-'].contains(&separator)
        && bytes.len() >= length
        && (0..length).all(place)
        && bytes.get(length).is_none_or(|next| !next.is_ascii_hexdigit() && *next != separator)
}

fn is_name(text: &str, prefix: &str) -> bool {
    let hex = text.strip_prefix(prefix).and_then(|rest| rest.as_bytes().get(..12));
    hex.is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
}

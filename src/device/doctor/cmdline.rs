//! What the kernel command line says about passthrough.

use super::{ARCH, Check};
use crate::bootfile::{self, DISABLE_WORD, RUNTIME};
use crate::cmdline::{Cmdline, Parameter};

/// A word that matters.
struct Word {
    name: &'static str,
    /// With this value; None: whatever the value.
    value: Option<&'static str>,
    /// Empty: for every architecture.
    arch: &'static str,
    warns: bool,
    means: &'static str,
}

const fn note(name: &'static str, value: Option<&'static str>, means: &'static str) -> Word {
    Word { name, value, arch: "", warns: false, means }
}

const fn warn(name: &'static str, value: Option<&'static str>, means: &'static str) -> Word {
    Word { name, value, arch: "", warns: true, means }
}

const WORDS: &[Word] = &[
    note("rdinit", Some(RUNTIME), "vfiorun ran as PID 1"),
    warn(
        "iommu.passthrough",
        Some("1"),
        "enables nothing and takes isolation away from every device of the host",
    ),
    note("iommu.passthrough", Some("0"), "the host's own devices are isolated as well"),
    warn(
        "vfio_iommu_type1.allow_unsafe_interrupts",
        Some("1"),
        "a guest can raise any interrupt of the host",
    ),
    note("vfio-pci.ids", None, "taken by vfio-pci where it is built in"),
    Word { arch: "aarch64", ..warn("intel_iommu", None, "is for x86 and has no effect here") },
    Word { arch: "aarch64", ..warn("amd_iommu", None, "is for x86 and has no effect here") },
    note("iommu.strict", None, "when mappings of the host's own devices are taken away"),
    note("default_hugepagesz", None, "the size of reserved huge pages"),
];

pub(super) fn checks(line: &Cmdline<String>) -> Vec<Check> {
    let matching = |word: &Word| {
        let same = |given: &Parameter<'_>| {
            let value = given.value.unwrap_or_default();
            given.is(word.name) && word.value.is_none_or(|wanted| wanted.as_bytes() == value)
        };
        let given = line.parameters().filter(same).last()?;
        let here = word.arch.is_empty() || word.arch == ARCH;
        here.then(|| (word.warns, format!("{given}: {}", word.means)))
    };
    let disabled = bootfile::is_disabled(line)
        .then(|| (true, format!("{DISABLE_WORD}: PID 1 left the devices alone in this boot")));
    let found: Vec<(bool, String)> =
        disabled.into_iter().chain(WORDS.iter().filter_map(matching)).collect();
    if found.is_empty() {
        return vec![Check::ok("cmdline", "command line", "nothing that concerns passthrough")];
    }
    let check = |(warns, text): (bool, String)| match warns {
        true => Check::warning("cmdline", "command line", text),
        false => Check::ok("cmdline", "command line", text),
    };
    found.into_iter().map(check).collect()
}

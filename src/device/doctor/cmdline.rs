//! What the kernel command line says about passthrough: what the profile notes about its
//! parameters, and a few that only matter on a running system.

use super::Check;
use crate::bootfile::{self, DISABLE_PARAMETER, RUNTIME};
use crate::cmdline::{Cmdline, Parameter};
use crate::rules::Note;

/// A parameter that is worth showing where no note is about it.
struct Remark {
    name: &'static str,
    /// With this value; None: whatever the value.
    value: Option<&'static str>,
    text: &'static str,
}

const REMARKS: &[Remark] = &[
    Remark { name: "rdinit", value: Some(RUNTIME), text: "vfiorun ran as PID 1" },
    Remark {
        name: "iommu.passthrough",
        value: Some("0"),
        text: "the host's own devices are isolated as well",
    },
    Remark { name: "vfio-pci.ids", value: None, text: "taken by vfio-pci where it is built in" },
    Remark {
        name: "iommu.strict",
        value: None,
        text: "when mappings of the host's own devices are taken away",
    },
    Remark { name: "default_hugepagesz", value: None, text: "the size of reserved huge pages" },
];

/// `notes` are those of the profile that are for the running kernel.
pub(super) fn checks(line: &Cmdline<String>, notes: &[&Note]) -> Vec<Check> {
    let mut checks = Vec::new();
    if bootfile::is_disabled(line) {
        let text = format!("{DISABLE_PARAMETER}: PID 1 left the devices alone in this boot");
        checks.push(Check::warning(ID, TITLE, text));
    }
    let mut noted = Vec::new();
    for note in notes {
        let Some(given) = note.parameter.as_ref().and_then(|name| line.effective(name)) else {
            continue;
        };
        if note.is_about(&String::from_utf8_lossy(value(&given))) {
            let check = if note.warn { Check::warning } else { Check::ok };
            checks.push(check(ID, TITLE, format!("{given}: {}", note.text)));
            noted.push(given.name);
        }
    }
    for remark in REMARKS {
        let Some(given) = line.effective(remark.name) else { continue };
        let applies = remark.value.is_none_or(|wanted| wanted.as_bytes() == value(&given));
        if applies && !noted.contains(&given.name) {
            checks.push(Check::ok(ID, TITLE, format!("{given}: {}", remark.text)));
        }
    }
    if checks.is_empty() {
        checks.push(Check::ok(ID, TITLE, "nothing that concerns passthrough"));
    }
    checks
}

const ID: &str = "cmdline";
const TITLE: &str = "command line";

fn value<'l>(parameter: &Parameter<'l>) -> &'l [u8] {
    parameter.value.unwrap_or_default()
}

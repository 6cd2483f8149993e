//! Whether a device that a guest has is still well: there, answering, without errors of its link.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::device::bus::pci::{self, PciAddress};
use crate::device::sys::host::Host;

/// How often the kernel has counted errors of a device since it is on its bus
/// (`Documentation/ABI/testing/sysfs-bus-pci-devices-aer_stats`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Errors {
    /// What the hardware has repaired by itself.
    pub correctable: u64,
    /// What was lost while the link went on.
    pub nonfatal: u64,
    /// What cost the link.
    pub fatal: u64,
}

impl Errors {
    /// Of this device. `None` where the kernel does not count them.
    pub fn of(host: &Host, address: PciAddress) -> Option<Self> {
        let total = |name: &str| -> Option<u64> {
            let text = host.read(&pci::attribute(address, &format!("aer_dev_{name}"))).ok()?;
            let line = text.lines().find(|line| line.starts_with("TOTAL_ERR"))?;
            line.split_whitespace().last()?.parse().ok()
        };
        let (correctable, nonfatal) = (total("correctable")?, total("nonfatal")?);
        Some(Self { correctable, nonfatal, fatal: total("fatal")? })
    }

    /// Those that came after others were counted. A device that was gone begins at 0 again.
    fn since(self, before: Self) -> Self {
        let less = |now: u64, before: u64| now.checked_sub(before).unwrap_or(now);
        Self {
            correctable: less(self.correctable, before.correctable),
            nonfatal: less(self.nonfatal, before.nonfatal),
            fatal: less(self.fatal, before.fatal),
        }
    }
}

/// How a device is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Whether it is on its bus.
    pub present: bool,
    /// Whether its config space answers.
    pub answers: bool,
    /// Its errors since it was looked at first.
    pub errors: Option<Errors>,
}

impl Health {
    /// How it is, with the errors that came after `before`.
    pub fn of(host: &Host, address: PciAddress, before: Option<Errors>) -> Self {
        let errors = Errors::of(host, address).map(|now| now.since(before.unwrap_or_default()));
        let present = pci::exists(host, address);
        Self { present, answers: present && dead(host, address).is_none(), errors }
    }
}

impl fmt::Display for Health {
    /// What is wrong with it, in brackets; nothing when nothing is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.present {
            return f.write_str(" (gone)");
        }
        if !self.answers {
            return f.write_str(" (does not answer)");
        }
        let Errors { correctable, nonfatal, fatal } = self.errors.unwrap_or_default();
        let kinds = [(fatal, "fatal"), (nonfatal, "non-fatal"), (correctable, "correctable")];
        let kinds = kinds.iter().filter(|(number, _)| *number > 0);
        let text: Vec<String> = kinds.map(|(number, kind)| format!("{number} {kind}")).collect();
        match text.is_empty() {
            true => Ok(()),
            false => write!(f, " (PCIe errors: {})", text.join(", ")),
        }
    }
}

/// What shows that a device does not answer any more. One that sleeps is not woken up to see.
pub(crate) fn dead(host: &Host, address: PciAddress) -> Option<String> {
    let asleep = host.read(&pci::attribute(address, "power/runtime_status"));
    if asleep.is_ok_and(|status| status == "suspended") {
        return None;
    }
    let space = host.bytes(&pci::attribute(address, "config"), 64)?;
    let dead = space.len() >= 4 && space.iter().all(|byte| *byte == 0xff);
    let state = host.read(&pci::attribute(address, "power_state")).ok();
    let state = state.map(|state| format!(", power state {state}")).unwrap_or_default();
    dead.then(|| format!("every byte of it is ff{state}"))
}

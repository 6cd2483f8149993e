//! Whether a device can raise only its own interrupts. VFIO asks for that (`vfio_iommu_type1_attach_group`,
//! `msi_device_has_isolated_msi` of `kernel/irq/msi.c`): since Linux 6.3 of the MSI domain of each
//! device, before of every MSI domain of the system. What a domain is called is told by the chip of
//! an interrupt in it.

use core::fmt;

use crate::device::bus::board::Board;
use crate::device::bus::pci::{self, PciAddress};
use crate::device::sys::host::Host;
use crate::device::sys::kernel_log::Message;
use crate::device::sys::machine;
use crate::rules::KernelVersion;

/// The names of chips whose interrupts cannot be raised by others begin so: a GICv3 or GICv5 ITS,
/// and interrupt remapping of x86.
const ISOLATED: &[&str] = &["ITS-", "IR-"];

/// From this release on each device counts for itself, and one without MSIs counts as not isolated.
const BY_DEVICE: KernelVersion = KernelVersion { major: 6, minor: 3, patch: 0 };

/// Whether the interrupts of a device are isolated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// By this.
    Isolated(String),
    /// They are not: they end here.
    Shared(String),
    /// Nothing says so.
    Unknown,
}

/// Where interrupts end on a system.
#[derive(Clone, Debug)]
pub(crate) struct Interrupts {
    /// Chips of MSIs of PCI devices, by the number of the interrupt.
    msis: Vec<(u32, String)>,
    /// The interrupt controller of the processors, as far as it is known.
    controller: Option<Controller>,
    /// The kernel log speaks of an ITS.
    its: bool,
    by_device: bool,
    arm: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Controller {
    GicV2,
    GicV3,
    /// x86, without interrupt remapping.
    IoApic,
    /// x86, with interrupt remapping.
    Remapped,
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GicV2 => "GICv2",
            Self::GicV3 => "GICv3 without an ITS",
            Self::IoApic => "IO-APIC without interrupt remapping",
            Self::Remapped => "interrupt remapping",
        })
    }
}

impl Interrupts {
    /// Reads `/proc/interrupts`, all of it.
    pub(crate) fn read(host: &Host, log: Option<&[Message]>) -> Self {
        let logged = |words: &[&str]| {
            let says = |message: &Message| words.iter().any(|word| message.text.contains(word));
            log.is_some_and(|log| log.iter().any(says))
        };
        let (mut msis, mut controller) = (Vec::new(), None);
        host.each_line("proc/interrupts", &mut |line| {
            let Some((number, chip)) = chip(line) else { return };
            if is_pci_msi(&chip) {
                msis.push((number, chip));
            } else if controller != Some(Controller::Remapped) {
                controller = Controller::named(&chip).or(controller);
            }
        });
        if controller.is_none() && logged(&["GICv2m"]) {
            controller = Some(Controller::GicV2);
        }
        let release = host.read("proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            msis,
            controller,
            its: logged(&["ITS@", "ITS ["]),
            by_device: KernelVersion::parse(&release).is_none_or(|release| release >= BY_DEVICE),
            arm: machine::is_arm(host),
        }
    }

    /// Of one device: by its own interrupts, by the device tree, or by those of all others.
    pub(crate) fn of(&self, host: &Host, board: Option<&Board>, address: PciAddress) -> Isolation {
        let own = self.own(host, address);
        if let Some(chip) = own.iter().find(|chip| !is_isolated(chip)).or(own.first()) {
            return judged(chip);
        }
        match board.and_then(|board| board.msi_controller(host, address)) {
            Some((name, true)) => Isolation::Isolated(name),
            Some((name, false)) => Isolation::Shared(name),
            None => self.system(),
        }
    }

    /// As far as it is the same for all devices.
    pub(crate) fn system(&self) -> Isolation {
        let first = self.msis.first().map(|(_, chip)| chip);
        let odd = self.msis.iter().map(|(_, chip)| chip).find(|chip| !is_isolated(chip));
        let alike = first.map(|chip| is_isolated(chip)) == Some(odd.is_none());
        match (self.controller, first, odd) {
            // One domain that is not isolated spoils all.
            (_, _, Some(odd)) if alike || !self.by_device => judged(odd),
            (_, _, Some(_)) => Isolation::Unknown,
            (_, Some(first), None) => judged(first),
            (Some(Controller::Remapped), ..) => {
                Isolation::Isolated(Controller::Remapped.to_string())
            }
            (Some(v2 @ (Controller::GicV2 | Controller::IoApic)), ..) => {
                Isolation::Shared(v2.to_string())
            }
            (_, None, None) if self.arm && self.its => Isolation::Isolated("ITS".to_owned()),
            (Some(v3 @ Controller::GicV3), ..) if self.by_device => {
                Isolation::Shared(v3.to_string())
            }
            (Some(Controller::GicV3) | None, ..) => Isolation::Unknown,
        }
    }

    /// The chips of the device's own MSIs.
    fn own(&self, host: &Host, address: PciAddress) -> Vec<String> {
        let numbers = host.list(&pci::attribute(address, "msi_irqs")).unwrap_or_default();
        let chip_of = |number: &String| {
            let of_irq = host.read(&format!("sys/kernel/irq/{number}/chip_name")).ok();
            let number: u32 = number.parse().ok()?;
            let listed = || self.msis.iter().find(|(msi, _)| *msi == number);
            of_irq.or_else(|| listed().map(|(_, chip)| chip.clone()))
        };
        let mut chips: Vec<String> = numbers.iter().filter_map(chip_of).collect();
        // Chips have names of their own for each device since Linux 6.2 (x86) and 6.11 (arm64).
        let own = format!("-{address}");
        chips.extend(
            self.msis.iter().map(|(_, chip)| chip).filter(|chip| chip.ends_with(&own)).cloned(),
        );
        chips
    }
}

impl Controller {
    fn named(chip: &str) -> Option<Self> {
        const NAMES: &[(&str, Controller)] = &[
            ("GICv3", Controller::GicV3),
            ("GICv2", Controller::GicV2),
            ("GIC-", Controller::GicV2),
            ("GIC ", Controller::GicV2),
            ("IR-IO-APIC", Controller::Remapped),
            ("IR-", Controller::Remapped),
            ("IO-APIC", Controller::IoApic),
        ];
        let found = NAMES.iter().find(|(name, _)| chip.starts_with(name));
        found.map(|(_, controller)| *controller).or((chip == "GIC").then_some(Self::GicV2))
    }
}

fn judged(chip: &str) -> Isolation {
    match is_isolated(chip) {
        true => Isolation::Isolated(chip.to_owned()),
        false => Isolation::Shared(chip.to_owned()),
    }
}

fn is_isolated(chip: &str) -> bool {
    ISOLATED.iter().any(|prefix| chip.starts_with(prefix))
}

/// Not those of the IOMMU itself, of timers and of devices on no bus (`DMAR-MSI`, `HPET-MSI`,
/// `ITS-pMSI`).
fn is_pci_msi(chip: &str) -> bool {
    let of_platform = ["DMAR", "HPET", "AMDI", "ITS-pMSI", "ITS-fMSI"];
    chip.contains("MSI") && !of_platform.iter().any(|name| chip.starts_with(name))
}

/// The number of an interrupt and the name of its chip: ` 90:  0  5  ITS-MSI 524288 Edge nvme0q0`.
/// The name ends at the number that the chip gives the interrupt.
fn chip(line: &str) -> Option<(u32, String)> {
    let (number, rest) = line.split_once(':')?;
    let number = number.trim().parse().ok()?;
    let is_count = |word: &&str| word.bytes().all(|byte| byte.is_ascii_digit());
    let words = rest.split_whitespace().skip_while(is_count);
    let name: Vec<&str> =
        words.take_while(|word| !word.starts_with(|c: char| c.is_ascii_digit())).collect();
    (!name.is_empty()).then(|| (number, name.join(" ")))
}

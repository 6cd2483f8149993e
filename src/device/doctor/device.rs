//! Everything about one device: what it is on, what goes with it, what stands in its way, and what a
//! bind would do.

use super::check::{Check, Status};
use crate::bootfile::DeviceSpec;
use crate::device::bind::inventory;
use crate::device::bind::plan::{Move, Options, Plan};
use crate::device::bus::group::{GROUPS, Group};
use crate::device::bus::in_use::{Survey, Weight};
use crate::device::bus::interrupts::Isolation;
use crate::device::bus::pci::{self, PciDevice};
use crate::device::bus::users;
use crate::device::causes::facts::{Fact, Surroundings, reserved};
use crate::device::causes::{self, Outlook, Reason};
use crate::device::sys::host::Host;

/// Examines one device.
pub fn examine(host: &Host, device: &PciDevice) -> Vec<Check> {
    let around = Surroundings::default();
    let it = Examination { host, around: &around, device };
    let mut checks = vec![
        it.driver(),
        it.group(),
        it.reserved_regions(),
        it.interrupts(),
        it.reset(),
        it.power(),
        it.rom(),
        it.in_use(),
    ];
    let Outlook { refused, doubtful } = causes::outlook(host, &around, device);
    for reason in refused {
        judge(&mut checks, &reason, Status::Problem);
    }
    for reason in doubtful {
        judge(&mut checks, &reason, Status::Warning);
    }
    let first = checks.iter().find(|check| check.status == Status::Problem).map(|check| check.id);
    checks.push(it.bind(first));
    checks
}

/// Which check a fact is about.
const ABOUT: &[(Fact, &str)] = &[
    (Fact::NoGroup, "group"),
    (Fact::NoIommuMode, "group"),
    (Fact::DirectRegions, "reserved-regions"),
    (Fact::SharedInterrupts, "interrupts"),
    (Fact::DeadConfig, "power"),
];

/// Adds what the table of causes says to the check that it is about, or as one of its own.
fn judge(checks: &mut Vec<Check>, reason: &Reason, status: Status) {
    let about = ABOUT.iter().find(|(fact, _)| Some(*fact) == reason.fact()).map(|(_, id)| *id);
    let known = checks.iter_mut().find(|check| Some(check.id) == about);
    match known {
        Some(check) => {
            check.status = check.status.max(status);
            check.found = format!("{}; {reason}", check.found);
            check.fix = Some(reason.cause.fix.to_owned());
        }
        None => {
            let check = Check::ok(reason.cause.id, "VFIO", reason.to_string());
            checks.push(Check { status, ..check.fix(reason.cause.fix) });
        }
    }
}

struct Examination<'a> {
    host: &'a Host,
    around: &'a Surroundings,
    device: &'a PciDevice,
}

impl Examination<'_> {
    fn read(&self, attribute: &str) -> Option<String> {
        self.host.read(&pci::attribute(self.device.address, attribute)).ok()
    }

    fn driver(&self) -> Check {
        let driver = self.device.driver.as_deref().unwrap_or("none");
        let only = self.device.driver_override.as_ref();
        let only = only.map(|only| format!(", driver_override {only}")).unwrap_or_default();
        Check::ok("driver", "driver", format!("{driver}{only}"))
    }

    fn group(&self) -> Check {
        let check = |status: fn(&'static str, &'static str, String) -> Check, found| {
            status("group", "IOMMU group", found)
        };
        let Some(number) = self.device.iommu_group else {
            return check(Check::warning, "none".to_owned());
        };
        let group = match Group::read(self.host, number) {
            Ok(group) => group,
            Err(error) => return check(Check::warning, format!("{number}: {error}")),
        };
        let domain = group.domain.as_ref().map(|kind| format!(" ({kind})")).unwrap_or_default();
        let others = group.members.iter().filter(|m| m.address != Some(self.device.address));
        let others: Vec<String> = others.map(ToString::to_string).collect();
        let alone = if others.is_empty() { "alone".to_owned() } else { others.join(", ") };
        let found = format!("{number}{domain}, with it: {alone}");
        match group.blockers(&[self.device.address]).as_slice() {
            [] => check(Check::ok, found),
            mates => {
                let names: Vec<&str> = mates.iter().map(|mate| mate.name.as_str()).collect();
                check(Check::problem, found)
                    .fix(format!("name the others too: {}", names.join(" ")))
            }
        }
    }

    fn reserved_regions(&self) -> Check {
        let check = |status: fn(&'static str, &'static str, String) -> Check, found| {
            status("reserved-regions", "reserved regions", found)
        };
        let number = self.device.iommu_group;
        let path = number.map(|number| format!("{GROUPS}/{number}/reserved_regions"));
        let Some(text) = path.and_then(|path| self.host.read(&path).ok()) else {
            return check(Check::ok, "none are known".to_owned());
        };
        let regions: Vec<String> = reserved(&text)
            .map(|(first, last, kind)| format!("{first:#x}-{last:#x} {kind}"))
            .collect();
        let found = if regions.is_empty() { "none".to_owned() } else { regions.join(", ") };
        check(Check::ok, found)
    }

    fn interrupts(&self) -> Check {
        let irqs = pci::attribute(self.device.address, "msi_irqs");
        let msis = self.host.list(&irqs).unwrap_or_default().len();
        let line = self.read("irq").filter(|line| line != "0");
        let line = line.map(|line| format!("INTx {line}")).unwrap_or("no INTx".to_owned());
        let board = self.around.board(self.host);
        let interrupts = self.around.interrupts(self.host);
        let by = match interrupts.of(self.host, board, self.device.address) {
            Isolation::Isolated(by) => format!("isolated by {by}"),
            Isolation::Shared(by) => format!("in {by}"),
            Isolation::Unknown => "isolation unknown".to_owned(),
        };
        Check::ok("interrupts", "interrupts", format!("{msis} MSIs in use, {line}, {by}"))
    }

    fn reset(&self) -> Check {
        let methods = inventory::reset_methods(self.host, self.device);
        let listed = methods.as_ref().map(|methods| methods.join(", ")).filter(|m| !m.is_empty());
        match inventory::reset_warning(self.host, self.device, methods.as_deref()) {
            Some(warning) => Check::warning("reset", "reset", warning.to_string())
                .fix("between guests, switch the machine off when the device does not come up"),
            None => Check::ok("reset", "reset", listed.unwrap_or("possible".to_owned())),
        }
    }

    fn power(&self) -> Check {
        let known = [
            ("power_state", "state"),
            ("power/runtime_status", "runtime"),
            ("power/control", "control"),
            ("d3cold_allowed", "D3cold allowed"),
        ];
        let shown = known
            .iter()
            .filter_map(|(attribute, name)| Some(format!("{name} {}", self.read(attribute)?)));
        let shown: Vec<String> = shown.collect();
        let found = if shown.is_empty() { "unknown".to_owned() } else { shown.join(", ") };
        Check::ok("power", "power", found)
    }

    /// The seventh resource is the option ROM (`include/linux/pci.h`, `PCI_ROM_RESOURCE`).
    fn rom(&self) -> Check {
        let row = self.read("resource");
        let row = row.as_deref().and_then(|text| text.lines().nth(6));
        let number = |word: &str| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok();
        let mut ends = row.unwrap_or_default().split_whitespace().map(number);
        let size = match (ends.next().flatten(), ends.next().flatten()) {
            (Some(first), Some(last)) if last > first => Some((last - first + 1) >> 10),
            _ => None,
        };
        let file = self.host.exists(&pci::attribute(self.device.address, "rom"));
        let found = match (size, file) {
            (Some(size), _) => format!("{size} KiB"),
            (None, true) => "a copy that the firmware left in memory".to_owned(),
            (None, false) => "none".to_owned(),
        };
        Check::ok("rom", "option ROM", found)
    }

    fn in_use(&self) -> Check {
        let uses = Survey::read(self.host).of(self.host, self.device, &[self.device.address]);
        let refused = uses.iter().any(|used| used.weight() == Weight::Refuse);
        let users = users::of_device(self.host, self.device);
        let mut found: Vec<String> = uses.iter().map(ToString::to_string).collect();
        if !users.is_empty() {
            found.push(format!("open in {}", users::text(&users)));
        }
        let check = |status: fn(&'static str, &'static str, String) -> Check| {
            status("use", "in use", found.join("; "))
        };
        match (found.is_empty(), refused || !users.is_empty()) {
            (true, _) => Check::ok("use", "in use", "no"),
            (false, true) => {
                check(Check::problem).fix("stop what uses it; bind --force takes it all the same")
            }
            (false, false) => check(Check::warning),
        }
    }

    /// What a bind would do, or why it would be refused; `first` is the problem that was seen.
    fn bind(&self, first: Option<&'static str>) -> Check {
        let pci::PciAddress { domain, bus, device, function } = self.device.address;
        let spec = DeviceSpec::Address { domain, bus, device, function };
        let check = |status: fn(&'static str, &'static str, String) -> Check, found| {
            status("bind", "bind", found)
        };
        match Plan::new(self.host, &[spec], &Options::default()) {
            Ok(plan) => {
                let writes: Vec<String> = plan
                    .moves
                    .iter()
                    .flat_map(|Move { writes, .. }| writes)
                    .map(ToString::to_string)
                    .collect();
                match writes.as_slice() {
                    [] => check(Check::ok, "it is on vfio-pci".to_owned()),
                    writes => check(Check::ok, format!("would {}", writes.join("; "))),
                }
            }
            Err(error) => {
                let refused = error.to_string().replace('\n', "; ");
                let refused = check(Check::problem, format!("is refused: {refused}"));
                match first {
                    Some(first) => refused.follows(first),
                    None => refused,
                }
            }
        }
    }
}

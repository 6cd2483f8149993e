//! What else a machine needs of a device: the picture, the console, the keyboard, parts of the
//! board.

use std::path::Path;

use super::carriers::{Carrier, Functions};
use super::need::{InUse, Need, Weight};
use crate::device::bus::pci::{self, PciAddress, PciDevice};
use crate::device::sys::host::Host;

/// What firmware framebuffers are called in `/proc/iomem`: as the firmware describes them
/// (sysfb), and by the drivers that show a picture there.
const FRAMEBUFFERS: &[&str] = &[
    "BOOTFB",
    "efifb",
    "vesafb",
    "simplefb",
    "simple-framebuffer",
    "simpledrm",
    "efidrm",
    "vesadrm",
    "ofdrm",
];

/// Parts of the machine by the directory of sysfs that they show in.
const PARTS: &[(&str, &str, Weight)] = &[
    ("sys/class/wwan", "a cellular modem", Weight::Refuse),
    ("sys/bus/gpio/devices", "GPIO lines of the board", Weight::Warn),
    ("sys/class/gpio", "GPIO lines of the board", Weight::Warn),
    ("sys/class/regulator", "power supplies of the board", Weight::Refuse),
    ("sys/class/tpm", "the TPM", Weight::Refuse),
    ("sys/class/watchdog", "a watchdog", Weight::Warn),
];

/// Parts of the machine by the driver of the device.
const DRIVERS: &[(&str, &str)] = &[
    ("mhi-pci-generic", "a cellular modem"),
    ("mhi", "a cellular modem"),
    ("mtk_t7xx", "a cellular modem"),
    ("iosm", "a cellular modem"),
    ("s51xx", "a cellular modem"),
    ("rp1", "USB, Ethernet, GPIO and fan of the board"),
];

/// Parts of the machine by vendor and device.
const CHIPS: &[((u16, u16), &str)] =
    &[((0x1de4, 0x0001), "USB, Ethernet, GPIO and fan of the board")];

/// What was read of the machine.
#[derive(Clone, Debug, Default)]
pub(crate) struct Machine {
    /// What devices are needed for whatever else is taken.
    pub facts: Vec<(Vec<Carrier>, InUse)>,
    /// The keyboards, each with its name.
    keyboards: Vec<(String, Vec<Carrier>)>,
    /// The memory of firmware framebuffers: first byte, last byte, name.
    framebuffers: Vec<(u64, u64, String)>,
    /// Devices that cannot work without others.
    suppliers: Vec<Supply>,
}

#[derive(Clone, Debug)]
struct Supply {
    supplier: Vec<Carrier>,
    consumer: String,
    on: Vec<Carrier>,
}

impl Machine {
    pub(crate) fn read(host: &Host, functions: &Functions) -> Self {
        let mut facts = Vec::new();
        displays(host, functions, &mut facts);
        consoles(host, functions, &mut facts);
        parts(host, functions, &mut facts);
        Self {
            facts,
            keyboards: keyboards(host, functions),
            framebuffers: framebuffers(host),
            suppliers: suppliers(host, functions),
        }
    }

    /// What the device is needed for when `gone` are taken, it among them.
    pub(crate) fn of(&self, host: &Host, device: &PciDevice, gone: &[PciAddress]) -> Vec<InUse> {
        let address = device.address;
        let mut found = Vec::new();
        let boot_vga = pci::attribute(address, "boot_vga");
        if host.read(&boot_vga).is_ok_and(|value| value == "1") {
            let need = Need::Display { evidence: "boot VGA".to_owned() };
            found.push(InUse::new(need, format!("/{boot_vga}")));
        }
        if let Some(name) = self.framebuffer(host, address) {
            let evidence = format!("the firmware's framebuffer {name} is in its memory");
            found.push(InUse::new(Need::Display { evidence }, "/proc/iomem"));
        }
        found.extend(self.keyboard(address, gone));
        found.extend(self.consumers(host, address, gone));
        found.extend(chip(device));
        found
    }

    fn framebuffer(&self, host: &Host, address: PciAddress) -> Option<&str> {
        if self.framebuffers.is_empty() {
            return None;
        }
        let text = host.read(&pci::attribute(address, "resource")).ok()?;
        let bars: Vec<(u64, u64)> = text.lines().filter_map(range_of_bar).collect();
        let inside = |(first, last): (u64, u64)| {
            bars.iter().any(|(start, end)| first <= *end && last >= *start)
        };
        let found = self.framebuffers.iter().find(|(first, last, _)| inside((*first, *last)));
        found.map(|(_, _, name)| name.as_str())
    }

    /// The only keyboard, or one of several that all go.
    fn keyboard(&self, address: PciAddress, gone: &[PciAddress]) -> Option<InUse> {
        let goes = |on: &[Carrier]| on.iter().any(|carrier| gone.contains(&carrier.address));
        if !self.keyboards.iter().all(|(_, on)| goes(on)) {
            return None;
        }
        let is_on = |on: &[Carrier]| on.iter().any(|carrier| carrier.address == address);
        let (name, _) = self.keyboards.iter().find(|(_, on)| is_on(on))?;
        Some(InUse::new(Need::Keyboard { name: name.clone() }, "/proc/bus/input/devices"))
    }

    /// The devices that cannot work without this one and that stay.
    fn consumers(&self, host: &Host, address: PciAddress, gone: &[PciAddress]) -> Vec<InUse> {
        let neighbour = |other: &PciAddress| {
            (other.domain, other.bus, other.device) == (address.domain, address.bus, address.device)
        };
        // Links between the functions of one card are about their power.
        let stays = |on: &[PciAddress]| !on.iter().any(|at| gone.contains(at) || neighbour(at));
        let mut names: Vec<String> = Vec::new();
        for supply in &self.suppliers {
            let on: Vec<PciAddress> = supply.on.iter().map(|carrier| carrier.address).collect();
            let is_ours = supply.supplier.iter().any(|carrier| carrier.address == address);
            if is_ours && stays(&on) {
                names.push(supply.consumer.clone());
            }
        }
        for entry in host.list(&pci::attribute(address, "")).unwrap_or_default() {
            // consumer:platform:fan0
            let Some(consumer) = entry.strip_prefix("consumer:") else { continue };
            let on: Vec<PciAddress> = consumer
                .strip_prefix("pci:")
                .and_then(|text| text.parse().ok())
                .into_iter()
                .collect();
            if stays(&on) && !names.iter().any(|known| known == consumer) {
                names.push(consumer.to_owned());
            }
        }
        let source = format!("/{}", pci::attribute(address, "consumer:*"));
        let need = |consumer| InUse::new(Need::Supplier { consumer }, source.clone());
        names.into_iter().map(need).collect()
    }
}

/// `0x00000000e0000000 0x00000000efffffff 0x000000000014220c`
fn range_of_bar(line: &str) -> Option<(u64, u64)> {
    let mut numbers = line.split_whitespace();
    let mut next = || u64::from_str_radix(numbers.next()?.strip_prefix("0x")?, 16).ok();
    let range = (next()?, next()?);
    (range.1 > 0).then_some(range)
}

fn chip(device: &PciDevice) -> Option<InUse> {
    let refuse = |what, name: String, source: String| {
        InUse::new(Need::Part { what, name, weight: Weight::Refuse }, source)
    };
    let by_id = CHIPS.iter().find(|(id, _)| *id == (device.vendor, device.device));
    if let Some((_, what)) = by_id {
        let source = format!("/{}", pci::attribute(device.address, "device"));
        return Some(refuse(what, format!("{:04x}:{:04x}", device.vendor, device.device), source));
    }
    let driver = device.driver.as_deref()?;
    let (name, what) = DRIVERS.iter().find(|(name, _)| *name == driver)?;
    let source = format!("/{}", pci::attribute(device.address, "driver"));
    Some(refuse(what, (*name).to_owned(), source))
}

/// Connected outputs and framebuffers.
fn displays(host: &Host, functions: &Functions, facts: &mut Vec<(Vec<Carrier>, InUse)>) {
    let mut add = |path: String, evidence: String| {
        let carriers = host.real(&path).map(|place| functions.carriers(&place)).unwrap_or_default();
        // One picture is enough of a reason.
        let shows = |known: &InUse| matches!(known.need, Need::Display { .. });
        let is_known = facts.iter().any(|(on, known)| shows(known) && *on == carriers);
        if !carriers.is_empty() && !is_known {
            facts.push((carriers, InUse::new(Need::Display { evidence }, format!("/{path}"))));
        }
    };
    for connector in host.list("sys/class/drm").unwrap_or_default() {
        let path = format!("sys/class/drm/{connector}");
        let reads = |attribute: &str, text: &str| {
            host.read(&format!("{path}/{attribute}")).is_ok_and(|value| value == text)
        };
        let Some((_, output)) = connector.split_once('-') else { continue };
        if reads("status", "connected") && reads("enabled", "enabled") {
            add(path.clone(), format!("{output} is connected"));
        }
    }
    for buffer in host.list("sys/class/graphics").unwrap_or_default() {
        if buffer.starts_with("fb") && buffer != "fbcon" {
            add(format!("sys/class/graphics/{buffer}"), buffer);
        }
    }
}

/// Where the messages of the kernel go (`/proc/consoles`).
fn consoles(host: &Host, functions: &Functions, facts: &mut Vec<(Vec<Carrier>, InUse)>) {
    let registered = host.read("proc/consoles").unwrap_or_default();
    let active = host.read("sys/class/tty/console/active").unwrap_or_default();
    let names = registered.lines().filter_map(|line| line.split_whitespace().next());
    let mut names: Vec<&str> = names.chain(active.split_whitespace()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let Some(place) = host.real(&format!("sys/class/tty/{name}")) else { continue };
        let need = Need::Console { name: name.to_owned() };
        facts.push((functions.carriers(&place), InUse::new(need, "/proc/consoles")));
    }
}

fn parts(host: &Host, functions: &Functions, facts: &mut Vec<(Vec<Carrier>, InUse)>) {
    for (directory, what, weight) in PARTS {
        for name in host.list(directory).unwrap_or_default() {
            let path = format!("{directory}/{name}");
            let carriers =
                host.real(&path).map(|place| functions.carriers(&place)).unwrap_or_default();
            let is_known = facts.iter().any(|(on, known)| {
                *on == carriers && matches!(&known.need, Need::Part { what: of, .. } if of == what)
            });
            if !carriers.is_empty() && !is_known {
                let need = Need::Part { what, name, weight: *weight };
                facts.push((carriers, InUse::new(need, format!("/{path}"))));
            }
        }
    }
}

/// Keyboards that people type on: those that the kernel takes SysRq from (`drivers/tty/sysrq.c`
/// takes whatever has an Alt key). Power buttons are none, nor those that programs made.
fn keyboards(host: &Host, functions: &Functions) -> Vec<(String, Vec<Carrier>)> {
    let text = host.read_table("proc/bus/input/devices").unwrap_or_default();
    let mut keyboards = Vec::new();
    for record in text.split("\n\n") {
        let value = |key: &str| record.lines().find_map(|line| line.strip_prefix(key));
        let handlers: Vec<&str> =
            value("H: Handlers=").unwrap_or_default().split_whitespace().collect();
        if !handlers.contains(&"sysrq") || !handlers.contains(&"kbd") {
            continue;
        }
        let event = handlers.iter().find(|name| name.starts_with("event"));
        let place = event
            .and_then(|event| host.real(&format!("sys/class/input/{event}")))
            .or_else(|| host.real(&format!("sys{}", value("S: Sysfs=")?)));
        let Some(place) = place.filter(|place| !is_virtual(place)) else { continue };
        let name = value("N: Name=").unwrap_or_default().trim_matches('"');
        let name = match event {
            Some(event) => format!("{name}, {event}"),
            None => name.to_owned(),
        };
        keyboards.push((name, functions.carriers(&place)));
    }
    keyboards
}

fn is_virtual(place: &Path) -> bool {
    place.components().any(|part| part.as_os_str() == "virtual")
}

/// The memory of the firmware's framebuffers. Whoever is not root sees only zeros.
fn framebuffers(host: &Host) -> Vec<(u64, u64, String)> {
    let text = host.read_table("proc/iomem").unwrap_or_default();
    let parse = |line: &str| {
        let (range, name) = line.trim().split_once(" : ")?;
        let (first, last) = range.split_once('-')?;
        let hex = |text| u64::from_str_radix(text, 16).ok();
        let last = hex(last).filter(|last| *last > 0)?;
        FRAMEBUFFERS.contains(&name).then_some((hex(first)?, last, name.to_owned()))
    };
    text.lines().filter_map(parse).collect()
}

/// The links between devices that the kernel knows of (`Documentation/driver-api/device_link.rst`).
fn suppliers(host: &Host, functions: &Functions) -> Vec<Supply> {
    const LINKS: &str = "sys/class/devlink";
    let read = |name: String| {
        let end = |end: &str| host.real(&format!("{LINKS}/{name}/{end}"));
        let supplier = functions.carriers(&end("supplier")?);
        if supplier.is_empty() {
            return None;
        }
        let on = functions.carriers(&end("consumer")?);
        let consumer = name.rsplit_once("--").map_or(name.as_str(), |(_, consumer)| consumer);
        // What is on the device itself goes with it.
        let own = supplier.iter().any(|carrier| on.contains(carrier));
        let bridge = supplier.iter().all(|carrier| pci::is_bridge(host, carrier.address));
        (!own && !bridge).then(|| Supply { supplier, consumer: consumer.to_owned(), on })
    };
    host.list(LINKS).unwrap_or_default().into_iter().filter_map(read).collect()
}

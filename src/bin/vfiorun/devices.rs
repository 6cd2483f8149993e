//! `vfiorun devices`.

mod picture;

use serde_json::{Value, json};
use vfioboot::device::bind::inventory::{self, Entry};
use vfioboot::device::bus::group;
use vfioboot::device::bus::in_use::{InUse, Weight};
use vfioboot::device::bus::names::Names;
use vfioboot::device::bus::pci::PciDevice;
use vfioboot::device::sys::host::Host;
use vfioboot::usage::Matches;

use crate::global::Global;
use crate::outcome::{Answer, Outcome};
use crate::output::{self, Page, Style};
use picture::Row;

pub struct Arguments {
    json: bool,
    svg: bool,
}

impl Arguments {
    pub fn of(given: &Matches) -> Self {
        Self { json: given.has("json"), svg: given.has("svg") }
    }
}

pub fn run(global: &Global, arguments: &Arguments) -> Outcome {
    let host = global.host();
    let entries = match inventory::read(&host) {
        Ok(entries) => entries,
        Err(error) => {
            if arguments.json {
                output::print_json(&json!({ "format": 1, "pci": false, "groups": [] }))?;
            } else {
                output::print(&format!("no PCI devices on this system ({error})\n"))?;
            }
            return Ok(Answer::No);
        }
    };
    let wanted: Vec<(u16, u16)> =
        entries.iter().map(|entry| (entry.device.vendor, entry.device.device)).collect();
    let names = Names::find(&host, &wanted);
    // Those in no group come last.
    let mut entries: Vec<&Entry> = entries.iter().collect();
    let key = |entry: &&Entry| {
        let PciDevice { address, iommu_group, .. } = entry.device;
        (iommu_group.is_none(), iommu_group, address)
    };
    entries.sort_unstable_by_key(key);
    let groups: Groups<'_> =
        entries.chunk_by(|a, b| a.device.iommu_group == b.device.iommu_group).collect();
    let domain = |number: Option<u32>| group::domain(&host, number?);
    if arguments.svg {
        output::print(&picture::svg(&pictured(&groups, &names)))?;
    } else if arguments.json {
        let groups: Vec<Value> = groups
            .iter()
            .map(|entries| {
                let number = entries.first().and_then(|entry| entry.device.iommu_group);
                let devices: Vec<Value> = entries.iter().map(|e| document(e, &names)).collect();
                json!({ "group": number, "domain": domain(number), "devices": devices })
            })
            .collect();
        output::print_json(&json!({ "format": 1, "pci": true, "groups": groups }))?;
    } else {
        page(&groups, &names, &host).print()?;
    }
    Ok(Answer::Yes)
}

/// The devices of each group.
type Groups<'e> = Vec<&'e [&'e Entry]>;

fn pictured<'e>(groups: &Groups<'e>, names: &Names) -> Vec<(Option<u32>, Vec<Row<'e>>)> {
    let row = |entry: &&'e Entry| {
        let (class, vendor, name) = named(entry, names);
        let name: Vec<&str> = [class, vendor, name].into_iter().flatten().collect();
        let passthrough = (!entry.bridge).then_some(entry.obstacles.is_empty());
        Row { device: &entry.device, name: name.join(" "), passthrough }
    };
    let number = |entries: &[&Entry]| entries.first().and_then(|entry| entry.device.iommu_group);
    groups.iter().map(|entries| (number(entries), entries.iter().map(row).collect())).collect()
}

fn page(groups: &Groups<'_>, names: &Names, host: &Host) -> Page {
    let mut page = Page::new();
    for entries in groups {
        match entries.first().and_then(|entry| entry.device.iommu_group) {
            Some(number) => {
                page.styled(Style::Head, &format!("IOMMU group {number}"));
                if let Some(domain) = group::domain(host, number) {
                    page.put(&format!(" ({domain})"));
                }
            }
            None => {
                page.styled(Style::Head, "in no IOMMU group");
            }
        }
        page.put("\n");
        for entry in *entries {
            describe(&mut page, entry, names);
        }
    }
    if groups.is_empty() {
        page.put("no PCI devices on this system\n");
    }
    page
}

/// One device: its name, its driver, and whether it can be passed through.
fn describe(page: &mut Page, entry: &Entry, names: &Names) {
    let device = &entry.device;
    let (class, vendor, name) = named(entry, names);
    let class = class.map(|class| format!("{class}: ")).unwrap_or_default();
    let name: Vec<&str> = [vendor, name].into_iter().flatten().collect();
    let name = if name.is_empty() { "unknown".to_owned() } else { name.join(" ") };
    page.put("  ").styled(Style::Head, &device.address.to_string());
    page.put(&format!(" {class}{name} [{:04x}:{:04x}]\n", device.vendor, device.device));
    let driver = device.driver.as_deref().unwrap_or("none");
    page.put("    ").styled(Style::Label, "driver:").put(" ").put(driver);
    if let Some(methods) = entry.reset_methods.as_ref().filter(|_| !entry.bridge) {
        let methods = if methods.is_empty() { "none".to_owned() } else { methods.join(", ") };
        page.put("  ").styled(Style::Label, "reset:").put(" ").put(&methods);
    }
    if !entry.bridge {
        page.put("  ").styled(Style::Label, "passthrough:").put(" ");
        match entry.obstacles.as_slice() {
            [] => page.styled(Style::Good, "yes"),
            why => page.styled(Style::Bad, "no").put(", ").put(&output::texts(why).join("; ")),
        };
    }
    page.put("\n");
    for warning in &entry.warnings {
        page.put("    ")
            .styled(Style::Note, "warning:")
            .put(" ")
            .put(&warning.to_string())
            .put("\n");
    }
}

/// The names of class, vendor and device, where they are known.
fn named<'a>(
    entry: &Entry,
    names: &'a Names,
) -> (Option<&'a str>, Option<&'a str>, Option<&'a str>) {
    let device = &entry.device;
    (
        entry.class.and_then(|class| names.class(class)),
        names.vendor(device.vendor),
        names.device(device.vendor, device.device),
    )
}

fn document(entry: &Entry, names: &Names) -> Value {
    let device = &entry.device;
    let (class_name, vendor_name, device_name) = named(entry, names);
    json!({
        "address": device.address.to_string(),
        "vendor": format!("{:04x}", device.vendor),
        "device": format!("{:04x}", device.device),
        "class": entry.class.map(|class| format!("{class:06x}")),
        "vendor_name": vendor_name,
        "device_name": device_name,
        "class_name": class_name,
        "driver": device.driver,
        "driver_override": device.driver_override,
        "bridge": entry.bridge,
        "reset_methods": entry.reset_methods,
        "passthrough": entry.obstacles.is_empty(),
        "in_use": entry.in_use().map(in_use).collect::<Vec<_>>(),
        "obstacles": output::texts(&entry.obstacles),
        "warnings": output::texts(&entry.warnings),
    })
}

/// Something that depends on a device, and where that was read.
fn in_use(used: &InUse) -> Value {
    json!({
        "reason": used.to_string(),
        "source": used.source,
        "refuses": used.weight() == Weight::Refuse,
    })
}

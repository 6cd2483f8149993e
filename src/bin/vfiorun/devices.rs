//! `vfiorun devices`.

use std::fmt::{self, Write};

use serde_json::{Value, json};
use vfioboot::device::bind::inventory::{self, Entry};
use vfioboot::device::bus::group::Group;
use vfioboot::device::bus::names::Names;
use vfioboot::device::bus::pci::PciDevice;
use vfioboot::device::sys::host::Host;

use crate::cli::{Answer, Global, Outcome};
use crate::output::{self, Palette};

#[derive(clap::Args)]
pub struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
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
    let domain = |number: Option<u32>| Group::read(&host, number?).ok()?.domain;
    if arguments.json {
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
        output::print(&text(&groups, &names, &host)?)?;
    }
    Ok(Answer::Yes)
}

/// The devices of each group.
type Groups<'e> = Vec<&'e [&'e Entry]>;

fn text(groups: &Groups<'_>, names: &Names, host: &Host) -> Result<String, fmt::Error> {
    let Palette { good, note, bad, head, dim, end } = output::palette();
    let mut text = String::new();
    for entries in groups {
        match entries.first().and_then(|entry| entry.device.iommu_group) {
            Some(number) => {
                let domain = Group::read(host, number).ok().and_then(|group| group.domain);
                let domain = domain.map(|domain| format!(" ({domain})")).unwrap_or_default();
                writeln!(text, "{head}IOMMU group {number}{end}{domain}")?;
            }
            None => writeln!(text, "{head}in no IOMMU group{end}")?,
        }
        for entry in *entries {
            let device = &entry.device;
            let (class, vendor, name) = named(entry, names);
            let class = class.map(|class| format!("{class}: ")).unwrap_or_default();
            let name: Vec<&str> = [vendor, name].into_iter().flatten().collect();
            let name = if name.is_empty() { "unknown".to_owned() } else { name.join(" ") };
            writeln!(
                text,
                "  {head}{}{end} {class}{name} [{:04x}:{:04x}]",
                device.address, device.vendor, device.device
            )?;
            let driver = device.driver.as_deref().unwrap_or("none");
            write!(text, "    {dim}driver:{end} {driver}")?;
            if let Some(methods) = entry.reset_methods.as_ref().filter(|_| !entry.bridge) {
                let methods =
                    if methods.is_empty() { "none".to_owned() } else { methods.join(", ") };
                write!(text, "  {dim}reset:{end} {methods}")?;
            }
            match entry.obstacles.as_slice() {
                _ if entry.bridge => writeln!(text)?,
                [] => writeln!(text, "  {dim}passthrough:{end} {good}yes{end}")?,
                why => {
                    writeln!(text, "  {dim}passthrough:{end} {bad}no{end}, {}", why.join("; "))?;
                }
            }
            for warning in &entry.warnings {
                writeln!(text, "    {note}warning:{end} {warning}")?;
            }
        }
    }
    if groups.is_empty() {
        writeln!(text, "no PCI devices on this system")?;
    }
    Ok(text)
}

/// Class, vendor and device in words, where they are known.
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
        "obstacles": entry.obstacles,
        "warnings": entry.warnings,
    })
}

//! `vfiorun devices`.

use std::fmt::Write;

use serde_json::json;
use vfioboot::device::pci;

use crate::cli::{Answer, Global, Outcome};
use crate::output;

#[derive(clap::Args)]
pub struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(global: &Global, arguments: &Arguments) -> Outcome {
    let mut devices = pci::enumerate(&global.host())?;
    devices.sort_by_key(|device| (device.iommu_group.is_none(), device.iommu_group));
    if arguments.json {
        let devices: Vec<_> = devices
            .iter()
            .map(|device| {
                json!({
                    "address": device.address.to_string(),
                    "vendor": format!("{:04x}", device.vendor),
                    "device": format!("{:04x}", device.device),
                    "driver": device.driver,
                    "iommu_group": device.iommu_group,
                })
            })
            .collect();
        output::print_json(&json!({ "format": 1, "devices": devices }))?;
        return Ok(Answer::Yes);
    }
    let mut text = String::new();
    for device in &devices {
        let group = device.iommu_group.map_or("-".to_owned(), |group| group.to_string());
        let driver = device.driver.as_deref().unwrap_or("-");
        writeln!(text, "group {group:>3}  {device}  {driver}")?;
    }
    output::print(&text)?;
    Ok(Answer::Yes)
}

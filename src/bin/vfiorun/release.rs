//! `vfiorun release`.

use serde_json::json;
use vfioboot::bootfile::DeviceSpec;
use vfioboot::device::bind::recover;
use vfioboot::device::bus::pci::{self, PciDevice};

use crate::bind::{show, writes};
use crate::cli::{Answer, Global, Outcome};
use crate::{interrupt, output};

#[derive(clap::Args)]
pub struct Arguments {
    /// VENDOR:DEVICE (every such device) or DOMAIN:BUS:DEVICE.FUNCTION
    #[arg(required = true, value_name = "DEV")]
    devices: Vec<DeviceSpec>,
    /// Show every write and make none
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(global: &Global, arguments: &Arguments) -> Outcome {
    let (host, state) = (global.host(), global.state());
    let mut wanted: Vec<PciDevice> = Vec::new();
    let all = pci::enumerate(&host)?;
    for spec in &arguments.devices {
        let found = wanted.len();
        wanted.extend(all.iter().filter(|device| device.matches(spec)).cloned());
        if wanted.len() == found {
            return Err(format!("{spec}: no such device (vfiorun devices lists them)").into());
        }
    }
    wanted.sort_unstable_by_key(|device| device.address);
    wanted.dedup();
    interrupt::listen();
    let (mut documents, mut failed) = (Vec::new(), false);
    for device in wanted {
        if interrupt::came() {
            return Err("interrupted: the devices named last are not released".into());
        }
        let result = match arguments.dry_run {
            true => recover::plan_release(&host, &state, device.address)
                .map(|plan| (plan.device.driver.clone(), plan)),
            false => recover::release(&host, &state, device.address).map(|(plan, now)| (now, plan)),
        };
        let (now, plan) = match result {
            Ok(done) => done,
            Err(error) => {
                output::complain(&error.to_string());
                failed = true;
                continue;
            }
        };
        if arguments.json {
            documents.push(json!({
                "address": device.address.to_string(),
                "driver_before": plan.device.driver,
                "driver": now,
                "recorded": plan.journal.is_some(),
                "writes": writes(&plan.writes),
            }));
        } else if arguments.dry_run {
            output::print(&show((device.to_string(), &plan.writes)))?;
        } else {
            let now = now.as_deref().unwrap_or("no driver");
            let text = if plan.writes.is_empty() { "is not on vfio-pci, but on" } else { "is on" };
            // A closed pipe must not keep the others on vfio-pci.
            _ = output::print(&format!("{device}: {text} {now}\n"));
        }
    }
    if arguments.json {
        output::print_json(&json!({
            "format": 1, "dry_run": arguments.dry_run, "devices": documents,
        }))?;
    }
    if failed { Err("not every device is released".into()) } else { Ok(Answer::Yes) }
}

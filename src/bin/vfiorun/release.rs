//! `vfiorun release`.

use std::sync::Arc;

use serde_json::{Value, json};
use vfioboot::bootfile::DeviceSpec;
use vfioboot::device::bind::recover::{self, Release};
use vfioboot::device::bus::pci::{self, PciDevice};
use vfioboot::device::sys::host::Host;
use vfioboot::usage::{Matches, UsageError};

use crate::global::{Global, Waiting};
use crate::outcome::{Answer, Failure, Outcome};
use crate::output::StepWriter;
use crate::{interrupt, output, writes};

pub struct Arguments {
    devices: Vec<DeviceSpec>,
    dry_run: bool,
    json: bool,
    waiting: Waiting,
}

impl Arguments {
    pub fn of(given: &Matches) -> Result<Self, UsageError> {
        Ok(Self {
            devices: given.parsed("DEV")?,
            dry_run: given.has("dry-run"),
            json: given.has("json"),
            waiting: Waiting::of(given)?,
        })
    }
}

pub fn run(global: &Global, arguments: &Arguments) -> Outcome {
    let host = global.host_within(&arguments.waiting, Arc::new(interrupt::count));
    let state = global.state();
    let wanted = devices(&host, &arguments.devices)?;
    interrupt::listen();
    let (mut documents, mut failed) = (Vec::new(), false);
    let mut writer = StepWriter::new();
    for device in wanted {
        if interrupt::requested() {
            return Err(Failure::new("interrupted: the remaining devices are not released"));
        }
        let result = match arguments.dry_run {
            true => recover::plan_release(&host, &state, device.address)
                .map(|plan| (plan.device.driver.clone(), plan)),
            false => recover::release(&host, &state, device.address).map(|(plan, now)| (now, plan)),
        };
        match result {
            Ok((now, plan)) if arguments.json => {
                documents.push(document(&device, &plan, now.as_deref()));
            }
            Ok((_, plan)) if arguments.dry_run => {
                writer.print(&writes::text(&device.to_string(), &plan.writes));
            }
            Ok((now, plan)) => {
                let now = now.as_deref().unwrap_or("no driver");
                let is =
                    if plan.writes.is_empty() { "is not on vfio-pci, but on" } else { "is on" };
                writer.print(&format!("{device}: {is} {now}\n"));
            }
            Err(error) => {
                output::complain(&error.to_string());
                failed = true;
            }
        }
    }
    writer.finish()?;
    if arguments.json {
        output::print_json(&json!({
            "format": 1, "dry_run": arguments.dry_run, "devices": documents,
        }))?;
    }
    if failed { Err(Failure::new("not every device is released")) } else { Ok(Answer::Yes) }
}

/// The devices that the specs name, each once.
fn devices(host: &Host, specs: &[DeviceSpec]) -> Result<Vec<PciDevice>, Failure> {
    let all = pci::enumerate(host)?;
    let mut wanted: Vec<PciDevice> = Vec::new();
    for spec in specs {
        let before = wanted.len();
        wanted.extend(all.iter().filter(|device| device.matches(spec)).cloned());
        if wanted.len() == before {
            return Err(Failure::new(format!(
                "{spec}: no such device (vfiorun devices lists them)"
            )));
        }
    }
    wanted.sort_unstable_by_key(|device| device.address);
    wanted.dedup();
    Ok(wanted)
}

fn document(device: &PciDevice, plan: &Release, now: Option<&str>) -> Value {
    json!({
        "address": device.address.to_string(),
        "driver_before": plan.device.driver,
        "driver": now,
        "recorded": plan.journal.is_some(),
        "writes": writes::json(&plan.writes),
    })
}

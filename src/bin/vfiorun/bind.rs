//! `vfiorun bind`.

use std::sync::Arc;

use serde_json::{Value, json};
use vfioboot::bootfile::DeviceSpec;
use vfioboot::device::bind::lease::Lease;
use vfioboot::device::bind::plan::{Move, Options, Plan, PlanError};
use vfioboot::device::bus::pci::PciDevice;
use vfioboot::device::sys::process::Process;
use vfioboot::usage::{Matches, UsageError};

use crate::global::{Global, Waiting};
use crate::outcome::{Answer, Failure, Outcome};
use crate::output::StepWriter;
use crate::{interrupt, output, remedy, writes};

pub struct Arguments {
    devices: Vec<DeviceSpec>,
    with_group: bool,
    force: Vec<DeviceSpec>,
    dry_run: bool,
    json: bool,
    waiting: Waiting,
}

impl Arguments {
    pub fn of(given: &Matches) -> Result<Self, UsageError> {
        Ok(Self {
            devices: given.parsed("DEV")?,
            with_group: given.has("with-group"),
            force: given.parsed("force")?,
            dry_run: given.has("dry-run"),
            json: given.has("json"),
            waiting: Waiting::of(given)?,
        })
    }
}

pub fn run(global: &Global, arguments: &Arguments) -> Outcome {
    let host = global.host();
    let options = Options {
        force: arguments.force.clone(),
        with_group: arguments.with_group,
        hold: Vec::new(),
    };
    let plan = match Plan::new(&host, &arguments.devices, &options) {
        Ok(plan) => plan,
        Err(error) => return refuse(&error, arguments.dry_run, arguments.json),
    };
    for warning in &plan.warnings {
        output::complain(&format!("warning: {warning}"));
    }
    let now = if arguments.dry_run {
        if !arguments.json {
            let text = |step: &Move| writes::text(&step.before.to_string(), &step.writes);
            output::print(&plan.moves.iter().map(text).collect::<String>())?;
        }
        plan.moves.iter().map(|step| step.before.clone()).collect()
    } else {
        carry_out(global, arguments, &plan)?
    };
    if arguments.json {
        output::print_json(&document(&plan, &now, arguments.dry_run))?;
    }
    Ok(Answer::Yes)
}

/// Moves the devices and leaves them there. Returns them as they are then.
fn carry_out(
    global: &Global,
    arguments: &Arguments,
    plan: &Plan,
) -> Result<Vec<PciDevice>, Failure> {
    let host = global.host_within(&arguments.waiting, Arc::new(interrupt::count));
    interrupt::listen();
    let names: Vec<String> = arguments.devices.iter().map(DeviceSpec::to_string).collect();
    let what = format!("bind {}", names.join(" "));
    // A name of its own, because the journal outlives the process.
    let name = match Process::current(&host) {
        Some(Process { pid, start_time }) => format!("bind-{pid}-{start_time}"),
        None => "bind".to_owned(),
    };
    let mut writer = StepWriter::new();
    let mut log = |line: &str| {
        if !arguments.json {
            writer.print(&format!("{line}\n"));
        }
    };
    let state = global.state();
    let lease = Lease::take(&host, &state, &name, &what, plan, &interrupt::requested, &mut log)?;
    let now = lease.devices().to_vec();
    lease.keep()?;
    writer.finish()?;
    Ok(now)
}

fn document(plan: &Plan, now: &[PciDevice], dry_run: bool) -> Value {
    let device = |(step, now): (&Move, &PciDevice)| {
        json!({
            "address": now.address.to_string(),
            "vendor": format!("{:04x}", now.vendor),
            "device": format!("{:04x}", now.device),
            "iommu_group": now.iommu_group,
            "driver_before": step.before.driver,
            "driver": now.driver,
            "writes": writes::json(&step.writes),
        })
    };
    let devices: Vec<Value> = plan.moves.iter().zip(now).map(device).collect();
    json!({
        "format": 1, "dry_run": dry_run, "devices": devices, "warnings": output::texts(&plan.warnings), "refusals": [],
    })
}

fn refuse(error: &PlanError, dry_run: bool, as_json: bool) -> Outcome {
    let refusals: Vec<String> = error.refusals.iter().map(remedy::bind).collect();
    if as_json {
        output::print_json(&json!({
            "format": 1, "dry_run": dry_run, "devices": [], "warnings": [], "refusals": refusals,
        }))?;
    } else {
        for refusal in refusals {
            output::complain(&refusal);
        }
    }
    Ok(Answer::No)
}

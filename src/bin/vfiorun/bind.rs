//! `vfiorun bind`.

use serde_json::{Value, json};
use vfioboot::bootfile::DeviceSpec;
use vfioboot::device::bind::lease::Lease;
use vfioboot::device::bind::plan::{Options, Plan, PlanError};
use vfioboot::device::bus::pci::PciDevice;
use vfioboot::device::sys::host::Write;
use vfioboot::device::sys::process::Process;

use crate::cli::{Answer, Global, Outcome};
use crate::{interrupt, output};

#[derive(clap::Args)]
pub struct Arguments {
    /// VENDOR:DEVICE (every such device) or DOMAIN:BUS:DEVICE.FUNCTION
    #[arg(required = true, value_name = "DEV")]
    devices: Vec<DeviceSpec>,
    /// Take this device although it holds a mount, swap, the only uplink or the display
    #[arg(long, value_name = "DEV")]
    force: Vec<DeviceSpec>,
    /// Show every write and make none
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(global: &Global, arguments: &Arguments) -> Outcome {
    let host = global.host();
    let options = Options { force: arguments.force.clone() };
    let plan = match Plan::new(&host, &arguments.devices, &options) {
        Ok(plan) => plan,
        Err(error) => return refuse(&error, arguments.dry_run, arguments.json),
    };
    for warning in &plan.warnings {
        output::complain(&format!("warning: {warning}"));
    }
    let mut now: Vec<PciDevice> = plan.moves.iter().map(|step| step.before.clone()).collect();
    if arguments.dry_run {
        if !arguments.json {
            let writes = plan.moves.iter().map(|step| step.writes.as_slice());
            let text: Vec<String> =
                now.iter().map(PciDevice::to_string).zip(writes).map(show).collect();
            output::print(&text.concat())?;
        }
    } else {
        interrupt::listen();
        let names: Vec<String> = arguments.devices.iter().map(DeviceSpec::to_string).collect();
        let what = format!("bind {}", names.join(" "));
        // A name of its own, because the journal outlives the process.
        let name = match Process::current(&host) {
            Some(Process { pid, start_time }) => format!("bind-{pid}-{start_time}"),
            None => "bind".to_owned(),
        };
        let lease = Lease::take(
            &host,
            &global.state(),
            &name,
            &what,
            &plan,
            &interrupt::came,
            &mut |line| {
                if !arguments.json {
                    // Whoever closed the pipe does not want to know; the devices go on.
                    _ = output::print(&format!("{line}\n"));
                }
            },
        )?;
        now = lease.devices().to_vec();
        lease.keep()?;
    }
    if arguments.json {
        let devices: Vec<Value> = plan
            .moves
            .iter()
            .zip(&now)
            .map(|(step, now)| {
                json!({
                    "address": now.address.to_string(),
                    "vendor": format!("{:04x}", now.vendor),
                    "device": format!("{:04x}", now.device),
                    "iommu_group": now.iommu_group,
                    "driver_before": step.before.driver,
                    "driver": now.driver,
                    "writes": writes(&step.writes),
                })
            })
            .collect();
        output::print_json(&json!({
            "format": 1,
            "dry_run": arguments.dry_run,
            "devices": devices,
            "warnings": plan.warnings,
            "refusals": [],
        }))?;
    }
    Ok(Answer::Yes)
}

fn refuse(error: &PlanError, dry_run: bool, as_json: bool) -> Outcome {
    let refusals: Vec<String> = error.refusals.iter().map(ToString::to_string).collect();
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

/// Writes as a dry run shows them.
pub fn show((what, writes): (String, &[Write])) -> String {
    let mut text = format!("# {what}\n");
    if writes.is_empty() {
        text += "# nothing to do\n";
    }
    for write in writes {
        text += &format!("{write}\n");
    }
    text
}

/// Writes as JSON.
pub fn writes(writes: &[Write]) -> Vec<Value> {
    writes
        .iter()
        .map(|write| json!({ "path": format!("/{}", write.path), "value": write.value.trim_end() }))
        .collect()
}

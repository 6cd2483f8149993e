//! `vfiorun status`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::json;
use vfioboot::device::guest::qemu::argv::CONTROL;
use vfioboot::device::guest::qemu::qmp;
use vfioboot::device::guest::run::record::{self, Record};

use crate::global::Global;
use crate::outcome::{Answer, Outcome};
use crate::output;

/// How long QEMU may take to answer.
const TIMEOUT: Duration = Duration::from_secs(1);

#[derive(clap::Args)]
pub struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(global: &Global, arguments: &Arguments) -> Outcome {
    let (host, state) = (global.host(), global.state());
    let running = record::running(&host, &state);
    let status = |record: &Record| -> String {
        if !record.supervisor.is_alive(&host) {
            return "left behind, its vfiorun was killed: vfiorun recover".to_owned();
        }
        let name = record.name.parse().unwrap_or_default();
        let socket = record::directory(&state, &name).join(CONTROL);
        qmp::status(&socket, TIMEOUT).unwrap_or_else(|error| format!("unknown: {error}"))
    };
    if arguments.json {
        let guests: Vec<_> = running
            .iter()
            .map(|record| {
                json!({
                    "name": record.name,
                    "file": record.file,
                    "pid": record.supervisor.pid,
                    "qemu_pid": record.qemu.pid,
                    "since": record.since,
                    "devices": record.devices,
                    "status": status(record),
                })
            })
            .collect();
        output::print_json(&json!({ "format": 1, "guests": guests }))?;
        return Ok(Answer::Yes);
    }
    if running.is_empty() {
        output::print("no guest is running\n")?;
        return Ok(Answer::Yes);
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let mut text = String::new();
    for record in &running {
        let devices = match record.devices.as_slice() {
            [] => "no devices".to_owned(),
            devices => devices.join(" "),
        };
        let Record { name, supervisor, qemu, since, .. } = record;
        text.push_str(&format!(
            "{name}: {}, {supervisor}, QEMU {qemu}, for {}, {devices}\n",
            status(record),
            duration(now.saturating_sub(*since))
        ));
    }
    output::print(&text)?;
    Ok(Answer::Yes)
}

/// `1 h 02 min`, `2 min 05 s`, `7 s`.
fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

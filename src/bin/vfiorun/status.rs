//! `vfiorun status`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use vfioboot::device::bus::health::{Errors, Health as Of};
use vfioboot::device::guest::qemu::agent::{self, AGENT};
use vfioboot::device::guest::qemu::argv::CONTROL;
use vfioboot::device::guest::qemu::qmp;
use vfioboot::device::guest::run::record::{self, Record};
use vfioboot::device::guest::run::restart::LastExit;
use vfioboot::device::sys::host::Host;
use vfioboot::device::sys::state::StateDir;
use vfioboot::usage::Matches;

use crate::global::Global;
use crate::outcome::{Answer, Outcome};
use crate::output;

/// How long QEMU may take to answer: on a busy machine it does, late.
const TIMEOUT: Duration = Duration::from_secs(3);

pub struct Arguments {
    json: bool,
}

impl Arguments {
    pub fn of(given: &Matches) -> Self {
        Self { json: given.has("json") }
    }
}

pub fn run(global: &Global, arguments: &Arguments) -> Outcome {
    let (host, state) = (global.host(), global.state());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let guests: Vec<Health> = record::running(&host, &state)
        .into_iter()
        .map(|record| Health::of(&host, &state, record, now))
        .collect();
    if arguments.json {
        let guests: Vec<Value> = guests.iter().map(Health::document).collect();
        output::print_json(&json!({ "format": 1, "guests": guests }))?;
        return Ok(Answer::Yes);
    }
    if guests.is_empty() {
        output::print("no guest is running\n")?;
        return Ok(Answer::Yes);
    }
    output::print(&guests.iter().map(|health| health.line(now)).collect::<String>())?;
    Ok(Answer::Yes)
}

/// How a guest is.
struct Health {
    record: Record,
    /// What it does, in QEMU's words where that answers.
    status: String,
    /// Whether QEMU answers; `None` where there is none to ask.
    answers: Option<bool>,
    /// The addresses that its agent says; `None` where it has none that answers.
    addresses: Option<Vec<String>>,
    memory_kib: Option<u64>,
    /// How its devices are, where they are PCI devices.
    devices: Vec<Option<Of>>,
}

impl Health {
    fn of(host: &Host, state: &StateDir, record: Record, now: u64) -> Self {
        let memory_kib = record.qemu.and_then(|qemu| qemu.memory_kib(host));
        let directory = record::directory(state, &record.name.parse().unwrap_or_default());
        let (status, answers) = if !record.supervisor.is_alive(host) {
            let left = "left behind, its vfiorun was killed: vfiorun recover, or run it again";
            (left.to_owned(), None)
        } else if let Some(again) = record.again {
            (format!("starts again in {}", duration(again.saturating_sub(now))), None)
        } else if record.qemu.is_none_or(|qemu| !qemu.is_alive(host)) {
            // Devices on their way to it, or back.
            (if record.ready { "ending" } else { "starting" }.to_owned(), None)
        } else {
            match qmp::status(&directory.join(CONTROL), TIMEOUT) {
                Ok(status) => (status, Some(true)),
                Err(_) if !record.ready => ("starting".to_owned(), Some(false)),
                Err(error) => (format!("unknown: {error}"), Some(false)),
            }
        };
        let of = |name: &String| Some(record.health(host, name.parse().ok()?));
        let devices = record.devices.iter().map(of).collect();
        let socket = directory.join(AGENT);
        let asked = answers == Some(true) && socket.exists();
        let addresses = asked.then(|| agent::addresses(&socket, TIMEOUT).ok()).flatten();
        Self { record, status, answers, addresses, memory_kib, devices }
    }

    fn line(&self, now: u64) -> String {
        let Record { name, supervisor, qemu, since, devices, restarts, last_exit, .. } =
            &self.record;
        let mut text = format!("{name}: {}, {supervisor}", self.status);
        if let Some(qemu) = qemu {
            text += &format!(", QEMU {qemu}, for {}", duration(now.saturating_sub(*since)));
        }
        if let Some(memory) = self.memory_kib {
            text += &format!(", {} MiB", memory.div_ceil(1024));
        }
        match devices.as_slice() {
            [] => text += ", no devices",
            devices => {
                let of = |(name, health): (&String, &Option<Of>)| match health {
                    Some(health) => format!("{name}{health}"),
                    None => name.clone(),
                };
                let devices = devices.iter().zip(&self.devices).map(of);
                text += &format!(", {}", devices.collect::<Vec<_>>().join(" "));
            }
        }
        if let Some(addresses) = self.addresses.as_ref().filter(|addresses| !addresses.is_empty()) {
            text += &format!(", at {}", addresses.join(" "));
        }
        if let Some(LastExit { when, reason, .. }) = last_exit {
            let (times, ago) = (restarts, duration(now.saturating_sub(*when)));
            text += &format!("; restarts: {times}, the last {ago} ago: {reason}");
        }
        text + "\n"
    }

    fn document(&self) -> Value {
        let Self { record, status, answers, addresses, memory_kib, devices } = self;
        let of = |(name, health): (&String, &Option<Of>)| {
            let Of { present, answers, errors } = health.as_ref()?;
            Some(json!({
                "device": name, "present": present, "answers": answers,
                "pcie_errors": errors.map(|Errors { correctable, nonfatal, fatal }| json!({
                    "correctable": correctable, "nonfatal": nonfatal, "fatal": fatal,
                })),
            }))
        };
        let devices: Vec<Value> = record.devices.iter().zip(devices).filter_map(of).collect();
        json!({
            "name": record.name,
            "file": record.file,
            "pid": record.supervisor.pid,
            "qemu_pid": record.qemu.map(|qemu| qemu.pid),
            "since": record.since,
            "devices": record.devices,
            "device_health": devices,
            "status": status,
            "qmp": answers,
            "addresses": addresses,
            "memory_kib": memory_kib,
            "restarts": record.restarts,
            "again": record.again,
            "last_exit": record.last_exit.as_ref().map(|last| json!({
                "when": last.when, "status": last.status, "reason": last.reason,
            })),
        })
    }
}

/// `1 h 02 min`, `2 min 05 s`, `7 s`.
fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}

//! `vfiorun stop`.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use vfioboot::device::guest::file::{self, Shutdown};
use vfioboot::device::sys::host::{Host, errno_text};
use vfioboot::device::sys::process::Process;
use vfioboot::usage::{Matches, UsageError};

use crate::global::Global;
use crate::outcome::{Answer, Failure, Outcome};
use crate::{guests, output};

/// What a guest's vfiorun may take after QEMU has ended: devices are reset and given back.
const RELEASE_TIME: Duration = Duration::from_secs(30);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

pub struct Arguments {
    name: Option<String>,
    timeout: Option<u32>,
}

impl Arguments {
    pub fn of(given: &Matches) -> Result<Self, UsageError> {
        Ok(Self { name: guests::named(given), timeout: given.parsed("timeout")?.pop() })
    }
}

pub fn run(global: &Global, arguments: &Arguments) -> Outcome {
    let host = global.host();
    let record = guests::choose(global, arguments.name.as_deref())?;
    let name = &record.name;
    if !record.supervisor.is_alive(&host) {
        return Err(Failure::new(format!(
            "guest {name} was left behind when its vfiorun was killed: vfiorun recover ends it"
        )));
    }
    let configured =
        file::read(record.file.as_ref()).map_or(Shutdown::default(), |guest| guest.shutdown);
    let powerdown = Duration::from_secs(arguments.timeout.unwrap_or(configured.timeout).into());
    let quit = Duration::from_secs(configured.quit_timeout.into());
    // Its vfiorun goes a step further with each: asks the guest, asks QEMU, kills it.
    let own_time = arguments.timeout.is_none();
    let steps: &[Duration] = match own_time {
        true => &[powerdown + quit + RELEASE_TIME],
        false => &[powerdown, quit, RELEASE_TIME],
    };
    for time in steps {
        signal(record.supervisor)?;
        if ends_within(&host, record.supervisor, *time) {
            output::print(&format!("guest {name} has ended\n"))?;
            return Ok(Answer::Yes);
        }
    }
    let supervisor = record.supervisor;
    Err(Failure::new(format!("guest {name} has not ended: its vfiorun ({supervisor}) still runs")))
}

fn signal(process: Process) -> Result<(), SignalError> {
    let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw);
    match pid.map(|pid| kill_process(pid, Signal::TERM)) {
        None | Some(Ok(()) | Err(rustix::io::Errno::SRCH)) => Ok(()),
        Some(Err(error)) => Err(SignalError { process, error: error.into() }),
    }
}

/// A process that cannot be signalled.
#[derive(Debug, thiserror::Error)]
#[error("{process} cannot be stopped: {}", errno_text(.error))]
struct SignalError {
    process: Process,
    #[source]
    error: io::Error,
}

fn ends_within(host: &Host, process: Process, limit: Duration) -> bool {
    let started = Instant::now();
    while process.is_alive(host) {
        if started.elapsed() >= limit {
            return false;
        }
        thread::sleep(POLL_INTERVAL);
    }
    true
}

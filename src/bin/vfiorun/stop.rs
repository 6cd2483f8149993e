//! `vfiorun stop`.

use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use vfioboot::device::guest::file::{self, Shutdown};
use vfioboot::device::guest::run::record::{self, Record};
use vfioboot::device::sys::host::Host;
use vfioboot::device::sys::process::Process;

use crate::cli::{Answer, Global, Outcome};
use crate::output;

/// What a guest's vfiorun may take after QEMU has ended: devices are reset and given back.
const GIVING_BACK: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

#[derive(clap::Args)]
pub struct Arguments {
    /// The guest; the one that is running when not given
    name: Option<String>,
    /// Seconds it has to power down [default: what the guest file says]
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u32>,
}

pub fn run(global: &Global, arguments: &Arguments) -> Outcome {
    let (host, state) = (global.host(), global.state());
    let record = choose(record::running(&host, &state), arguments.name.as_deref())?;
    let name = &record.name;
    if !record.supervisor.is_alive(&host) {
        return Err(format!(
            "guest {name} was left behind when its vfiorun was killed: vfiorun recover ends it"
        )
        .into());
    }
    let configured =
        file::read(record.file.as_ref()).map_or(Shutdown::default(), |guest| guest.shutdown);
    let powerdown = Duration::from_secs(arguments.timeout.unwrap_or(configured.timeout).into());
    let quit = Duration::from_secs(configured.quit_timeout.into());
    // Its vfiorun goes a step further with each: asks the guest, tells QEMU, kills it.
    let own_time = arguments.timeout.is_none();
    let steps: &[Duration] = match own_time {
        true => &[powerdown + quit + GIVING_BACK],
        false => &[powerdown, quit, GIVING_BACK],
    };
    for time in steps {
        signal(record.supervisor)?;
        if ends_within(&host, record.supervisor, *time) {
            output::print(&format!("guest {name} has ended\n"))?;
            return Ok(Answer::Yes);
        }
    }
    Err(format!("guest {name} has not ended: its vfiorun ({}) still runs", record.supervisor)
        .into())
}

fn choose(mut running: Vec<Record>, name: Option<&str>) -> Result<Record, String> {
    let names: Vec<String> = running.iter().map(|record| record.name.clone()).collect();
    let names = names.join(", ");
    match name {
        _ if running.is_empty() => Err("no guest is running".to_owned()),
        None if running.len() == 1 => Ok(running.remove(0)),
        None => Err(format!("which? Running are {names}")),
        Some(name) => match running.iter().position(|record| record.name == name) {
            Some(position) => Ok(running.remove(position)),
            None => Err(format!("no guest {name} is running; running are {names}")),
        },
    }
}

fn signal(process: Process) -> Result<(), String> {
    let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw);
    match pid.map(|pid| kill_process(pid, Signal::TERM)) {
        None | Some(Ok(()) | Err(rustix::io::Errno::SRCH)) => Ok(()),
        Some(Err(error)) => Err(format!("{process} cannot be told to stop: {error}")),
    }
}

fn ends_within(host: &Host, process: Process, limit: Duration) -> bool {
    let started = Instant::now();
    while process.is_alive(host) {
        if started.elapsed() >= limit {
            return false;
        }
        thread::sleep(LOOK_AGAIN);
    }
    true
}

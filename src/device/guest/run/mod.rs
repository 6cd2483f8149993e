//! Runs a guest from its file to its end: examine, take the devices, start, supervise, give back.
//!
//! | module | subject |
//! |---|---|
//! | [`preflight`] | everything that is examined before, and the start as data |
//! | [`awake`] | keeps the machine from sleeping meanwhile |
//! | [`launch`] | the process of QEMU, between fork and exec |
//! | [`supervise`] | QEMU until it has ended |
//! | [`restart`] | whether a guest that has ended is started again |
//! | `notice` | what happens while a guest runs |
//! | [`session`] | what QEMU's monitor says, and what is asked of it |
//! | [`requests`], [`ask`] | what other commands ask of the supervisor, and how |
//! | `plugs` | devices that come and go while the guest runs |
//! | `console`, [`terminal`] | the guest's console, and our terminal as the guest's |
//! | `stderr` | what QEMU writes to its standard error |
//! | [`signals`] | signals that are read instead of interrupting |
//! | [`record`] | which guests are running |

pub mod ask;
pub mod awake;
mod console;
pub mod launch;
mod notice;
mod plugs;
pub mod preflight;
mod prepare;
pub mod record;
pub mod requests;
pub mod restart;
pub mod session;
pub mod signals;
mod stderr;
pub mod supervise;
pub mod terminal;

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::device::bind::lease::{Lease, Report, TakeError};
use crate::device::bind::recover;
use crate::device::bind::undo::Undo;
use crate::device::bus::group::is_vfio;
use crate::device::bus::health::Errors;
use crate::device::bus::pci::{self, PciDevice};
use crate::device::causes::{Failure, Reason, Step};
use crate::device::guest::file::{Guest, OnExit};
use crate::device::guest::qemu::argv::MONITOR;
use crate::device::sys::host::errno_text;
use crate::device::sys::kernel_log::Tail;
use crate::device::sys::process::Process;
use awake::Awake;
use launch::Launch;
use plugs::Devices;
use preflight::Start;
use record::Record;
use supervise::{GuestExit, Supervised};

pub use prepare::{Context, Progress, StartError};

/// A guest that has ended, and what was undone after it.
#[derive(Debug)]
pub struct RunReport {
    /// How it ended.
    pub ended: GuestExit,
    /// Why it did not run, as far as QEMU or the kernel said.
    pub reason: Option<Reason>,
    /// What was undone.
    pub report: Report,
}

/// A guest that did not run, or whose end is not known.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The devices were not taken. Whatever was done is undone.
    #[error(transparent)]
    Take(TakeError),
    /// It could not be started. What was done before is undone.
    #[error("{cause}{}", undone_text(.report))]
    Start {
        /// The reason.
        #[source]
        cause: Box<StartError>,
        /// What was undone.
        report: Report,
    },
    /// The devices could not be given back.
    #[error("{0}; vfiorun recover tries again")]
    Release(#[source] TakeError),
}

fn undone_text(report: &Report) -> String {
    match report.is_clean() {
        true => "; everything is as it was".to_owned(),
        false => {
            format!("; not everything could be undone (vfiorun recover tries again):\n{report}")
        }
    }
}

/// Starts the guest as `start` says, stays until it has ended, and gives everything back.
/// `file` is the path of the guest file, for `status`.
///
/// # Errors
/// See [`RunError`].
pub fn run(
    context: Context<'_>,
    guest: &Guest,
    file: &Path,
    start: &Start,
    notify: &mut dyn FnMut(&Progress),
) -> Result<RunReport, RunError> {
    let Context { host, state, signals, .. } = context;
    let name = guest.name.as_str();
    let what = format!("run {name}");
    let stop = || signals.stop_wanted();
    let mut lease = Lease::take(host, state, name, &what, &start.bind, &stop, &mut |line| {
        notify(&Progress::Step(line.to_owned()));
    })
    .map_err(RunError::Take)?;
    let addresses: Vec<_> = lease.devices().iter().map(|device| device.address).collect();
    let log_end = Tail::open(host);
    let ended = with_devices(context, guest, file, start, &mut lease, notify);
    remove_socket(guest);
    let report = lease.release().map_err(RunError::Release);
    // Not before: until here `stop` waits for it.
    record::remove(&record::directory(state, &guest.name));
    let report = report?;
    if guest.on_exit == OnExit::Host {
        for address in addresses {
            if pci::driver(host, address).is_ok_and(|driver| driver.as_deref().is_some_and(is_vfio))
                && let Err(error) = recover::release(host, state, address)
            {
                notify(&Progress::Warning(error.to_string()));
            }
        }
    }
    match ended {
        Ok(ended) => {
            let reason = why_not_run(&ended, log_end);
            Ok(RunReport { ended, reason, report })
        }
        Err(cause) => Err(RunError::Start { cause: Box::new(cause), report }),
    }
}

/// Removes the socket of the screen, which QEMU leaves. In a chroot it may have been where nobody else
/// sees it, and is gone.
fn remove_socket(guest: &Guest) {
    let Some(path) = guest.display.own_socket() else { return };
    let root = Path::new(guest.chroot.as_deref().unwrap_or("/"));
    let place = root.join(path.trim_start_matches('/'));
    if place.symlink_metadata().is_ok_and(|meta| meta.file_type().is_socket()) {
        _ = fs::remove_file(place);
    }
}

/// All between the devices being taken and given back.
fn with_devices(
    context: Context<'_>,
    guest: &Guest,
    file: &Path,
    start: &Start,
    lease: &mut Lease,
    notify: &mut dyn FnMut(&Progress),
) -> Result<GuestExit, StartError> {
    let Context { host, state, signals, .. } = context;
    let devices = lease.devices().to_vec();
    prepare::prepare_devices(context, guest, start, lease, notify)?;
    let mut failed = |text| notify(&Progress::Warning(text));
    let _awake = Awake::new(host, &start.awake, lease.journal(), &mut failed);
    let backing = prepare::prepare_memory(context, guest, start, lease, notify)?;
    let cgroups = prepare::make_cgroups(host, start, lease, notify)?;
    let directory = record::make_directory(state, &guest.name).map_err(|error| {
        StartError::Directory { path: record::directory(state, &guest.name), error }
    })?;
    let monitor = directory.join(MONITOR);
    // A socket that an earlier QEMU left must not be taken for the new one.
    _ = fs::remove_file(&monitor);
    let launch = Launch {
        program: start.qemu.clone(),
        argv: start.argv_with(host, guest, backing),
        chroot: guest.chroot.as_ref().map(PathBuf::from),
        directory,
        cpus: start.cpus.clone(),
        cgroups,
        nodes: start.chroot_nodes.clone(),
        pins_memory: !devices.is_empty() || guest.memory.locked,
        may_pin_memory: guest.takes_devices(),
    };
    let record = record_of(context, guest, file, &devices);
    let directory = launch.directory.clone();
    let mut devices = Devices::new(context, guest, start, lease, backing, record, directory);
    warn_of_record(devices.write_record(), notify);
    if signals.stop_wanted() {
        return Err(StartError::Interrupted);
    }
    let child = launch.start()?;
    // Between the fork and this record QEMU depends on our life: PR_SET_PDEATHSIG.
    if let Some(qemu) = Process::with_pid(host, child.id()) {
        let name = Path::new(&start.qemu).file_name().unwrap_or_default().to_string_lossy();
        devices.lease.journal().record(Undo::of_process(qemu, name.into_owned()))?;
        devices.record.iter_mut().for_each(|record| record.qemu = Some(qemu));
        warn_of_record(devices.write_record(), notify);
    }
    notify(&Progress::Step(format!("{} started, pid {}", start.qemu, child.id())));
    let supervised = Supervised {
        directory: &launch.directory,
        shutdown: &guest.shutdown,
        signals,
        plugs: &mut devices,
        here: context.log.is_none(),
    };
    supervise::supervise(child, supervised, &mut |notice| {
        notify(&Progress::Notice(notice.clone()));
    })
    .map_err(StartError::Wait)
}

/// The record of a guest that is being started. `None` without a `/proc`.
fn record_of(
    context: Context<'_>,
    guest: &Guest,
    file: &Path,
    devices: &[PciDevice],
) -> Option<Record> {
    Some(Record {
        format: record::FORMAT,
        name: guest.name.to_string(),
        file: file.display().to_string(),
        supervisor: Process::current(context.host)?,
        qemu: None,
        since: restart::now(),
        devices: devices.iter().map(|device| device.address.to_string()).collect(),
        errors: devices
            .iter()
            .filter_map(|device| {
                Some((device.address.to_string(), Errors::of(context.host, device.address)?))
            })
            .collect(),
        ready: false,
        again: None,
        restarts: context.restarts.count,
        last_exit: context.restarts.last_exit.clone(),
        log: context.log.map(|log| log.display().to_string()),
    })
}

fn warn_of_record(written: io::Result<()>, notify: &mut dyn FnMut(&Progress)) {
    if let Err(error) = written {
        let error = errno_text(&error);
        notify(&Progress::Warning(format!("{error}: vfiorun status does not show this guest")));
    }
}

/// Waits until a guest that has ended is started again; `false` when it is not to be, because a signal came.
pub fn wait_to_start_again(
    context: Context<'_>,
    guest: &Guest,
    file: &Path,
    pause: Duration,
    notify: &mut dyn FnMut(&Progress),
) -> bool {
    let directory = record::directory(context.state, &guest.name);
    let again = Some(restart::now() + pause.as_secs());
    let record = record_of(context, guest, file, &[]).map(|record| Record { again, ..record });
    if record::make_directory(context.state, &guest.name).is_ok() {
        let write = |record| record::write(&directory, record);
        warn_of_record(record.as_ref().map_or(Ok(()), write), notify);
    }
    // Until the next start writes its own: the guest is known all the time, to `status` and to `stop`.
    restart::pause(context.signals, pause)
}

/// What QEMU or the kernel said about a guest that did not run, or that QEMU ended with an error.
fn why_not_run(ended: &GuestExit, log_end: Tail) -> Option<Reason> {
    if ended.escalation.is_some() || (ended.ran && ended.status.success()) {
        return None;
    }
    let lines: Vec<String> = ended.said.iter().cloned().chain(log_end.lines()).collect();
    Failure { step: Step::Qemu, errno: None, lines: &lines, facts: &[] }.reason()
}

//! Devices on vfio-pci for as long as a process needs them, and then back.
//!
//! ```no_run
//! # use vfioboot::device::bind::{lease::Lease, plan::{Options, Plan}};
//! # use vfioboot::device::sys::{host::Host, state::StateDir};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let host = Host::new("/");
//! let state = StateDir::of(&host);
//! let plan = Plan::new(&host, &["0000:00:02.0".parse()?], &Options::default())?;
//! let lease = Lease::take(&host, &state, "guest", "run guest", &plan, &|| false, &mut |line| {
//!     eprintln!("{line}");
//! })?;
//! let report = lease.release()?;
//! assert!(report.is_clean());
//! # Ok(())
//! # }
//! ```
//!
//! Every change is in the journal before it is made. A lease that is dropped is released; one
//! whose process is killed is what [`recover`](super::recover) is for.

use core::fmt;
use std::time::Duration;

use crate::device::bind::driver::{self, BindError, is_on_vfio};
use crate::device::bind::journal::{self, Journal, JournalError};
use crate::device::bind::plan::{self, Plan};
use crate::device::bind::undo::{Ending, Undo, UndoError};
use crate::device::bus::group::{self, Group, Member, is_vfio};
use crate::device::bus::in_use::{self, InUse};
use crate::device::bus::pci::{self, PciAddress, PciDevice, PciError};
use crate::device::causes::facts::{self, Surroundings};
use crate::device::causes::{Failure, Reason, Step};
use crate::device::sys::host::{Host, HostError};
use crate::device::sys::kernel_log::Tail;
use crate::device::sys::lock::{Lock, LockError, Wait};
use crate::device::sys::process::Process;
use crate::device::sys::state::StateDir;

/// How long another process that is changing a device is waited for.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Devices on vfio-pci, and the journal of how they came there.
#[derive(Debug)]
pub struct Lease {
    host: Host,
    state: StateDir,
    devices: Vec<PciDevice>,
    journal: Journal,
    over: bool,
}

/// What was undone, step by step, the last step first.
#[derive(Debug, Default)]
pub struct Report {
    /// Each step and how undoing it went.
    pub steps: Vec<(Undo, Ending)>,
}

impl Report {
    /// Whether nothing failed.
    pub fn is_clean(&self) -> bool {
        !self.steps.iter().any(|(_, ending)| matches!(ending, Ending::Failed(_)))
    }

    /// A line for each step that somebody may not expect. That a process has ended, or that what was made for it
    /// is gone, is what undoing is for; that a device is gone is not.
    pub fn told(&self) -> impl Iterator<Item = String> {
        let steps = self
            .steps
            .iter()
            .filter(|(undo, ending)| undo.device().is_some() || !matches!(ending, Ending::Gone));
        steps.map(|(undo, ending)| format!("{undo}: {ending}"))
    }
}

impl fmt::Display for Report {
    /// One line a step.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (undo, ending)) in self.steps.iter().enumerate() {
            write!(f, "{}{undo}: {ending}", if number == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

/// Why the devices are not taken.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// Another process is changing the device, or the kernel has not come back from what one asked of it;
    /// nothing was changed.
    #[error("{address}: {error}{}", opened_text(.open))]
    Lock {
        /// The device.
        address: PciAddress,
        /// Who has it, and what for.
        #[source]
        error: LockError,
        /// The processes that have it open.
        open: Vec<InUse>,
    },
    /// The journal cannot be written; nothing was changed that is not in it.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Another owner has the device; nothing was changed.
    #[error("{address}: it is in use: {what} ({owner})")]
    Leased {
        /// The device.
        address: PciAddress,
        /// What its owner does.
        what: String,
        /// The owner's process.
        owner: Process,
    },
    /// An owner that is gone left the device as it is; nothing was changed.
    #[error("{address}: \"{what}\" left it behind when it was killed: run vfiorun recover first")]
    LeftBehind {
        /// The device.
        address: PciAddress,
        /// What its owner did.
        what: String,
    },
    /// A step failed. What was done before is undone.
    #[error("{cause}{}", undone_text(.undone))]
    Step {
        /// The reason.
        #[source]
        cause: Box<StepFailure>,
        /// What undoing the others gave.
        undone: Report,
    },
}

fn opened_text(open: &[InUse]) -> String {
    match open {
        [] => String::new(),
        open => format!("; {}", plan::join(open)),
    }
}

fn undone_text(undone: &Report) -> String {
    if undone.is_clean() {
        return "; everything is as it was".to_owned();
    }
    format!("; not everything could be undone (vfiorun recover tries again):\n{undone}")
}

fn because(reason: &Option<Reason>) -> String {
    reason.as_ref().map(|reason| format!("; {}", reason.with_fix())).unwrap_or_default()
}

/// The step that failed.
#[derive(Debug, thiserror::Error)]
pub enum StepFailure {
    /// A device cannot be read.
    #[error("{0}")]
    Device(#[source] PciError),
    /// A device does not reach vfio-pci.
    #[error("{device}: {error}{}", because(.reason))]
    Bind {
        /// The device.
        device: PciDevice,
        /// What happened.
        #[source]
        error: Box<BindError>,
        /// Why, as far as that is known.
        reason: Option<Reason>,
    },
    /// It is on vfio-pci and in no group, or in one that is none, so no guest could have it.
    #[error("{device}: on vfio-pci, but not in an IOMMU group{}", because(.reason))]
    NoGroup {
        /// The device.
        device: PciDevice,
        /// Why, as far as that is known.
        reason: Option<Reason>,
    },
    /// Its group, known only now, has members that stay with the host.
    #[error("{device}: IOMMU group {group} can only be taken as a whole, and it also has {}", plan::join(.mates))]
    Mates {
        /// The device.
        device: PciDevice,
        /// Its group.
        group: u32,
        /// The members that stay with the host.
        mates: Vec<Member>,
    },
    /// Its group cannot be read.
    #[error("{0}")]
    Group(#[source] HostError),
    /// A record could not be written.
    #[error("{0}")]
    Journal(#[source] JournalError),
    /// The system needs the device, since the plan was made.
    #[error("{device}: {}", plan::join(.holds))]
    Held {
        /// The device.
        device: PciDevice,
        /// What for.
        holds: Vec<InUse>,
    },
    /// It was interrupted.
    #[error("interrupted")]
    Interrupted,
}

impl Lease {
    /// Carries out `plan` under the journal `name`; `what` says to others what for. Between two
    /// devices `stop` is asked whether to give up, and `log` receives a line for each step.
    ///
    /// # Errors
    /// See [`TakeError`]: either nothing was changed, or it is undone as far as the kernel lets
    /// us, and what is not stays in the journal.
    pub fn take(
        host: &Host,
        state: &StateDir,
        name: &str,
        what: &str,
        plan: &Plan,
        stop: &dyn Fn() -> bool,
        log: &mut dyn FnMut(&str),
    ) -> Result<Self, TakeError> {
        let (_locks, working) = claim(host, state, plan, what, stop, log)?;
        let mut journal = Journal::create(host, state, name, what)?;
        match carry_out(&working, plan, &mut journal, stop, log) {
            Ok(devices) => {
                let (host, state) = (host.clone(), state.clone());
                Ok(Self { host, state, devices, journal, over: false })
            }
            Err(cause) => {
                let undone = undo_held(&working, state, &mut journal, &|_| true)?;
                Err(TakeError::Step { cause: Box::new(cause), undone })
            }
        }
    }

    /// The devices, as they are now.
    pub fn devices(&self) -> &[PciDevice] {
        &self.devices
    }

    /// Takes more devices, as [`take`](Self::take) does, and returns them.
    ///
    /// # Errors
    /// As `take`: what was taken before stays.
    pub(crate) fn add(
        &mut self,
        what: &str,
        plan: &Plan,
        stop: &dyn Fn() -> bool,
        log: &mut dyn FnMut(&str),
    ) -> Result<Vec<PciDevice>, TakeError> {
        let (_locks, working) = claim(&self.host, &self.state, plan, what, stop, log)?;
        match carry_out(&working, plan, &mut self.journal, stop, log) {
            Ok(devices) => {
                self.devices.extend_from_slice(&devices);
                Ok(devices)
            }
            Err(cause) => {
                let addresses = plan.addresses();
                let own = |undo: &Undo| undo.subject().is_some_and(|a| addresses.contains(&a));
                let undone = undo_held(&working, &self.state, &mut self.journal, &own)?;
                Err(TakeError::Step { cause: Box::new(cause), undone })
            }
        }
    }

    /// Undoes the steps that `which` picks: those of a device that is not needed any longer.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub(crate) fn give_back(
        &mut self,
        which: &dyn Fn(&Undo) -> bool,
    ) -> Result<Report, JournalError> {
        let report = undo_some(&self.host, &self.state, &mut self.journal, which)?;
        let back = |device: &PciDevice| {
            report.steps.iter().any(|(undo, _)| undo.subject() == Some(device.address))
        };
        self.devices.retain(|device| !back(device));
        Ok(report)
    }

    /// The journal, to add steps to.
    pub(crate) fn journal(&mut self) -> &mut Journal {
        &mut self.journal
    }

    /// Undoes everything, in reverse order.
    ///
    /// # Errors
    /// When the journal cannot be written. A step that cannot be undone is in the report, and stays in
    /// the journal.
    pub fn release(mut self) -> Result<Report, TakeError> {
        self.end()
    }

    /// Leaves everything as it is, beyond the end of this process. The journal stays, for
    /// [`release`](crate::device::bind::recover::release), unless nothing was changed.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub fn keep(mut self) -> Result<(), JournalError> {
        self.over = true;
        let unchanged = |undo: &Undo| {
            undo.device().is_some_and(|original| original.driver.as_deref().is_some_and(is_vfio))
        };
        if self.journal.recorded().steps.iter().all(unchanged) {
            self.journal.remove()
        } else {
            self.journal.keep()
        }
    }

    fn end(&mut self) -> Result<Report, TakeError> {
        self.over = true;
        Ok(undo(&self.host, &self.state, &mut self.journal)?)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.over {
            // Who wants to know how it went calls `release`.
            _ = self.end();
        }
    }
}

/// Takes the locks of the devices of a plan, until the journal says whose they are, and refuses those that are
/// somebody else's. With the locks comes the host to work with while they are held.
fn claim(
    host: &Host,
    state: &StateDir,
    plan: &Plan,
    what: &str,
    stop: &dyn Fn() -> bool,
    log: &mut dyn FnMut(&str),
) -> Result<(Vec<Lock>, Host), TakeError> {
    let addresses = plan.addresses();
    // In one order, so that no two wait for each other.
    let mut sorted = addresses.clone();
    sorted.sort_unstable();
    let locks = sorted
        .into_iter()
        .map(|address| lock(host, state, address, what, stop, log))
        .collect::<Result<Vec<Lock>, _>>()?;
    no_other_owner(host, state, &addresses, log)?;
    let claims = locks.iter().map(|lock| lock.claim().clone()).collect();
    let working = host.with_claims(claims);
    Ok((locks, working))
}

/// Refuses devices that a journal is about, other than one that was kept on purpose. Journals of
/// an earlier boot are removed.
fn no_other_owner(
    host: &Host,
    state: &StateDir,
    addresses: &[PciAddress],
    log: &mut dyn FnMut(&str),
) -> Result<(), TakeError> {
    let io = |error| JournalError::Io { path: state.path().to_owned(), action: "list", error };
    for name in state.journals().map_err(io)? {
        let recorded = match journal::read(&state.journal(&name)) {
            Err(error) if error.is_gone() => continue,
            recorded => recorded?,
        };
        let Some(header) = &recorded.header else { continue };
        if recorded.is_stale(host) {
            log(&format!("\"{}\" is from an earlier boot: discarded", header.what));
            Journal::open(host, state, &name)?.remove()?;
            continue;
        }
        let about = recorded
            .open_steps()
            .filter_map(|(number, undo)| Some((number, undo.device()?.address)))
            .filter(|(_, address)| addresses.contains(address));
        let mut outdated = Vec::new();
        for (number, address) in about {
            let (owner, what) = (header.owner, header.what.clone());
            if !recorded.kept && owner.is_alive(host) {
                return Err(TakeError::Leased { address, what, owner });
            }
            if !recorded.kept {
                return Err(TakeError::LeftBehind { address, what });
            }
            // Somebody else took it off vfio-pci since: the record says nothing any more.
            if !pci::driver(host, address).ok().flatten().as_deref().is_some_and(is_vfio) {
                outdated.push(number);
            }
        }
        if !outdated.is_empty() {
            let mut journal = Journal::open(host, state, &name)?;
            for number in outdated {
                journal.mark_undone(number)?;
            }
            if journal.recorded().open_steps().next().is_none() {
                journal.remove()?;
            }
        }
    }
    Ok(())
}

/// Takes the lock of a device, which is waited for, or says who has it and who keeps them.
fn lock(
    host: &Host,
    state: &StateDir,
    address: PciAddress,
    what: &str,
    stop: &dyn Fn() -> bool,
    log: &mut dyn FnMut(&str),
) -> Result<Lock, TakeError> {
    let mut waiting = |holder: Option<&str>| {
        if let Some(holder) = holder {
            log(&format!("{address}: waiting up to {} s for {holder}", TIMEOUT.as_secs()));
        }
        if stop() { Wait::Stop } else { Wait::On }
    };
    Lock::wait(state, &address.to_string(), what, TIMEOUT, &mut waiting).map_err(|error| {
        let open = in_use::open_by_processes(host, address);
        TakeError::Lock { address, error, open }
    })
}

fn carry_out(
    host: &Host,
    plan: &Plan,
    journal: &mut Journal,
    stop: &dyn Fn() -> bool,
    log: &mut dyn FnMut(&str),
) -> Result<Vec<PciDevice>, StepFailure> {
    let addresses = plan.addresses();
    let mut devices = Vec::new();
    for address in &addresses {
        if stop() {
            return Err(StepFailure::Interrupted);
        }
        // Not as the plan found it: it may have moved since.
        let before = PciDevice::read(host, *address).map_err(StepFailure::Device)?;
        if !is_on_vfio(&before) {
            let holds = plan.holds_now(host, &before);
            if !holds.is_empty() {
                return Err(StepFailure::Held { device: before, holds });
            }
        }
        journal.record(Undo::Device((&before).into())).map_err(StepFailure::Journal)?;
        let log_end = Tail::open(host);
        match driver::to_vfio_pci(host, *address) {
            Ok(bound) => {
                log(&format!("{before}: {}", bound.from));
                devices.push(bound.device);
            }
            Err(error) => {
                let reason = why_not_bound(host, &before, &error, log_end);
                return Err(StepFailure::Bind { device: before, error: error.into(), reason });
            }
        }
    }
    // Again, because a device joins its group only when it is probed for the first time.
    for device in &devices {
        let number = device.iommu_group.filter(|number| !group::is_no_iommu(host, *number));
        let Some(number) = number else {
            let reason = why(host, device, Step::Open, None, &[]);
            return Err(StepFailure::NoGroup { device: device.clone(), reason });
        };
        let group = Group::read(host, number).map_err(StepFailure::Group)?;
        let mates = group.blockers(&addresses);
        if !mates.is_empty() {
            return Err(StepFailure::Mates { device: device.clone(), group: number, mates });
        }
    }
    if stop() {
        return Err(StepFailure::Interrupted);
    }
    Ok(devices)
}

/// What is known of a device that vfio-pci did not take, or that could not be written to.
fn why_not_bound(
    host: &Host,
    device: &PciDevice,
    error: &BindError,
    log_end: Tail,
) -> Option<Reason> {
    let (step, failed) = match error {
        BindError::NoVfioPci | BindError::Device(_) | BindError::Stuck { .. } => return None,
        BindError::Override(error) | BindError::Unbind { error, .. } => (Step::Write, Some(error)),
        BindError::NotTaken { probe, .. } => (Step::Probe, probe.as_ref()),
    };
    let errno = failed.and_then(|error| error.error.raw_os_error());
    why(host, device, step, errno, &log_end.lines())
}

fn why(
    host: &Host,
    device: &PciDevice,
    step: Step,
    errno: Option<i32>,
    lines: &[String],
) -> Option<Reason> {
    let facts = facts::of(host, &Surroundings::default(), device);
    Failure { step, errno, lines, facts: &facts }.reason()
}

/// Undoes all that is open in a journal, and removes it when nothing is left.
pub(super) fn undo(
    host: &Host,
    state: &StateDir,
    journal: &mut Journal,
) -> Result<Report, JournalError> {
    undo_some(host, state, journal, &|_| true)
}

/// Undoes those open steps of a journal that `which` picks, each under the lock of its device.
pub(super) fn undo_some(
    host: &Host,
    state: &StateDir,
    journal: &mut Journal,
    which: &dyn Fn(&Undo) -> bool,
) -> Result<Report, JournalError> {
    undo_each(journal, which, &|step| {
        let Some(address) = step.subject() else { return step.carry_out(host, state) };
        let mut on = |_: Option<&str>| Wait::On;
        match Lock::wait(state, &address.to_string(), &step.to_string(), TIMEOUT, &mut on) {
            Ok(lock) => step.carry_out(&host.with_claims(vec![lock.claim().clone()]), state),
            Err(error) => Ending::Failed(UndoError::Locked(error)),
        }
    })
}

/// As [`undo_some`], for who has the lock of the device already.
pub(super) fn undo_held(
    host: &Host,
    state: &StateDir,
    journal: &mut Journal,
    which: &dyn Fn(&Undo) -> bool,
) -> Result<Report, JournalError> {
    undo_each(journal, which, &|step| step.carry_out(host, state))
}

fn undo_each(
    journal: &mut Journal,
    which: &dyn Fn(&Undo) -> bool,
    carry_out: &dyn Fn(&Undo) -> Ending,
) -> Result<Report, JournalError> {
    let mut open: Vec<(usize, Undo)> = journal
        .recorded()
        .open_steps()
        .filter(|(_, undo)| which(undo))
        .map(|(number, undo)| (number, undo.clone()))
        .collect();
    // It has the devices too that were given to it later.
    open.sort_by_key(|(_, undo)| !matches!(undo, Undo::Process { .. }));
    let mut report = Report::default();
    for (number, step) in open {
        let ending = carry_out(&step);
        if !matches!(ending, Ending::Failed(_)) {
            journal.mark_undone(number)?;
        }
        report.steps.push((step, ending));
    }
    if journal.recorded().open_steps().next().is_none() {
        journal.remove()?;
    }
    Ok(report)
}

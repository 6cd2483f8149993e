//! Undoes the steps of an owner that is gone, and gives devices back that were left on vfio-pci on
//! purpose.

use std::time::Duration;

use crate::device::bind::driver::{self, ReleaseError, is_on_vfio};
use crate::device::bind::journal::{self, Journal, JournalError};
use crate::device::bind::lease::{self, Report};
use crate::device::bind::undo::{Ending, Undo, UndoError};
use crate::device::bus::group::is_vfio;
use crate::device::bus::pci::{PciAddress, PciDevice, PciError};
use crate::device::bus::users::{self, User};
use crate::device::sys::host::{Host, Write};
use crate::device::sys::lock::{Lock, LockError, Wait};
use crate::device::sys::process::Process;
use crate::device::sys::state::StateDir;

/// How long giving back waits for another process that is changing the device.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A journal, and what is to be done with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// The journal's name.
    pub name: String,
    /// What its owner did; empty when that was not written whole.
    pub what: String,
    /// What is done with it.
    pub verdict: Verdict,
    /// The open steps, the last first.
    pub steps: Vec<Undo>,
}

/// What is done with a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its owner is gone: its steps are undone.
    Undo,
    /// It is of another boot, or its owner was killed before it did anything: it is discarded.
    Discard,
    /// Its owner left things as they are on purpose: so they stay.
    Kept,
    /// Its owner is at work.
    Alive(Process),
}

/// Why nothing was recovered or released.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// Another process is changing the device, or the kernel has not come back from what one asked of it.
    #[error("{address}: {error}")]
    Lock {
        /// The device.
        address: PciAddress,
        /// Who has it, and what for.
        #[source]
        error: LockError,
    },
    /// A journal cannot be read or written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A device cannot be read.
    #[error(transparent)]
    Device(#[from] PciError),
    /// A device is not given back.
    #[error("{address}: {error}")]
    Release {
        /// The device.
        address: PciAddress,
        /// The reason.
        #[source]
        error: ReleaseError,
    },
    /// A device does not have its original driver.
    #[error("{address}: {error}")]
    Undo {
        /// The device.
        address: PciAddress,
        /// The reason.
        #[source]
        error: UndoError,
    },
    /// A device is open.
    #[error("{address}: it is in use by {}", users::text(.users))]
    InUse {
        /// The device.
        address: PciAddress,
        /// The processes that have it open.
        users: Vec<User>,
    },
    /// A device belongs to an owner that is at work.
    #[error("{address}: it is in use: {what} ({owner})")]
    Leased {
        /// The device.
        address: PciAddress,
        /// What the owner does.
        what: String,
        /// The owner.
        owner: Process,
    },
}

/// Reads all journals and decides what is to be done with each. Nothing is changed.
///
/// # Errors
/// When one cannot be read.
pub fn survey(host: &Host, state: &StateDir) -> Result<Vec<Leftover>, JournalError> {
    let io = |error| JournalError::Io { path: state.path().to_owned(), action: "list", error };
    let mut all = Vec::new();
    for name in state.journals().map_err(io)? {
        let recorded = match journal::read(&state.journal(&name)) {
            Err(error) if error.is_gone() => continue,
            recorded => recorded?,
        };
        let verdict = match &recorded.header {
            None => Verdict::Discard,
            Some(_) if recorded.is_stale(host) => Verdict::Discard,
            Some(_) if recorded.kept => Verdict::Kept,
            Some(header) if header.owner.is_alive(host) => Verdict::Alive(header.owner),
            Some(_) => Verdict::Undo,
        };
        let steps = recorded.open_steps().map(|(_, undo)| undo.clone()).collect();
        let what = recorded.header.map(|header| header.what).unwrap_or_default();
        all.push(Leftover { name, what, verdict, steps });
    }
    Ok(all)
}

/// Undoes the steps of owners that are gone, and returns each journal with its report. With `force` also those of
/// an owner at work, which is ended first.
///
/// # Errors
/// When a journal cannot be read or written.
pub fn recover(
    host: &Host,
    state: &StateDir,
    force: bool,
) -> Result<Vec<(Leftover, Report)>, RecoverError> {
    let mut ended = Vec::new();
    if force {
        for found in survey(host, state)? {
            if let Verdict::Alive(owner) = found.verdict.clone() {
                let name = format!("vfiorun, \"{}\"", found.what);
                let step = Undo::of_process(owner, name);
                let ending = step.carry_out(host, state);
                ended.push((found, step, ending));
            }
        }
    }
    let mut all = Vec::new();
    for found in survey(host, state)? {
        let Some(mut report) = settle(host, state, &found)? else { continue };
        if let Some(position) = ended.iter().position(|(of, ..)| of.name == found.name) {
            let (_, step, ending) = ended.swap_remove(position);
            report.steps.insert(0, (step, ending));
        }
        all.push((found, report));
    }
    // These undid their steps themselves.
    all.extend(ended.into_iter().map(|(found, step, ending)| {
        let found = Leftover { verdict: Verdict::Undo, steps: Vec::new(), ..found };
        (found, Report { steps: vec![(step, ending)] })
    }));
    Ok(all)
}

/// What the owner of the journal `name` left when it was killed. `None` when there is nothing of the kind: what
/// an owner at work did, or one that ended on purpose, stays.
///
/// # Errors
/// When a journal cannot be read.
pub fn left_by(
    host: &Host,
    state: &StateDir,
    name: &str,
) -> Result<Option<Leftover>, JournalError> {
    let dead = |found: &Leftover| {
        found.name == name && matches!(found.verdict, Verdict::Undo | Verdict::Discard)
    };
    Ok(survey(host, state)?.into_iter().find(dead))
}

/// Undoes that. `None` when there was nothing, or somebody else has done it in the meantime.
///
/// # Errors
/// When a journal cannot be read or written.
pub fn recover_one(
    host: &Host,
    state: &StateDir,
    name: &str,
) -> Result<Option<(Leftover, Report)>, RecoverError> {
    let Some(found) = left_by(host, state, name)? else { return Ok(None) };
    Ok(settle(host, state, &found)?.map(|report| (found, report)))
}

/// Does with a journal what was decided. `None` when somebody else has done it in the meantime.
fn settle(host: &Host, state: &StateDir, found: &Leftover) -> Result<Option<Report>, RecoverError> {
    let mut journal = match found.verdict {
        Verdict::Kept | Verdict::Alive(_) => return Ok(Some(Report::default())),
        Verdict::Discard | Verdict::Undo => match Journal::open(host, state, &found.name) {
            Err(error) if error.is_gone() => return Ok(None),
            journal => journal?,
        },
    };
    if found.verdict == Verdict::Discard {
        journal.remove()?;
        return Ok(Some(Report::default()));
    }
    Ok(Some(lease::undo(host, state, &mut journal)?))
}

/// How one device is given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The device, as it is.
    pub device: PciDevice,
    /// The journal that says what it was before, if one does.
    pub journal: Option<String>,
    /// The writes; none when it is not on vfio-pci.
    pub writes: Vec<Write>,
}

/// Works out how a device is given back: as a journal says that it was before, or to whichever
/// driver wants it. Nothing is changed.
///
/// # Errors
/// When it cannot be read, is open, or belongs to an owner that is at work.
pub fn plan_release(
    host: &Host,
    state: &StateDir,
    address: PciAddress,
) -> Result<Release, RecoverError> {
    let device = PciDevice::read(host, address)?;
    let mut original = None;
    for found in survey(host, state)? {
        let step =
            found.steps.iter().find_map(|undo| undo.device().filter(|f| f.address == address));
        match (step, found.verdict) {
            (None, _) | (_, Verdict::Discard) => {}
            (Some(_), Verdict::Alive(owner)) => {
                return Err(RecoverError::Leased { address, what: found.what, owner });
            }
            (Some(step), Verdict::Kept | Verdict::Undo) => {
                original = Some((found.name, step.clone()));
            }
        }
    }
    if !is_on_vfio(&device) {
        return Ok(Release { device, journal: None, writes: Vec::new() });
    }
    // The kernel would wait for them, for ever, in the write to `unbind`.
    let users = users::of_device(host, &device);
    if !users.is_empty() {
        return Err(RecoverError::InUse { address, users });
    }
    Ok(match original {
        Some((journal, original)) if !original.driver.as_deref().is_some_and(is_vfio) => Release {
            writes: driver::writes_back(&device, &original),
            journal: Some(journal),
            device,
        },
        _ => Release { writes: driver::release_writes(&device), journal: None, device },
    })
}

/// Gives a device back, and says on which driver it is now; on none is no error.
///
/// # Errors
/// See [`RecoverError`].
pub fn release(
    host: &Host,
    state: &StateDir,
    address: PciAddress,
) -> Result<(Release, Option<String>), RecoverError> {
    let what = format!("release {address}");
    let lock = Lock::wait(state, &address.to_string(), &what, TIMEOUT, &mut |_| Wait::On)
        .map_err(|error| RecoverError::Lock { address, error })?;
    let host = &host.with_claims(vec![lock.claim().clone()]);
    let plan = plan_release(host, state, address)?;
    if plan.writes.is_empty() {
        let driver = plan.device.driver.clone();
        return Ok((plan, driver));
    }
    let failed = |error| RecoverError::Release { address, error };
    let Some(name) = &plan.journal else {
        let driver = driver::release(host, address).map_err(failed)?;
        return Ok((plan, driver));
    };
    let mut journal = Journal::open(host, state, name)?;
    let report = lease::undo_held(host, state, &mut journal, &|undo| {
        undo.device().is_some_and(|original| original.address == address)
    })?;
    if let Some((_, Ending::Failed(error))) = report.steps.into_iter().next() {
        return Err(RecoverError::Undo { address, error });
    }
    let driver = PciDevice::read(host, address)?.driver;
    Ok((plan, driver))
}

//! Runs a guest from its file to its end: examine, take the devices, start, supervise, give back.
//!
//! | module | subject |
//! |---|---|
//! | [`preflight`] | everything that is examined before, and the start as data |
//! | [`launch`] | the process of QEMU, between fork and exec |
//! | [`supervise`] | QEMU until it has ended |
//! | `stderr` | what QEMU writes to its standard error |
//! | [`signals`] | signals that are read instead of interrupting |
//! | [`record`] | which guests are running |

pub mod launch;
pub mod preflight;
pub mod record;
pub mod signals;
mod stderr;
pub mod supervise;

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{FileType, Mode, makedev, mknodat};

use crate::device::bind::journal::{JournalError, StepError};
use crate::device::bind::lease::{Lease, Report, TakeError};
use crate::device::bind::recover;
use crate::device::bind::undo::Undo;
use crate::device::bus::group::is_vfio;
use crate::device::bus::pci::{self, PciAddress, PciDevice};
use crate::device::bus::sriov::Token;
use crate::device::bus::vfio::{self, Interface, VfioError, WithToken};
use crate::device::causes::facts::{self, Known, Surroundings};
use crate::device::causes::{Failure, Reason, Step};
use crate::device::guest::file::{Guest, Hugepages, OnExit};
use crate::device::guest::memory::{self, MemoryError};
use crate::device::guest::qemu::argv::{Backing, MONITOR};
use crate::device::guest::token::{self, SharedToken};
use crate::device::sys::host::{Host, HostError, errno_text};
use crate::device::sys::kernel_log::Tail;
use crate::device::sys::kvm::{Kvm, KvmError};
use crate::device::sys::process::Process;
use crate::device::sys::state::StateDir;
use launch::{Launch, LaunchError};
use preflight::Start;
use record::Record;
use signals::Signals;
use supervise::{GuestExit, Notice};

/// What is reported while a guest is started, runs and is given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A step was made.
    Step(String),
    /// Something is wrong, and the start goes on.
    Warning(String),
    /// Something happened to the guest.
    Notice(Notice),
}

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

fn because(error: &VfioError, reason: Option<&Reason>) -> String {
    match (reason, error) {
        (Some(reason), _) => format!("; {}", reason.with_fix()),
        (None, VfioError::Group { .. } | VfioError::Device { .. } | VfioError::Iommu(_)) => {
            "; the kernel log says why".into()
        }
        (None, _) => String::new(),
    }
}

/// The step of a start that failed.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A step or its record failed.
    #[error(transparent)]
    Step(#[from] StepError),
    /// A record failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A node could not be made.
    #[error("make /{path}: {}", errno_text(.error))]
    Node {
        /// Its path.
        path: String,
        /// The reason.
        #[source]
        error: io::Error,
    },
    /// KVM cannot be used.
    #[error("{error}: {}", .error.fix())]
    Kvm {
        /// What it said.
        #[source]
        error: KvmError,
    },
    /// VFIO refuses the devices.
    #[error("{error}{}", because(.error, .reason.as_ref()))]
    Vfio {
        /// What it said.
        #[source]
        error: VfioError,
        /// Why, as far as that is known.
        reason: Option<Reason>,
    },
    /// There is no memory for it.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The guest's directory cannot be used.
    #[error("{}: {}", path.display(), errno_text(.error))]
    Directory {
        /// Its path.
        path: PathBuf,
        /// The reason.
        #[source]
        error: io::Error,
    },
    /// QEMU could not be started.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// QEMU could not be waited for.
    #[error("waiting for QEMU: {}", errno_text(.0))]
    Wait(#[source] io::Error),
    /// It was stopped before there was a guest.
    #[error("interrupted")]
    Interrupted,
}

/// What a guest is started with.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The system.
    pub host: &'a Host,
    /// Its state directory.
    pub state: &'a StateDir,
    /// The signals that stop it.
    pub signals: &'a Signals,
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
    let Context { host, state, signals } = context;
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
    record::remove(&record::directory(state, &guest.name));
    remove_socket(guest);
    let report = lease.release().map_err(RunError::Release)?;
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
    let Context { host, state, signals } = context;
    let devices = lease.devices().to_vec();
    prepare_devices(context, guest, start, lease)?;
    let backing = prepare_memory(host, guest, start, lease, notify)?;
    let cgroups = make_cgroups(host, start, lease, notify)?;
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
    };
    if signals.stop_wanted() {
        return Err(StartError::Interrupted);
    }
    let child = launch.start()?;
    // Between the fork and this record QEMU depends on our life: PR_SET_PDEATHSIG.
    if let (Some(qemu), Some(supervisor)) =
        (Process::with_pid(host, child.id()), Process::current(host))
    {
        let name = Path::new(&start.qemu).file_name().unwrap_or_default().to_string_lossy();
        lease.journal().record(Undo::of_process(qemu, name.into_owned()))?;
        let record = Record {
            format: record::FORMAT,
            name: guest.name.to_string(),
            file: file.display().to_string(),
            supervisor,
            qemu,
            since: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
            devices: devices.iter().map(|device| device.address.to_string()).collect(),
        };
        if let Err(error) = record::write(&launch.directory, &record) {
            let error = errno_text(&error);
            notify(&Progress::Warning(format!("{error}: vfiorun status does not show this guest")));
        }
    }
    notify(&Progress::Step(format!("{} started, pid {}", start.qemu, child.id())));
    supervise::supervise(child, &monitor, &guest.shutdown, signals, &mut |notice| {
        notify(&Progress::Notice(notice.clone()));
    })
    .map_err(StartError::Wait)
}

/// Asks KVM and VFIO for the devices, as QEMU will, and records their resets.
fn prepare_devices(
    context: Context<'_>,
    guest: &Guest,
    start: &Start,
    lease: &mut Lease,
) -> Result<(), StartError> {
    let Context { host, .. } = context;
    let devices = lease.devices().to_vec();
    let of_tokens: Vec<(&SharedToken, u32)> = start
        .tokens
        .iter()
        .filter(|shared| shared.users.is_empty())
        .filter_map(|shared| Some((shared, pci::iommu_group(host, shared.physical)?)))
        .collect();
    let of_devices = groups_of(&devices).into_iter();
    let groups: Vec<u32> = of_devices.chain(of_tokens.iter().map(|of| of.1)).collect();
    let physical = of_tokens.iter().map(|(shared, _)| shared.physical);
    let opened = devices.iter().map(|device| device.address).chain(physical).collect();
    make_nodes(host, start.interface, &groups, opened, lease)?;
    if start.kvm_unasked {
        let asked = Kvm::open(&host.path("dev/kvm")).and_then(|kvm| kvm.create_vm());
        let vm = asked.map_err(|error| StartError::Kvm { error })?;
        memory::fits(guest.memory.size, start.arch, vm.ipa_bits)?;
    }
    if let Some(parameter) = &start.parameter {
        lease.journal().set_attribute(&parameter.path, &parameter.value)?;
    }
    ask_vfio(context, guest, start, &devices, &of_tokens)?;
    // Not before: until here another guest may have them.
    for device in &devices {
        // So that nothing of ours is left in it, however QEMU ends.
        if host.exists(&pci::attribute(device.address, "reset")) {
            lease.journal().record(Undo::Reset { address: device.address })?;
        }
    }
    Ok(())
}

/// Sets the tokens of physical functions, and does with the devices what QEMU will.
fn ask_vfio(
    context: Context<'_>,
    guest: &Guest,
    start: &Start,
    devices: &[PciDevice],
    tokens: &[(&SharedToken, u32)],
) -> Result<(), StartError> {
    let Context { host, state, .. } = context;
    let log_end = Tail::open(host);
    // First, because through iommufd the devices are opened with them.
    let set = tokens.iter().try_for_each(|(shared, group)| {
        vfio::set_token(host, start.interface, (shared.physical, *group), shared.token)
    });
    let tried = set.and_then(|()| match start.interface {
        Interface::Container => vfio::try_groups(host, &groups_of(devices)),
        Interface::Iommufd => vfio::try_devices(host, &with_tokens(host, guest, start, devices)),
    });
    tried.map_err(|error| {
        let reason = why_refused(host, devices, &error, log_end);
        StartError::Vfio { error, reason }
    })?;
    for (shared, _) in tokens {
        token::store(state, shared)
            .map_err(|error| StartError::Directory { path: state.path().to_owned(), error })?;
    }
    Ok(())
}

/// The groups of devices, each once.
fn groups_of(devices: &[PciDevice]) -> Vec<u32> {
    let mut groups: Vec<u32> = devices.iter().filter_map(|device| device.iommu_group).collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}

/// The devices with the tokens that QEMU will open them with.
fn with_tokens(host: &Host, guest: &Guest, start: &Start, devices: &[PciDevice]) -> Vec<WithToken> {
    let named = start.devices(host, guest);
    let token = |address: PciAddress| {
        let given = named.iter().find(|(found, _)| *found == address);
        let shared = || start.tokens.iter().find(|shared| shared.devices.contains(&address));
        match given.and_then(|(_, device)| device.token()) {
            Some(given) => Token::parse(given),
            None => Some(shared()?.token),
        }
    };
    devices.iter().map(|device| (device.address, token(device.address))).collect()
}

/// What QEMU or the kernel said about a guest that did not run, or that QEMU ended with an error.
fn why_not_run(ended: &GuestExit, log_end: Tail) -> Option<Reason> {
    if ended.escalation.is_some() || (ended.ran && ended.status.success()) {
        return None;
    }
    let lines: Vec<String> = ended.said.iter().cloned().chain(log_end.lines()).collect();
    Failure { step: Step::Qemu, errno: None, lines: &lines, facts: &[] }.reason()
}

/// What is known of devices that VFIO does not give away.
fn why_refused(
    host: &Host,
    devices: &[PciDevice],
    error: &VfioError,
    log_end: Tail,
) -> Option<Reason> {
    let (step, error) = match error {
        VfioError::Open { error, .. } => (Step::Open, error),
        VfioError::Group { error, .. } | VfioError::Iommu(error) => (Step::Attach, error),
        VfioError::Device { error, .. } => (Step::Attach, error),
        VfioError::NotVfio(_)
        | VfioError::Version(_)
        | VfioError::NotViable(_)
        | VfioError::NoDeviceNode(_) => return None,
    };
    let around = Surroundings::default();
    let facts: Vec<Known> =
        devices.iter().flat_map(|device| facts::of(host, &around, device)).collect();
    let errno = error.raw_os_error();
    Failure { step, errno, lines: &log_end.lines(), facts: &facts }.reason()
}

/// Makes the nodes that neither the kernel nor ueventd made.
fn make_nodes(
    host: &Host,
    interface: Interface,
    groups: &[u32],
    devices: Vec<PciAddress>,
    lease: &mut Lease,
) -> Result<(), StartError> {
    for node in preflight::missing_nodes(host, interface, groups, &devices) {
        for directory in ["dev/vfio", "dev/vfio/devices"] {
            if Path::new(&node.path).parent().is_some_and(|parent| parent.starts_with(directory)) {
                lease.journal().make_directory(directory)?;
            }
        }
        let (major, minor) = node.number;
        lease.journal().record(Undo::Node { path: node.path.clone() })?;
        let made = mknodat(
            rustix::fs::CWD,
            host.path(&node.path),
            FileType::CharacterDevice,
            Mode::RUSR | Mode::WUSR,
            makedev(major, minor),
        );
        match made {
            // ueventd was faster.
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(StartError::Node { path: node.path, error: error.into() }),
        }
    }
    Ok(())
}

/// Sets what the guest's memory needs to be set, a step of the ladder lower when the kernel
/// cannot give that.
fn prepare_memory(
    host: &Host,
    guest: &Guest,
    start: &Start,
    lease: &mut Lease,
    notify: &mut dyn FnMut(&Progress),
) -> Result<Backing, StartError> {
    let Some(write) = &start.memory.write else { return Ok(start.memory.backing) };
    let error = match lease.journal().set_attribute(&write.path, &write.value) {
        Ok(_) => return Ok(start.memory.backing),
        Err(error) => error,
    };
    if guest.memory.hugepages == Hugepages::Hugetlb {
        return Err(error.into());
    }
    notify(&Progress::Warning(format!("{error}: the guest uses smaller pages")));
    if !matches!(start.memory.backing, Backing::Hugetlb(_)) {
        return Ok(start.memory.backing);
    }
    // What the kernel did put together is wanted back for ordinary pages, now.
    if let Some(Undo::Attribute { path, value }) = lease.journal().recorded().steps.last() {
        _ = host.write(path, value);
    }
    let plan = memory::fallback(
        host,
        guest.memory.size,
        guest.memory.hugepages,
        !lease.devices().is_empty(),
    )?;
    if let Some(write) = &plan.write
        && let Err(error) = lease.journal().set_attribute(&write.path, &write.value)
    {
        notify(&Progress::Warning(error.to_string()));
    }
    Ok(plan.backing)
}

/// Makes the control groups, and says which files to join them by. A group
/// that cannot be made is left out, with a warning.
fn make_cgroups(
    host: &Host,
    start: &Start,
    lease: &mut Lease,
    notify: &mut dyn FnMut(&Progress),
) -> Result<Vec<PathBuf>, StartError> {
    let mut join = Vec::new();
    for cgroup in &start.cgroups {
        match lease.journal().make_directory(&cgroup.directory) {
            Ok(_) => {}
            Err(StepError::Journal(error)) => return Err(error.into()),
            Err(error) => {
                notify(&Progress::Warning(format!("{error}: QEMU stays in our control group")));
                continue;
            }
        }
        let written: Result<(), HostError> =
            cgroup.writes.iter().try_for_each(|write| host.carry_out(write));
        match written {
            Ok(()) => join.push(host.path(&cgroup.join)),
            Err(error) => {
                notify(&Progress::Warning(format!("{error}: QEMU stays in our control group")));
            }
        }
    }
    Ok(join)
}

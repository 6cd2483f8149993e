//! What is made ready before QEMU is started: devices, nodes, memory, control groups.

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, makedev, mknodat};

use super::launch::LaunchError;
use super::preflight::{self, Start};
use super::restart::Restarts;
use super::signals::Signals;
use super::supervise::Notice;
use crate::device::bind::journal::{JournalError, StepError};
use crate::device::bind::lease::Lease;
use crate::device::bind::shared::{Shared, SharedError, Want};
use crate::device::bind::undo::Undo;
use crate::device::bus::pci::{self, PciAddress, PciDevice};
use crate::device::bus::sriov::Token;
use crate::device::bus::vfio::{self, Interface, VfioError, WithToken};
use crate::device::causes::facts::{self, Known, Surroundings};
use crate::device::causes::{Failure, Reason, Step};
use crate::device::guest::file::{Guest, Hugepages, Memory};
use crate::device::guest::memory::{self, MemoryError};
use crate::device::guest::qemu::argv::Backing;
use crate::device::guest::token::{self, SharedToken};
use crate::device::sys::host::{Host, HostError, errno_text};
use crate::device::sys::hugepages::Pool;
use crate::device::sys::kernel_log::Tail;
use crate::device::sys::kvm::{Kvm, KvmError};
use crate::device::sys::state::StateDir;

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
    /// An attribute that other guests change too does not have what it needs.
    #[error(transparent)]
    Shared(#[from] SharedError),
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

fn because(error: &VfioError, reason: Option<&Reason>) -> String {
    match (reason, error) {
        (Some(reason), _) => format!("; {}", reason.with_fix()),
        (None, VfioError::Group { .. } | VfioError::Device { .. } | VfioError::Iommu(_)) => {
            "; the kernel log says why".into()
        }
        (None, _) => String::new(),
    }
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
    /// The starts before this one.
    pub restarts: &'a Restarts,
    /// The log that our output goes to, instead of our standard output.
    pub log: Option<&'a Path>,
}

/// Asks KVM and VFIO for the devices, as QEMU will, and records their resets.
pub(super) fn prepare_devices(
    context: Context<'_>,
    guest: &Guest,
    start: &Start,
    lease: &mut Lease,
    notify: &mut dyn FnMut(&Progress),
) -> Result<(), StartError> {
    let devices = lease.devices().to_vec();
    open_devices(context, guest, start, lease, &devices, &start.tokens, notify)
}

/// The same for some of them, with the tokens of their physical functions.
pub(super) fn open_devices(
    context: Context<'_>,
    guest: &Guest,
    start: &Start,
    lease: &mut Lease,
    devices: &[PciDevice],
    tokens: &[SharedToken],
    notify: &mut dyn FnMut(&Progress),
) -> Result<(), StartError> {
    let Context { host, .. } = context;
    let of_tokens: Vec<(&SharedToken, u32)> = tokens
        .iter()
        .filter(|shared| shared.users.is_empty())
        .filter_map(|shared| Some((shared, pci::iommu_group(host, shared.physical)?)))
        .collect();
    let of_devices = groups_of(devices).into_iter();
    let groups: Vec<u32> = of_devices.chain(of_tokens.iter().map(|of| of.1)).collect();
    let physical = of_tokens.iter().map(|(shared, _)| shared.physical);
    let opened = devices.iter().map(|device| device.address).chain(physical).collect();
    make_nodes(host, start.interface, &groups, opened, lease)?;
    if start.kvm_unasked {
        let asked = Kvm::open(&host.path("dev/kvm")).and_then(|kvm| kvm.create_vm());
        let vm = asked.map_err(|error| StartError::Kvm { error })?;
        memory::fits(guest.memory.size, start.arch, vm.ipa_bits)?;
    }
    if guest.allow_unsafe_interrupts && host.exists(vfio::UNSAFE_INTERRUPTS) {
        let yes = Want::Value("Y".to_owned());
        share(context, guest, vfio::UNSAFE_INTERRUPTS, lease, notify, &mut |_| Ok(yes.clone()))?;
    }
    // Those that the guest has: QEMU has opened their groups.
    let own = lease.devices().iter().filter(|device| !devices.contains(device));
    let has: Vec<u32> = own.filter_map(|device| device.iommu_group).collect();
    ask_vfio(context, guest, start, devices, (tokens, &of_tokens), &has)?;
    // Not before: until here another guest may have them.
    for device in devices {
        // So that nothing of ours is left in it, however QEMU ends.
        if host.exists(&pci::attribute(device.address, "reset")) {
            lease.journal().record(Undo::Reset { address: device.address })?;
        }
    }
    Ok(())
}

/// Sets the tokens of physical functions, and does with the devices what QEMU will, but for those whose group
/// it `has` open.
fn ask_vfio(
    context: Context<'_>,
    guest: &Guest,
    start: &Start,
    devices: &[PciDevice],
    (tokens, to_set): (&[SharedToken], &[(&SharedToken, u32)]),
    has: &[u32],
) -> Result<(), StartError> {
    let Context { host, state, .. } = context;
    let log_end = Tail::open(host);
    // First, because through iommufd the devices are opened with them.
    let set = to_set.iter().try_for_each(|(shared, group)| {
        vfio::set_token(host, start.interface, (shared.physical, *group), shared.token)
    });
    let tried = set.and_then(|()| match start.interface {
        Interface::Container => {
            let mut groups = groups_of(devices);
            groups.retain(|group| !has.contains(group));
            vfio::try_groups(host, &groups)
        }
        Interface::Iommufd => {
            vfio::try_devices(host, &with_tokens(host, guest, start, tokens, devices))
        }
    });
    tried.map_err(|error| {
        let reason = why_refused(host, devices, &error, log_end);
        StartError::Vfio { error, reason }
    })?;
    for (shared, _) in to_set {
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
fn with_tokens(
    host: &Host,
    guest: &Guest,
    start: &Start,
    tokens: &[SharedToken],
    devices: &[PciDevice],
) -> Vec<WithToken> {
    let named = start.devices(host, guest);
    let token = |address: PciAddress| {
        let given = named.iter().find(|(found, _)| *found == address);
        let shared = || tokens.iter().find(|shared| shared.devices.contains(&address));
        match given.and_then(|(_, device)| device.token()) {
            Some(given) => Token::parse(given),
            None => Some(shared()?.token),
        }
    };
    devices.iter().map(|device| (device.address, token(device.address))).collect()
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
pub(super) fn prepare_memory(
    context: Context<'_>,
    guest: &Guest,
    start: &Start,
    lease: &mut Lease,
    notify: &mut dyn FnMut(&Progress),
) -> Result<Backing, StartError> {
    let Memory { size, hugepages, .. } = guest.memory;
    if let Backing::Hugetlb(page) = start.memory.backing {
        match take_pages(context, guest, page, lease, notify) {
            Ok(()) => return Ok(start.memory.backing),
            Err(error) if hugepages == Hugepages::Hugetlb => return Err(error),
            Err(error @ StartError::Journal(_)) => return Err(error),
            Err(error) => {
                notify(&Progress::Warning(format!("{error}: the guest uses smaller pages")));
            }
        }
    }
    let plan = memory::fallback(context.host, size, hugepages, !lease.devices().is_empty())?;
    if hugepages != Hugepages::None && memory::is_transparent_advised(context.host) {
        let wanted = Want::Value(memory::ADVISED.to_owned());
        match share(context, guest, memory::TRANSPARENT, lease, notify, &mut |_| Ok(wanted.clone()))
        {
            Err(error @ StartError::Journal(_)) => return Err(error),
            Err(error) => notify(&Progress::Warning(error.to_string())),
            Ok(()) => {}
        }
    }
    Ok(plan.backing)
}

/// Takes the huge pages that are free and that no other guest is about to take, and has the kernel make the
/// others.
fn take_pages(
    context: Context<'_>,
    guest: &Guest,
    page: u64,
    lease: &mut Lease,
    notify: &mut dyn FnMut(&Progress),
) -> Result<(), StartError> {
    let needed = guest.memory.size.0 / page;
    let pool = Pool::of(page);
    share(context, guest, &pool.count(), lease, notify, &mut |claimed| {
        let free = pool
            .free(context.host)
            .map_err(|error| MemoryError::NoHugetlb(Box::new(error.into())))?;
        let amount = needed.saturating_sub(free.saturating_sub(claimed));
        Ok(Want::More { amount, needed, pending: true })
    })
}

/// The guest has its huge pages: what is free now is for others.
pub(super) fn pages_are_taken(context: Context<'_>, guest: &Guest, page: u64) {
    let Context { host, state, .. } = context;
    let path = Pool::of(page).count();
    // Others then have pages made that they do not need, no more.
    _ = Shared::open(host, state, &path, "a guest that runs", &|| false, &mut |_| {})
        .and_then(|mut shared| shared.claim_ends(guest.name.as_str()));
}

/// Gives the guest what it wants of an attribute that other guests change too. `want` is asked when nobody
/// else does, with how much of what is free others have claimed.
fn share(
    context: Context<'_>,
    guest: &Guest,
    path: &str,
    lease: &mut Lease,
    notify: &mut dyn FnMut(&Progress),
    want: &mut dyn FnMut(u64) -> Result<Want, StartError>,
) -> Result<(), StartError> {
    let Context { host, state, signals, .. } = context;
    let owner = guest.name.as_str();
    let mut log = |line: &str| notify(&Progress::Step(line.to_owned()));
    let what = format!("run {owner}");
    let mut shared = Shared::open(host, state, path, &what, &|| signals.stops() > 0, &mut log)?;
    let want = want(shared.claimed())?;
    if shared.has(&want) {
        return Ok(());
    }
    lease.journal().record(Undo::Shared { path: path.to_owned(), owner: owner.to_owned() })?;
    shared.take(owner, want).map_err(|error| {
        // What the kernel could give is wanted for ordinary pages, now.
        _ = shared.give_back(owner);
        error.into()
    })
}

/// Makes the control groups, and says which files to join them by. A group
/// that cannot be made is left out, with a warning.
pub(super) fn make_cgroups(
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

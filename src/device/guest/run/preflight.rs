//! Everything that is examined before anything is changed, and what is going to be done.

use std::path::Path;

use super::awake::{self, Means};
use super::launch::CHROOT_DIRECTORY;
use super::record::{self, Record};
use crate::bootfile::DeviceSpec;
use crate::cmdline::Cmdline;
use crate::device::bind::plan::{
    self, Options as BindOptions, Plan, PlanError, Refusal as PlanRefusal,
};
use crate::device::bus::board::Board;
use crate::device::bus::group;
use crate::device::bus::pci::{self, PciAddress, PciDevice};
use crate::device::bus::usb::UsbDevice;
use crate::device::bus::users;
use crate::device::bus::vfio::{self, Interface, Node};
use crate::device::causes::facts::Fact;
use crate::device::guest::cgroup::{self, Cgroup};
use crate::device::guest::cpu::{self, CpuError};
use crate::device::guest::file::{Arch, Device, Guest, Missing, Needs, Size, socket_fits};
use crate::device::guest::memory::{self, MemoryError, MemoryPlan};
use crate::device::guest::qemu::argv::{Backing, CONTROL, HIGH_MEMORY, Resources};
use crate::device::guest::qemu::probe;
use crate::device::guest::qemu::{self, FindError, sandbox};
use crate::device::guest::token::{self, SharedToken};
use crate::device::sys::cpu_list;
use crate::device::sys::host::{Host, HostError, Write};
use crate::device::sys::inside;
use crate::device::sys::kernel_log;
use crate::device::sys::kvm::{self, Kvm, KvmError};
use crate::device::sys::state::StateDir;

/// What may be done that is refused otherwise, and what is not in the guest file.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Devices to take although the system needs them, by name.
    pub force: Vec<DeviceSpec>,
    /// Whether to try it on a protected KVM.
    pub allow_protected: bool,
    /// `PATH`.
    pub path: Option<String>,
    /// The machine this is, as `uname -m` has it.
    pub machine: String,
}

/// A reason not to start a guest: what is wrong, why that matters, what to do.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It runs already.
    #[error("guest \"{name}\" is running (pid {pid}): vfiorun stop {name}")]
    Running {
        /// Its name.
        name: String,
        /// Its supervisor.
        pid: u32,
    },
    /// No KVM for this processor.
    #[error("machine.arch: KVM runs only guests of its own architecture, and this machine is {0}")]
    Arch(String),
    /// KVM cannot be used.
    #[error("{error}: {}", .error.fix())]
    Kvm {
        /// What it said.
        #[source]
        error: KvmError,
    },
    /// There is no KVM, and the kernel log says why.
    #[error("there is no /dev/kvm: the kernel said \"{said}\": {fix}")]
    NoKvm {
        /// The line of the kernel log.
        said: String,
        /// What to do about it.
        fix: &'static str,
    },
    /// Another hypervisor has the processor's virtualisation.
    #[error(
        "{0} owns the processor's virtualisation (EL2), so that there is no KVM on this device: it needs a bootloader or firmware that starts the kernel at EL2"
    )]
    Hypervisor(&'static str),
    /// Protected KVM keeps memory of guests from the host, and with it from devices.
    #[error(
        "kvm-arm.mode=protected is on the kernel command line: protected KVM has no passthrough for ordinary guests on many kernels. Boot with kvm-arm.mode=nvhe"
    )]
    Protected,
    /// Nothing translates the DMA of devices.
    #[error(
        "no IOMMU: /sys/class/iommu and /sys/kernel/iommu_groups are empty, so that no device can be given away. The kernel needs a driver for this machine's IOMMU (vfioboot check says which), the device tree or firmware must describe it, and on x86 it may have to be enabled in the firmware's setup"
    )]
    NoIommu,
    /// The devices cannot be taken.
    #[error(transparent)]
    Devices(PlanError),
    /// There is no memory for it.
    #[error(transparent)]
    Memory(MemoryError),
    /// The choice of processors is impossible.
    #[error(transparent)]
    Cpu(CpuError),
    /// The processors are unknown.
    #[error("{0}")]
    Cpus(#[source] HostError),
    /// There is no QEMU.
    #[error(transparent)]
    Qemu(FindError),
    /// A file or an interface that the guest file names.
    #[error(transparent)]
    Missing(Missing),
    /// QEMU is too old for what the kernel has.
    #[error("{program} has no {what}: {reason}. It takes QEMU {since}")]
    OldQemu {
        /// Its path.
        program: String,
        /// What is missing.
        what: &'static str,
        /// Why it is needed.
        reason: &'static str,
        /// The first version that has it.
        since: &'static str,
    },
    /// The token of a physical function cannot be set, and is not known.
    #[error("{physical}: it is on vfio-pci, and its token was set by {}: give QEMU that one, with options = [\"vf-token=UUID\"] of the device in the guest file", users::text(&.0.users), physical = .0.physical)]
    Token(SharedToken),
}

/// What works, but not as well as it might.
#[derive(Debug, thiserror::Error)]
pub enum Warning {
    /// About a device.
    #[error(transparent)]
    Device(#[from] plan::Warning),
    /// A key of the guest file.
    #[error("{0}: no effect here")]
    NoEffect(&'static str),
    /// The guest has more processors than it may run on.
    #[error("cpus.count: {wanted} for a guest that runs on {} of one type ({})", usable.len(), cpu_list::format(usable))]
    FewCpus {
        /// The guest's processors.
        wanted: u32,
        /// The host's that it runs on.
        usable: Vec<u32>,
    },
}

/// How a guest is going to be started.
#[derive(Debug)]
pub struct Start {
    /// The reasons not to. The rest is then as good as it could be worked out.
    pub refusals: Vec<Refusal>,
    /// What works, but not as well as it might.
    pub warnings: Vec<Warning>,
    /// What QEMU emulates.
    pub arch: Arch,
    /// The path of QEMU, in the chroot if there is one.
    pub qemu: String,
    /// The devices on their way to vfio-pci.
    pub bind: Plan,
    /// The nodes that are missing. Groups that a device joins only when it is probed are not
    /// among them yet.
    pub nodes: Vec<Node>,
    /// Whether KVM could not be asked because its node is among them.
    pub kvm_unasked: bool,
    /// The guest's memory.
    pub memory: MemoryPlan,
    /// Another attribute to set.
    pub parameter: Option<Write>,
    /// The processors that it runs on; all when `None`.
    pub cpus: Option<Vec<u32>>,
    /// Its control groups.
    pub cgroups: Vec<Cgroup>,
    /// Where QEMU makes its sockets, as it sees that directory.
    pub directory: String,
    /// How devices are opened.
    pub interface: Interface,
    /// The tokens of physical functions on vfio-pci.
    pub tokens: Vec<SharedToken>,
    /// Whether QEMU filters its system calls.
    pub sandbox: bool,
    /// In a chroot: the nodes below `/dev` that QEMU gets besides the usual ones.
    pub chroot_nodes: Vec<String>,
    /// The USB devices that it gets when it runs.
    pub usb: Vec<UsbDevice>,
    /// What keeps the machine awake while the guest has devices.
    pub awake: Vec<Means>,
    /// The room for devices that the board has to have, in bytes, where its own is too small.
    pub high_memory: Option<u64>,
}

impl Start {
    /// Examines everything and works it out. Nothing is changed.
    pub fn new(host: &Host, state: &StateDir, guest: &Guest, options: &Options) -> Self {
        let needs = guest.needs();
        let mut examined =
            Examination { host, options, refusals: Vec::new(), warnings: Vec::new() };
        examined.running(state, guest.name.as_str());
        let arch = examined.arch(needs.arch);
        let kvm_unasked = examined.kvm(needs.memory, arch);
        let bind = examined.devices(&needs);
        let memory = examined.memory(&needs);
        let cpus = examined.cpus(&needs);
        let qemu = examined.qemu(guest, arch);
        let root = guest.chroot.as_deref().map(Path::new);
        examined.refusals.extend(needs.missing(host, root).into_iter().map(Refusal::Missing));
        let outside = record::directory(state, &guest.name);
        // The longest of them.
        let socket = outside.join(CONTROL).display().to_string();
        examined.refusals.extend(socket_fits("--state", &socket).map(Refusal::Missing));
        let interface = Interface::of(host);
        let tokens = examined.tokens(state, guest, &bind);
        examined.qemu_has(guest, &qemu, interface, &tokens);
        let high_memory = examined.high_memory(guest, &qemu, arch, &bind);
        examined.warnings.extend(guest.without_effect(arch).map(Warning::NoEffect));
        let groups: Vec<u32> = bind.groups.iter().map(|group| group.number).collect();
        let parameter = (needs.unsafe_interrupts
            && host.read(vfio::UNSAFE_INTERRUPTS).is_ok_and(|value| value != "Y"))
        .then(|| Write { path: vfio::UNSAFE_INTERRUPTS.to_owned(), value: "Y".to_owned() });
        let directory = match guest.chroot {
            Some(_) => CHROOT_DIRECTORY.to_owned(),
            None => outside.display().to_string(),
        };
        let program = inside::resolve(root.unwrap_or(Path::new("/")), &qemu, &[]);
        let program = program.strip_prefix("/").unwrap_or(&program);
        let sandbox = sandbox::is_there(&root.unwrap_or(Path::new("/")).join(program));
        let addresses = bind.addresses();
        let may_have = guest.takes_devices() || !needs.usb.is_empty();
        let awake = match needs.devices.is_empty() && !may_have {
            true => Vec::new(),
            false => awake::means(host, guest.name.as_str(), options.path.as_deref()),
        };
        Self {
            awake,
            high_memory,
            refusals: examined.refusals,
            warnings: examined.warnings,
            arch,
            qemu,
            nodes: missing_nodes(host, interface, &groups, &addresses),
            kvm_unasked,
            bind,
            memory,
            parameter,
            cgroups: cgroup::plan(host, guest.name.as_str(), cpus.as_deref()),
            cpus,
            directory,
            chroot_nodes: root.map(|root| needs.nodes(host, root)).unwrap_or_default(),
            interface,
            tokens,
            sandbox,
            usb: needs.usb.iter().filter_map(|spec| UsbDevice::find(host, spec).ok()).collect(),
        }
    }

    /// QEMU's arguments, without the program.
    pub fn argv(&self, host: &Host, guest: &Guest) -> Vec<String> {
        self.argv_with(host, guest, self.memory.backing)
    }

    /// QEMU's arguments for memory of these pages.
    pub(super) fn argv_with(&self, host: &Host, guest: &Guest, backing: Backing) -> Vec<String> {
        let resources = Resources {
            iommufd: self.interface == Interface::Iommufd,
            tokens: &self.tokens,
            sandbox: self.sandbox,
            high_memory: self.high_memory,
            ..Resources::new(self.arch, backing, &self.directory)
        };
        guest.arguments(&resources, &self.devices(host, guest))
    }

    /// The devices of the guest by address, each with its options. In a start that is refused
    /// also those that were not taken into the plan.
    pub fn devices<'g>(&self, host: &Host, guest: &'g Guest) -> Vec<(PciAddress, &'g Device)> {
        let present: Vec<(PciAddress, &Device)> = pci::enumerate(host)
            .unwrap_or_default()
            .iter()
            .filter_map(|found| {
                let named = guest.devices.iter().find(|device| found.matches(&device.spec))?;
                Some((found.address, named))
            })
            .collect();
        let absent = guest.devices.iter().filter_map(|device| match device.spec {
            DeviceSpec::Address { domain, bus, device: slot, function } => {
                let address = PciAddress { domain, bus, device: slot, function };
                let known = present.iter().any(|(found, _)| *found == address);
                (!known).then_some((address, device))
            }
            DeviceSpec::Id { .. } => None,
        });
        let absent: Vec<_> = absent.collect();
        present.into_iter().chain(absent).collect()
    }

    /// All that is written, made and started, as a shell would do it, in order. `chroot` is the guest's.
    pub fn steps(&self, chroot: Option<&str>) -> Vec<String> {
        let mut steps: Vec<String> = Vec::new();
        let writes = self.bind.moves.iter().flat_map(|a_move| &a_move.writes);
        steps.extend(writes.map(Write::to_string));
        for Node { path, number: (major, minor) } in &self.nodes {
            steps.push(format!("mknod -m 600 /{path} c {major} {minor}"));
        }
        steps.extend(self.awake.iter().map(Means::to_string));
        steps.extend(self.parameter.iter().chain(&self.memory.write).map(Write::to_string));
        for cgroup in &self.cgroups {
            steps.push(format!("mkdir /{}", cgroup.directory));
            steps.extend(cgroup.writes.iter().map(Write::to_string));
        }
        for shared in self.tokens.iter().filter(|shared| shared.users.is_empty()) {
            steps.push(format!("# {}: vf-token {}", shared.physical, shared.token));
        }
        let given = |device| format!("# USB {device}: given to the guest when it runs");
        steps.extend(self.usb.iter().map(given));
        if let Some(chroot) = chroot {
            let root = chroot.trim_end_matches('/');
            let bound = self.chroot_nodes.iter();
            steps.extend(bound.map(|node| format!("mount --bind {node} {root}{node}")));
        }
        steps
    }
}

/// The room for devices that the `virt` board has above its memory (`VIRT_HIGH_PCIE_MMIO`), in bytes.
const VIRT_ROOM: u64 = 512 << 30;

/// The nodes that QEMU will open and that are not there.
pub(super) fn missing_nodes(
    host: &Host,
    interface: Interface,
    groups: &[u32],
    devices: &[PciAddress],
) -> Vec<Node> {
    let mut nodes = match interface {
        Interface::Container => vfio::nodes(host, groups),
        Interface::Iommufd => vfio::device_nodes(host, devices),
    };
    nodes.retain(|node| !host.exists(&node.path));
    nodes
}

/// The examination before a start, and what it found.
struct Examination<'a> {
    host: &'a Host,
    options: &'a Options,
    refusals: Vec<Refusal>,
    warnings: Vec<Warning>,
}

impl Examination<'_> {
    fn running(&mut self, state: &StateDir, name: &str) {
        let other = |record: &&Record| record.name == name && !record.is_own(self.host);
        if let Some(running) = record::running(self.host, state).iter().find(other) {
            let pid = running.supervisor.pid;
            self.refusals.push(Refusal::Running { name: name.to_owned(), pid });
        }
    }

    /// The architecture of the guest: what it asks for, else that of the machine. One of them is
    /// shown where the machine has neither.
    fn arch(&mut self, wanted: Option<Arch>) -> Arch {
        let here = Arch::of_machine(&self.options.machine);
        let arch = wanted.or(here).unwrap_or(Arch::Aarch64);
        if here != Some(arch) {
            self.refusals.push(Refusal::Arch(self.options.machine.clone()));
        }
        arch
    }

    /// Whether there can be a VM; `true` when that cannot be asked yet.
    fn kvm(&mut self, memory: Size, arch: Arch) -> bool {
        let host = self.host;
        let no_node = !host.exists("dev/kvm");
        if no_node && host.exists(kvm::IN_SYSFS) {
            return true;
        }
        let other = kvm::OTHERS.iter().find(|(node, ..)| host.exists(node));
        match (Kvm::open(&host.path("dev/kvm")).and_then(|kvm| kvm.create_vm()), other) {
            (Ok(vm), _) => {
                let fits = memory::fits(memory, arch, vm.ipa_bits);
                self.refusals.extend(fits.err().map(Refusal::Memory));
            }
            (Err(_), Some((_, name, _))) => self.refusals.push(Refusal::Hypervisor(name)),
            (Err(error), None) => {
                let log =
                    if no_node { kernel_log::read(host).unwrap_or_default() } else { Vec::new() };
                self.refusals.push(match kvm::reason(&log) {
                    Some((said, fix)) => Refusal::NoKvm { said: said.to_owned(), fix },
                    None => Refusal::Kvm { error },
                });
            }
        }
        let cmdline = Cmdline::new(host.read("proc/cmdline").unwrap_or_default());
        if kvm::mode(&cmdline) == Some(kvm::PROTECTED) && !self.options.allow_protected {
            self.refusals.push(Refusal::Protected);
        }
        false
    }

    /// How the devices are moved to vfio-pci.
    fn devices(&mut self, needs: &Needs<'_>) -> Plan {
        let Needs { devices, hold, unsafe_interrupts, .. } = needs;
        let unsafe_interrupts = *unsafe_interrupts;
        let mut nothing = Plan::nothing();
        if devices.is_empty() && hold.is_empty() {
            return nothing;
        }
        let no_iommu = !group::any_iommu(self.host);
        if no_iommu {
            self.refusals.push(Refusal::NoIommu);
        }
        let options = BindOptions {
            force: self.options.force.clone(),
            hold: hold.to_vec(),
            ..BindOptions::default()
        };
        match Plan::new(self.host, devices, &options) {
            Ok(mut plan) => {
                let given = |warning: &plan::Warning| match warning {
                    plan::Warning::Cause { reason, .. } => {
                        unsafe_interrupts && reason.fact() == Some(Fact::SharedInterrupts)
                    }
                    _ => false,
                };
                let warnings = plan.warnings.drain(..).filter(|warning| !given(warning));
                self.warnings.extend(warnings.map(Warning::Device));
                nothing = plan;
            }
            Err(mut error) => {
                // Without an IOMMU none has a group, which is said already, unless the device tree
                // has more to say about it.
                let said = no_iommu && Board::read(self.host).is_none();
                error.refusals.retain(|refusal| {
                    let reason = match refusal {
                        PlanRefusal::Cause { reason, .. } => reason.fact(),
                        _ => None,
                    };
                    !(said && reason == Some(Fact::NoGroup))
                });
                if !error.refusals.is_empty() {
                    self.refusals.push(Refusal::Devices(error));
                }
            }
        }
        nothing
    }

    /// The tokens of the physical functions on vfio-pci that the devices belong to.
    fn tokens(&mut self, state: &StateDir, guest: &Guest, bind: &Plan) -> Vec<SharedToken> {
        let devices: Vec<_> = bind.moves.iter().map(|a_move| a_move.before.clone()).collect();
        let mut tokens = token::plan(self.host, state, &devices);
        // The user gives it.
        let given = |address: &PciAddress| {
            let device = devices.iter().find(|device| device.address == *address);
            let named =
                |found: &PciDevice| guest.devices.iter().find(|named| found.matches(&named.spec));
            device.and_then(named).and_then(Device::token).is_some()
        };
        tokens.iter_mut().for_each(|shared| shared.devices.retain(|address| !given(address)));
        tokens.retain(|shared| !shared.devices.is_empty());
        let unknown = tokens.iter().filter(|shared| !shared.known && !shared.users.is_empty());
        self.refusals.extend(unknown.cloned().map(Refusal::Token));
        tokens
    }

    /// Whether QEMU has what not every version has, where the guest needs it.
    fn qemu_has(
        &mut self,
        guest: &Guest,
        program: &str,
        interface: Interface,
        tokens: &[SharedToken],
    ) {
        let iommufd = interface == Interface::Iommufd && !guest.devices.is_empty();
        if !iommufd && tokens.is_empty() {
            return;
        }
        let root = guest.chroot.as_deref().map(Path::new);
        // One that does not run says so itself.
        let Some(has) = probe::vfio_abilities(program, root) else { return };
        let old = |what, reason, since| Refusal::OldQemu {
            program: program.to_owned(),
            what,
            reason,
            since,
        };
        if iommufd && !has.iommufd {
            let reason = "this kernel has no VFIO container (CONFIG_VFIO_CONTAINER), only iommufd";
            self.refusals.push(old("iommufd", reason, "9.0"));
        }
        if !tokens.is_empty() && !has.vf_token {
            let reason =
                "the physical function of a device is on vfio-pci, which asks for its token";
            self.refusals.push(old("vf-token", reason, "8.1"));
        }
    }

    /// The room that the `virt` board has to have for the devices, where its own is too small; of `q35` the
    /// firmware decides that.
    fn high_memory(
        &mut self,
        guest: &Guest,
        program: &str,
        arch: Arch,
        bind: &Plan,
    ) -> Option<u64> {
        let board = guest.machine.board(arch);
        let of = |address: PciAddress| pci::large_memory(self.host, address);
        let size = bind.addresses().into_iter().map(of).fold(0, u64::saturating_add);
        let size = size.checked_next_power_of_two()?;
        if size <= VIRT_ROOM || !board.starts_with("virt") {
            return None;
        }
        let root = guest.chroot.as_deref().map(Path::new);
        if probe::board_has(program, root, board, HIGH_MEMORY) == Some(false) {
            self.refusals.push(Refusal::OldQemu {
                program: program.to_owned(),
                what: HIGH_MEMORY,
                reason: "the devices have more memory than the 512 GiB that its board has room for",
                since: "10.0",
            });
            return None;
        }
        Some(size)
    }

    fn memory(&mut self, needs: &Needs<'_>) -> MemoryPlan {
        let Needs { memory, hugepages, devices, .. } = needs;
        let plan = memory::plan(self.host, *memory, *hugepages, !devices.is_empty());
        plan.unwrap_or_else(|error| {
            self.refusals.push(Refusal::Memory(error));
            MemoryPlan { backing: Backing::Anonymous, write: None }
        })
    }

    /// The processors that the guest runs on; all when `None`.
    fn cpus(&mut self, needs: &Needs<'_>) -> Option<Vec<u32>> {
        let Needs { cpus: count, cluster, .. } = needs;
        let types = match cpu::core_types(self.host) {
            Ok(types) => types,
            Err(error) => {
                self.refusals.push(Refusal::Cpus(error));
                return None;
            }
        };
        let chosen = cpu::choose(*count, cluster, &types).unwrap_or_else(|error| {
            self.refusals.push(Refusal::Cpu(error));
            None
        });
        let usable = match &chosen {
            Some(cpus) => cpus.clone(),
            None => types.iter().flat_map(|of| of.cpus.clone()).collect(),
        };
        if usable.len() < *count as usize {
            self.warnings.push(Warning::FewCpus { wanted: *count, usable });
        }
        chosen
    }

    fn qemu(&mut self, guest: &Guest, arch: Arch) -> String {
        qemu::find(guest, arch, self.options.path.as_deref()).unwrap_or_else(|error| {
            self.refusals.push(Refusal::Qemu(error));
            guest.qemu.clone().unwrap_or_else(|| format!("qemu-system-{}", arch.name()))
        })
    }
}

//! The nodes of devices that processes have open (`/proc/PID/fd`).

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use super::blocks::Blocks;
use super::carriers::{Carrier, Functions};
use super::need::{InUse, Need};
use crate::device::bus::group::Group;
use crate::device::bus::pci::PciAddress;
use crate::device::bus::users::User;
use crate::device::sys::host::Host;

/// Kinds of nodes whose drivers cannot let go of a device before they are closed, or whose users
/// lose more than an input: their subsystem.
const BINDING: &[&str] = &[
    "accel",
    "block",
    "cec",
    "drm",
    "dvb",
    "infiniband_verbs",
    "media",
    "nvidia",
    "nvme",
    "nvme-generic",
    "scsi_generic",
    "sound",
    "tty",
    "vfio",
    "video4linux",
    "wwan",
];

/// A node that is open.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Node {
    /// Its name below `dev/`.
    name: String,
    /// The kind and number of the device, where they can be asked.
    number: Option<(&'static str, String)>,
}

/// What is open, with the devices that it is on.
pub(crate) fn open_nodes(
    host: &Host,
    functions: &Functions,
    blocks: &Blocks,
) -> Vec<(Vec<Carrier>, InUse)> {
    let mut found = Vec::new();
    for (node, users) in all(host) {
        let Some((first, others)) = users.split_first() else { continue };
        let Some((carriers, subsystem)) = device_of(host, functions, blocks, &node) else {
            continue;
        };
        let need = Need::Open {
            process: first.clone(),
            node: format!("/dev/{}", node.name),
            more: others.len(),
            binds: BINDING.contains(&subsystem.as_str()),
        };
        found.push((carriers, InUse::new(need, format!("/proc/{}/fd", first.pid))));
    }
    found
}

/// The processes that have a device open, or one of its functions. Nothing of the device is opened or
/// waited for: the kernel may be keeping it locked.
pub(crate) fn open_by_processes(host: &Host, address: PciAddress) -> Vec<InUse> {
    let functions = Functions::read(host);
    let blocks = Blocks::read(host, &functions);
    let open = open_nodes(host, &functions, &blocks).into_iter();
    let of_device = |carriers: &[Carrier]| carriers.iter().any(|on| on.address == address);
    open.filter(|(carriers, _)| of_device(carriers)).map(|(_, used)| used).collect()
}

/// Every open node of a device and who has it. Our own are not among them.
fn all(host: &Host) -> BTreeMap<Node, Vec<User>> {
    let own = host.read("proc/self/stat").ok();
    let own = own.as_deref().and_then(|stat| stat.split(' ').next()).map(str::to_owned);
    let mut nodes: BTreeMap<Node, Vec<User>> = BTreeMap::new();
    for entry in host.list("proc").unwrap_or_default() {
        let Ok(pid) = entry.parse::<u32>() else { continue };
        if own.as_ref() == Some(&entry) {
            continue;
        }
        let mut user = None;
        for descriptor in fs::read_dir(host.path(format!("proc/{entry}/fd"))).into_iter().flatten()
        {
            let Ok(descriptor) = descriptor else { break };
            let Some(node) = node_of(host, &descriptor.path()) else { continue };
            let user = user.get_or_insert_with(|| User {
                pid,
                name: host.read(&format!("proc/{entry}/comm")).unwrap_or_default(),
            });
            let users = nodes.entry(node).or_default();
            if users.last().map(|user| user.pid) != Some(pid) {
                users.push(user.clone());
            }
        }
    }
    nodes
}

fn node_of(host: &Host, descriptor: &std::path::Path) -> Option<Node> {
    let target = fs::read_link(descriptor).ok()?;
    // Also in a chroot, or in a mount namespace with a /dev of its own.
    let (_, name) = target.to_str()?.split_once("/dev/")?;
    let name = name.trim_end_matches(" (deleted)").to_owned();
    if ["null", "zero", "full", "random", "urandom", "ptmx", "tty"].contains(&name.as_str())
        || name.starts_with("pts/")
        || name.starts_with("shm/")
    {
        return None;
    }
    let mut number = None;
    if host.is_running_system() {
        // What is open, not what has that name here.
        let found = fs::metadata(descriptor).ok()?;
        let kind = found.file_type();
        let directory = match (kind.is_block_device(), kind.is_char_device()) {
            (true, _) => "block",
            (_, true) => "char",
            _ => return None,
        };
        let device = found.rdev();
        let device = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
        number = Some((directory, device));
    }
    Some(Node { name, number })
}

/// The devices that a node is on, and its subsystem.
fn device_of(
    host: &Host,
    functions: &Functions,
    blocks: &Blocks,
    node: &Node,
) -> Option<(Vec<Carrier>, String)> {
    let Node { name, number } = node;
    if let Some(carriers) = of_vfio(host, functions, name) {
        return Some((carriers, "vfio".to_owned()));
    }
    if let Some(carriers) = of_nvidia(host, functions, name) {
        return Some((carriers, "nvidia".to_owned()));
    }
    let numbered = number.as_ref().and_then(|(kind, number)| {
        let path = format!("sys/dev/{kind}/{number}");
        Some((host.real(&path)?, host.link_name(&format!("{path}/subsystem")).ok()?))
    });
    let block = match &numbered {
        Some((place, _)) => blocks.at(place),
        None => blocks.called(host, &format!("dev/{name}")),
    };
    let carriers = match (block, &numbered) {
        (Some(block), _) => {
            let below = blocks.below(block).into_iter();
            let below = below.filter_map(|number| Some(blocks.get(number)?.carriers.clone()));
            return Some((below.flatten().collect(), "block".to_owned()));
        }
        (None, Some((place, subsystem))) => {
            (functions.carriers(place), subsystem.clone().unwrap_or_default())
        }
        (None, None) => by_class(host, functions, name)?,
    };
    Some(carriers).filter(|(carriers, _)| !carriers.is_empty())
}

/// A node by its name, which is that of a device of some class.
fn by_class(host: &Host, functions: &Functions, node: &str) -> Option<(Vec<Carrier>, String)> {
    let name = node.rsplit('/').next()?;
    host.list("sys/class").unwrap_or_default().into_iter().find_map(|class| {
        let carriers = functions.carriers(&host.real(&format!("sys/class/{class}/{name}"))?);
        (!carriers.is_empty()).then_some((carriers, class))
    })
}

/// `vfio/12` is a group, `vfio/devices/vfio3` a device: whoever has it open is a guest, or a
/// program that is its own driver.
fn of_vfio(host: &Host, functions: &Functions, node: &str) -> Option<Vec<Carrier>> {
    let node = node.strip_prefix("vfio/")?;
    if let Some(name) = node.strip_prefix("devices/") {
        return Some(functions.carriers(&host.real(&format!("sys/class/vfio-dev/{name}"))?));
    }
    let group = Group::read(host, node.parse().ok()?).ok()?;
    let addresses = group.members.iter().filter_map(|member| member.address);
    Some(addresses.flat_map(|address| functions.carriers_of(address)).collect())
}

/// NVIDIA's own driver has no entries in sysfs for its nodes.
fn of_nvidia(host: &Host, functions: &Functions, node: &str) -> Option<Vec<Carrier>> {
    const GPUS: &str = "proc/driver/nvidia/gpus";
    let minor = node.strip_prefix("nvidia").filter(|minor| minor.parse::<u32>().is_ok())?;
    let gpu = host.list(GPUS).ok()?.into_iter().find(|gpu| {
        host.read(&format!("{GPUS}/{gpu}/information")).is_ok_and(|text| {
            text.lines().any(|line| {
                line.strip_prefix("Device Minor:").is_some_and(|found| found.trim() == minor)
            })
        })
    })?;
    Some(functions.carriers_of(gpu.parse().ok()?).collect())
}

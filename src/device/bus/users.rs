//! The processes that have a device open: through VFIO, or by a node that its driver made.
//!
//! A driver that is unbound waits for them, or takes away what they are working with.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::device::bus::pci::{self, PciAddress, PciDevice};
use crate::device::sys::host::Host;

/// A process that has a device open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its pid.
    pub pid: u32,
    /// Its name, of at most 15 bytes (`/proc/PID/comm`).
    pub name: String,
    /// The node: `/dev/dri/card1`.
    pub node: String,
}

/// The classes whose nodes programs hold open to work with a device: the class, and the directory of
/// `/dev` that its nodes are in.
const CLASSES: &[(&str, &str)] = &[
    ("accel", "accel/"),
    ("block", ""),
    ("drm", "dri/"),
    ("dvb", ""),
    ("infiniband_verbs", "infiniband/"),
    ("media", ""),
    ("sound", "snd/"),
    ("tty", ""),
    ("vfio-dev", "vfio/devices/"),
    ("video4linux", ""),
];

/// How deep below a device its nodes are: those of a USB disk behind hubs are the deepest.
const DEPTH: usize = 16;

/// The nodes of a driver that are in no class, by the number of its device.
const NVIDIA: &str = "nvidia";

/// A node of a device.
#[derive(Debug)]
struct Node {
    /// Below `/dev`: `dri/card1`.
    name: String,
    block: bool,
    number: Option<(u32, u32)>,
}

/// The nodes that processes have open: one look at all of them, for any number of devices.
#[derive(Debug)]
pub(crate) struct OpenNodes(Vec<OpenNode>);

#[derive(Debug)]
struct OpenNode {
    pid: u32,
    path: PathBuf,
    /// Whether it is a block device, and its number; only on the running system.
    number: Option<(bool, u32, u32)>,
}

impl OpenNodes {
    /// Looks at all processes. Without root only one's own are seen.
    pub(crate) fn read(host: &Host) -> Self {
        let mut all = Vec::new();
        for entry in host.list("proc").unwrap_or_default() {
            let Ok(pid) = entry.parse() else { continue };
            let directory = format!("proc/{entry}/fd");
            for descriptor in host.list(&directory).unwrap_or_default() {
                let link = host.path(format!("{directory}/{descriptor}"));
                // Most are files, sockets and pipes.
                let Ok(path) = fs::read_link(&link) else { continue };
                if !path.components().any(|part| part.as_os_str() == "dev") {
                    continue;
                }
                let number = host.is_running_system().then(|| fs::metadata(&link).ok()).flatten();
                let number = number.and_then(|meta| {
                    let (kind, rdev) = (meta.file_type(), meta.rdev());
                    (kind.is_block_device() || kind.is_char_device()).then(|| {
                        let number = (rustix::fs::major(rdev), rustix::fs::minor(rdev));
                        (kind.is_block_device(), number.0, number.1)
                    })
                });
                all.push(OpenNode { pid, path, number });
            }
        }
        Self(all)
    }

    /// The processes that have the device open, each once.
    pub(crate) fn of(&self, host: &Host, device: &PciDevice) -> Vec<User> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let nodes = nodes(host, device);
        let mut users: Vec<User> = Vec::new();
        for open in &self.0 {
            let Some(node) = nodes.iter().find(|node| node.is(open)) else { continue };
            if users.iter().any(|user| user.pid == open.pid) {
                continue;
            }
            let name = host.read(&format!("proc/{}/comm", open.pid)).unwrap_or_default();
            users.push(User { pid: open.pid, name, node: format!("/dev/{}", node.name) });
        }
        users
    }
}

impl Node {
    /// By number; else by the end of the path, because a QEMU in a chroot sees a node elsewhere.
    fn is(&self, open: &OpenNode) -> bool {
        match (self.number, open.number) {
            (Some((major, minor)), Some(found)) => found == (self.block, major, minor),
            _ => open.path.ends_with(Path::new("dev").join(&self.name)),
        }
    }
}

/// The nodes of a device: those of its VFIO group, those that are in sysfs below it, and those of
/// drivers that show none there.
fn nodes(host: &Host, device: &PciDevice) -> Vec<Node> {
    let mut nodes = Vec::new();
    if let Some(group) = device.iommu_group {
        let number = number(host, &format!("sys/class/vfio/{group}/dev"));
        nodes.push(Node { name: format!("vfio/{group}"), block: false, number });
    }
    let place = format!("{}/{}", pci::DEVICES, device.address);
    below(host, &place, "", DEPTH, &mut nodes);
    if device.driver.as_deref() == Some(NVIDIA)
        && let Some(minor) = nvidia_minor(host, device.address)
    {
        nodes.push(Node { name: format!("nvidia{minor}"), block: false, number: None });
    }
    nodes
}

/// Adds the nodes of the classes above that are below a directory of sysfs. Devices of the PCI bus below
/// it are others.
fn below(host: &Host, directory: &str, class: &str, depth: usize, nodes: &mut Vec<Node>) {
    let entries = fs::read_dir(host.path(directory)).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if depth == 0 || name.parse::<PciAddress>().is_ok() {
            continue;
        }
        let place = format!("{directory}/{name}");
        // A class has a directory of its name between a device and what it made.
        let known = CLASSES.iter().find(|(class, _)| *class == name).map(|(class, _)| *class);
        let class = known.unwrap_or(class);
        if let Some(number) = number(host, &format!("{place}/dev")) {
            let block = host.exists(&format!("sys/class/block/{name}"));
            let class = if block { "block" } else { class };
            if let Some((_, prefix)) = CLASSES.iter().find(|(known, _)| *known == class) {
                let name = format!("{prefix}{name}");
                nodes.push(Node { name, block, number: Some(number) });
            }
        }
        below(host, &place, class, depth - 1, nodes);
    }
}

fn number(host: &Host, path: &str) -> Option<(u32, u32)> {
    let text = host.read(path).ok()?;
    let (major, minor) = text.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The number of NVIDIA's driver for a device; its nodes are not in sysfs.
fn nvidia_minor(host: &Host, address: PciAddress) -> Option<u32> {
    let text = host.read(&format!("proc/driver/nvidia/gpus/{address}/information")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("Device Minor:")?.trim().parse().ok())
}

/// The processes that have a device open.
pub(crate) fn of_device(host: &Host, device: &PciDevice) -> Vec<User> {
    OpenNodes::read(host).of(host, device)
}

/// `qemu-system-aar (pid 1234, /dev/vfio/7)`, several with commas.
pub(crate) fn text(users: &[User]) -> String {
    let names: Vec<String> = users
        .iter()
        .map(|User { pid, name, node }| format!("{name} (pid {pid}, {node})"))
        .collect();
    names.join(", ")
}

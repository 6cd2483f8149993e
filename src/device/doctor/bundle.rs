//! What the examination reads, packed: a tar of a tree for `--sysroot`, so that another machine can
//! judge this one, by the rules of this one's architecture.
//!
//! Only what is listed here is packed. Addresses of network cards, serial numbers, names of hosts and
//! people, keys and values of unknown parameters are not, and the bundle says so.

mod scrub;
mod tar;
mod unpack;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::recorded;
use crate::device::bus::group::{GROUPS, IOMMUS};
use crate::device::bus::pci;
use crate::device::sys::device_tree;
use crate::device::sys::host::Host;
use crate::device::sys::kernel_log;
use crate::device::sys::machine;
use tar::Item;
pub use tar::Malformed;
pub use unpack::{UnpackError, Unpacked};

/// A file longer than this is not what it should be.
const FILE_LIMIT: u64 = 1 << 20;

/// A tree, packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// The tar archive.
    pub tar: Vec<u8>,
    /// How many files and links are in it.
    pub entries: usize,
    /// What was left out.
    pub left_out: Vec<String>,
}

/// Texts as they are.
const FILES: &[&str] = &[
    "proc/devices",
    "proc/meminfo",
    "proc/self/attr/current",
    "proc/sys/kernel/osrelease",
    "sys/devices/system/cpu/online",
    "sys/firmware/devicetree/base/model",
    "sys/fs/selinux/enforce",
    "sys/kernel/mm/transparent_hugepage/enabled",
    "sys/class/misc/iommu/dev",
    "sys/class/misc/kvm/dev",
    "sys/class/misc/vfio/dev",
];

/// Nodes that are there or not; what they answer is recorded.
const NODES: &[&str] = &["dev/gunyah", "dev/gzvm", "dev/iommu", "dev/kvm", "dev/vfio/vfio"];

/// Attributes of each PCI device.
const DEVICE: &[&str] = &[
    "boot_vga",
    "class",
    "d3cold_allowed",
    "device",
    "enable",
    "irq",
    "power/control",
    "power/runtime_status",
    "power_state",
    "reset",
    "reset_method",
    "resource",
    "revision",
    "sriov_totalvfs",
    "subsystem_device",
    "subsystem_vendor",
    "vendor",
];

/// Attributes of each PCI device that the kernel reads under the device's lock (`driver_override_show`,
/// `sriov_numvfs_show` in `drivers/pci`).
const LOCKED: &[&str] = &["driver_override", "sriov_numvfs"];

/// Links of each PCI device, and of all that they are below.
const LINKS: &[&str] = &["driver", "iommu_group", "of_node", "physfn"];

/// Attributes of what drivers make of a device.
const CHILD: &[&str] =
    &["carrier", "dev", "enabled", "operstate", "partition", "removable", "ro", "status"];

/// The classes whose members tell what a device is used for. Disks may be made of others; of the
/// rest only what is on a PCI device is packed, because people name what is not.
const CLASSES: &[&str] = &[
    BLOCK,
    "drm",
    "graphics",
    "input",
    "net",
    "nvme",
    "sound",
    "tty",
    "video4linux",
    "vfio",
    "wwan",
];

const BLOCK: &str = "block";

/// Properties of a device tree's nodes.
const PROPERTIES: &[&str] = &[
    "#iommu-cells",
    "#msi-cells",
    "compatible",
    "device_type",
    "dma-coherent",
    "dma-noncoherent",
    "iommu-map",
    "iommu-map-mask",
    "iommus",
    "linux,pci-domain",
    "linux,phandle",
    "msi-controller",
    "msi-map",
    "msi-map-mask",
    "msi-parent",
    "phandle",
    "status",
];

/// What was left out of every bundle.
const NEVER: &[&str] = &[
    "addresses of network cards, IP addresses and routes",
    "serial numbers and unique names of disks, boards and processors",
    "names of hosts, users, processes, volumes and mount points, and all network filesystems",
    "the kernel log, but for lines about IOMMU, interrupts, PCI power, KVM and VFIO",
];

/// Packs what is read on this system. Nothing is changed.
pub fn pack(host: &Host) -> Bundle {
    let checks = super::look(host);
    let mut packer = Packer {
        host,
        root: host.path("").canonicalize().unwrap_or_default(),
        items: BTreeMap::new(),
    };
    packer.system();
    packer.processors();
    packer.buses();
    packer.devices();
    packer.classes();
    packer.device_tree();
    let mut left_out: Vec<String> = NEVER.iter().map(|text| (*text).to_owned()).collect();
    left_out.extend(packer.command_line());
    let record = recorded::record(&checks, machine::of(host), left_out.clone());
    let record = serde_json::to_vec_pretty(&record).unwrap_or_default();
    packer.put(recorded::FILE, Item::File(record));
    packer.put(machine::UNAME, Item::File(format!("{}\n", machine::of(host)).into_bytes()));
    let entries = packer.items.len();
    Bundle { tar: tar::write(&packer.items), entries, left_out }
}

struct Packer<'h> {
    host: &'h Host,
    /// The root, without links.
    root: PathBuf,
    /// By path: each once, directories before what is in them.
    items: BTreeMap<String, Item>,
}

impl Packer<'_> {
    fn put(&mut self, path: &str, item: Item) {
        self.items.insert(scrub::text(path), item);
    }

    /// Where a directory really is, relative to the root; sysfs reaches it through links.
    fn real(&self, directory: &str) -> Option<String> {
        let real = self.host.path(directory).canonicalize().ok()?;
        real.strip_prefix(&self.root).ok()?.to_str().map(str::to_owned)
    }

    /// A file of text, and whether it is there.
    fn file(&mut self, directory: &str, name: &str) {
        let path = format!("{directory}/{name}");
        let Some(bytes) = self.host.bytes(&path, FILE_LIMIT) else { return };
        let text = scrub::text(&String::from_utf8_lossy(&bytes));
        let bytes = if text.contains('\u{fffd}') { bytes } else { text.into_bytes() };
        self.put(&path, Item::File(bytes));
    }

    /// Attributes of devices that are not waited for where the kernel keeps the device locked.
    fn locked(&mut self, devices: &[String]) {
        let of = |name: &'static str| devices.iter().map(move |device| format!("{device}/{name}"));
        let paths: Vec<String> = LOCKED.iter().copied().flat_map(of).collect();
        for (path, read) in paths.iter().zip(self.host.read_locked(&paths)) {
            if let Ok(text) = read {
                self.put(path, Item::File(format!("{}\n", scrub::text(&text)).into_bytes()));
            }
        }
    }

    fn files(&mut self, directory: &str, names: &[&str]) {
        for name in names {
            self.file(directory, name);
        }
    }

    /// A link, if it is one and does not lead out of the tree.
    fn link(&mut self, directory: &str, name: &str) {
        let path = format!("{directory}/{name}");
        let Ok(target) = fs::read_link(self.host.path(&path)) else { return };
        if target.is_relative() {
            let target = scrub::text(&target.to_string_lossy());
            self.put(&path, Item::Link(target.into()));
        }
    }

    fn list(&self, directory: &str) -> Vec<String> {
        self.host.list(directory).unwrap_or_default()
    }

    fn system(&mut self) {
        for path in FILES {
            if let Some((directory, name)) = path.rsplit_once('/') {
                self.file(directory, name);
            }
        }
        for node in NODES {
            if self.host.exists(node) {
                self.put(node, Item::File(Vec::new()));
            }
        }
        let own = self.host.read("proc/self/status").unwrap_or_default();
        let own =
            own.lines().filter(|line| ["Uid:", "CapEff:"].iter().any(|n| line.starts_with(n)));
        let own: String = own.map(|line| format!("{line}\n")).collect();
        self.put("proc/self/status", Item::File(own.into_bytes()));
        if let Some(config) = self.host.bytes("proc/config.gz", FILE_LIMIT) {
            self.put("proc/config.gz", Item::File(config));
        }
        for (path, keep) in [
            ("proc/interrupts", scrub::interrupt as fn(&str) -> Option<String>),
            ("proc/cpuinfo", scrub::processor),
            ("proc/iomem", scrub::memory),
            ("proc/self/mountinfo", scrub::mount),
            ("proc/swaps", scrub::swap),
        ] {
            let mut text = String::new();
            self.host.each_line(path, &mut |line| {
                text.extend(keep(line).map(|line| scrub::text(&line) + "\n"));
            });
            if !text.is_empty() {
                self.put(path, Item::File(text.into_bytes()));
            }
        }
        let log = kernel_log::read(self.host).unwrap_or_default();
        let lines = log.iter().filter_map(|message| {
            let level = if message.warns { 4 } else { 6 };
            Some(format!("{level},0,0,-;{}\n", scrub::text(&scrub::message(&message.text)?)))
        });
        self.put("dev/kmsg", Item::File(lines.collect::<String>().into_bytes()));
    }

    /// Returns what was left out of the command line.
    fn command_line(&mut self) -> Option<String> {
        let line = self.host.read("proc/cmdline").ok()?;
        let (line, left_out) = scrub::command_line(line);
        self.put("proc/cmdline", Item::File(format!("{}\n", scrub::text(&line)).into_bytes()));
        (!left_out.is_empty())
            .then(|| format!("values of command line parameters: {}", left_out.join(", ")))
    }

    fn processors(&mut self) {
        const CPUS: &str = "sys/devices/system/cpu";
        for name in self.list(CPUS) {
            let number = name.strip_prefix("cpu").unwrap_or_default();
            if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) {
                let files =
                    ["cpu_capacity", "cpufreq/cpuinfo_max_freq", "regs/identification/midr_el1"];
                self.files(&format!("{CPUS}/{name}"), &files);
            }
        }
    }

    /// Drivers, modules, IOMMUs and groups.
    fn buses(&mut self) {
        for directory in ["sys/bus/pci/drivers", "sys/module"] {
            for name in self.list(directory) {
                self.put(&format!("{directory}/{name}"), Item::Directory);
            }
        }
        for module in self.list("sys/module") {
            if ["vfio", "kvm", "iommu"].iter().any(|prefix| module.starts_with(prefix)) {
                let directory = format!("sys/module/{module}/parameters");
                for name in self.list(&directory) {
                    self.file(&directory, &name);
                }
            }
        }
        for unit in self.list(IOMMUS) {
            let from = format!("{IOMMUS}/{unit}");
            self.put(&from, Item::Directory);
            for kind in ["intel-iommu", "amd-iommu"] {
                self.files(&format!("{from}/{kind}"), &["cap", "ecap", "features", "version"]);
            }
        }
        for number in self.list(GROUPS) {
            let group = format!("{GROUPS}/{number}");
            self.files(&group, &["name", "reserved_regions", "type"]);
            for member in self.list(&format!("{group}/devices")) {
                self.link(&format!("{group}/devices"), &member);
                let member = format!("{group}/devices/{member}");
                if let Some(real) = self.real(&member) {
                    self.put(&real, Item::Directory);
                    self.link(&real, "driver");
                }
            }
        }
    }

    fn devices(&mut self) {
        let mut places = Vec::new();
        for address in self.list(pci::DEVICES) {
            self.link(pci::DEVICES, &address);
            let Some(real) = self.real(&format!("{}/{address}", pci::DEVICES)) else { continue };
            self.put(&real, Item::Directory);
            self.files(&real, DEVICE);
            // The header, and none of the capabilities behind it: one has the serial number.
            if let Some(header) = self.host.bytes(&format!("{real}/config"), 64) {
                self.put(&format!("{real}/config"), Item::File(header));
            }
            if self.host.exists(&format!("{real}/rom")) {
                self.put(&format!("{real}/rom"), Item::File(Vec::new()));
            }
            for irq in self.list(&format!("{real}/msi_irqs")) {
                self.file(&format!("{real}/msi_irqs"), &irq);
                self.files(&format!("sys/kernel/irq/{irq}"), &["chip_name"]);
            }
            for name in self.list(&real) {
                if name.starts_with("virtfn") {
                    self.link(&real, &name);
                }
            }
            for above in Path::new(&real).ancestors().filter_map(Path::to_str) {
                for name in LINKS {
                    self.link(above, name);
                }
                if above.ends_with("sys/devices") || above.is_empty() {
                    break;
                }
            }
            places.push(real);
        }
        self.locked(&places);
    }

    /// What drivers made of the devices: disks, interfaces, screens.
    fn classes(&mut self) {
        for class in CLASSES {
            let directory = format!("sys/class/{class}");
            for name in self.list(&directory) {
                let Some(real) = self.real(&format!("{directory}/{name}")) else { continue };
                if *class != BLOCK && !real.contains("/pci") && *class != "vfio" {
                    continue;
                }
                self.link(&directory, &name);
                self.put(&real, Item::Directory);
                self.files(&real, CHILD);
                self.link(&real, "device");
                for inner in ["slaves", "holders"] {
                    for link in self.list(&format!("{real}/{inner}")) {
                        self.link(&format!("{real}/{inner}"), &link);
                    }
                }
            }
        }
    }

    fn device_tree(&mut self) {
        for node in device_tree::nodes(self.host) {
            let directory = format!("{}/{}", device_tree::BASE, node.path);
            let matters = |name: &&'static str| {
                !["compatible", "phandle", "linux,phandle", "status"].contains(name)
                    && node.has(self.host, name)
            };
            let named = ["pcie@", "pci@", "iommu@"].iter().any(|n| node.name().starts_with(n));
            if !named && !PROPERTIES.iter().any(matters) {
                continue;
            }
            for name in PROPERTIES {
                if let Some(bytes) = node.bytes(self.host, name) {
                    self.put(&format!("{directory}/{name}"), Item::File(bytes));
                }
            }
        }
    }
}

//! The first file of a guest, for the machine that it is written on.
//!
//! | module | subject |
//! |---|---|
//! | `firmware` | which firmware there is |
//! | [`seed`] | what cloud-init sets up at the first boot |

mod firmware;
pub mod seed;

use std::fs::File;
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::bootfile::DeviceSpec;
use crate::device::bind::plan::{Options, Plan, Refusal};
use crate::device::bus::names::Names;
use crate::device::bus::pci::{self, PciAddress, PciDevice};
use crate::device::guest::cpu;
use crate::device::guest::file::{Arch, Cluster, Name, Size};
use crate::device::guest::memory;
use crate::device::sys::cpu_list;
use crate::device::sys::host::Host;
use firmware::Firmware;
use seed::Login;

/// The most that a guest gets when nobody says how much.
const MOST_MEMORY: u64 = 4 << 30;
const MOST_CPUS: usize = 4;
/// The host's ports that are tried for the guest's SSH.
const PORTS: core::ops::Range<u16> = 2222..2322;

/// What is wanted of a guest.
#[derive(Clone, Debug)]
pub struct Wish {
    /// What it is called.
    pub name: Name,
    /// Its architecture.
    pub arch: Arch,
    /// Its disks, as QEMU finds them.
    pub disks: Vec<String>,
    /// The devices of the host for it.
    pub devices: Vec<DeviceSpec>,
    /// QEMU's root directory, if it has one of its own.
    pub chroot: Option<String>,
    /// Who can log in, where its disk has cloud-init.
    pub login: Option<Login>,
}

/// A guest file, and the files that it needs besides.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Its text.
    pub text: String,
    /// What has to be made, each where QEMU finds it by the name in the text.
    pub files: Vec<Made>,
    /// What is missing on this machine for it to boot.
    pub missing: Option<String>,
}

/// A file that has to be made.
#[derive(Clone, Debug)]
pub struct Made {
    /// Where.
    pub path: PathBuf,
    /// What is in it.
    pub content: Content,
}

/// What is in a file.
#[derive(Clone, Debug)]
pub enum Content {
    /// The same as in this one.
    CopyOf(PathBuf),
    /// This.
    Bytes(Vec<u8>),
}

impl Draft {
    /// Writes the file for this machine. `directory` is where it will be.
    pub fn new(host: &Host, wish: &Wish, directory: &Path) -> Self {
        let root = wish.chroot.as_deref().map(Path::new);
        // In a chroot the paths of the file are those inside, and its own directory is outside.
        let inside = root.and(wish.disks.first()).and_then(|disk| Path::new(disk).parent());
        let mut draft = Drafting {
            host,
            wish,
            text: String::new(),
            files: Vec::new(),
            missing: None,
            inside: inside.map(Path::to_owned),
            directory: match (root, inside) {
                (Some(root), Some(inside)) => root.join(inside.strip_prefix("/").unwrap_or(inside)),
                (Some(root), None) => root.to_owned(),
                (None, _) => directory.to_owned(),
            },
        };
        draft.head();
        draft.devices();
        draft.machine();
        draft.memory_and_cpus();
        draft.disks();
        draft.network();
        Self { text: draft.text, files: draft.files, missing: draft.missing }
    }
}

/// A text of TOML.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

struct Drafting<'a> {
    host: &'a Host,
    wish: &'a Wish,
    text: String,
    files: Vec<Made>,
    missing: Option<String>,
    /// Where files are that QEMU finds in a chroot.
    inside: Option<PathBuf>,
    /// Where files are made.
    directory: PathBuf,
}

impl Drafting<'_> {
    /// Adds a line, with a comment unless that is empty.
    fn line(&mut self, text: &str, comment: &str) {
        let comment = if comment.is_empty() { String::new() } else { format!("  # {comment}") };
        self.text += &format!("{text}{comment}\n");
    }

    /// A file of this name beside the others; returns what the guest file calls it.
    fn make(&mut self, end: &str, content: Content) -> String {
        let file = format!("{}-{end}", self.wish.name);
        self.files.push(Made { path: self.directory.join(&file), content });
        match (&self.inside, &self.wish.chroot) {
            (Some(inside), _) => inside.join(file).display().to_string(),
            (None, Some(_)) => format!("/{file}"),
            (None, None) => file,
        }
    }

    fn head(&mut self) {
        let name = &self.wish.name;
        self.text = format!(
            "# Written by `vfiorun guest new`. Every key there is: docs/guest.toml.\n\
             # vfiorun guest check {name}.toml examines it, vfiorun run {name}.toml starts it.\n\
             name = \"{name}\"\n\
             # autostart = true        # vfiorun autostart, and the service, start it\n\
             # restart = \"on-failure\"  # again when it panicked, or QEMU failed\n"
        );
        if let Some(chroot) = &self.wish.chroot {
            self.line(&format!("chroot = {}", quoted(chroot)), "QEMU's root directory");
        }
    }

    fn devices(&mut self) {
        let (taken, held) = whole_groups(self.host, &self.wish.devices);
        let known = pci::enumerate(self.host).unwrap_or_default();
        let ids: Vec<_> = known.iter().map(|device| (device.vendor, device.device)).collect();
        let names = Names::find(self.host, &ids);
        let about = |spec: &DeviceSpec| {
            let found = known.iter().find(|device| device.matches(spec));
            found.map(|device| about(self.host, &names, device)).unwrap_or_default()
        };
        let taken: Vec<_> = taken.iter().map(|spec| (spec, about(spec))).collect();
        let held: Vec<_> = held.iter().map(|spec| (spec, about(spec))).collect();
        if !taken.is_empty() {
            self.line("devices = [", "");
            for (spec, about) in taken {
                self.line(&format!("    \"{spec}\","), &about);
            }
            self.line("]", "");
        }
        if !held.is_empty() {
            self.line(
                "# In the same IOMMU groups: taken from the host, and not for the guest.",
                "",
            );
            self.line("hold = [", "");
            for (spec, about) in held {
                self.line(&format!("    \"{spec}\","), &about);
            }
            self.line("]", "");
        }
    }

    fn machine(&mut self) {
        let arch = self.wish.arch;
        let (board, package) = match arch {
            Arch::Aarch64 => ("virt", "qemu-efi-aarch64"),
            Arch::X86_64 => ("q35", "ovmf"),
        };
        self.line(&format!("\n[machine]\ntype = \"{board}\""), "");
        self.line("\n[boot]", "");
        let root = Path::new(self.wish.chroot.as_deref().unwrap_or("/"));
        // A tree that stands for a system has its own.
        let root = if self.wish.chroot.is_none() { self.host.path("") } else { root.to_owned() };
        match Firmware::find(&root, arch) {
            Some(Firmware { code, variables }) => {
                let template = root.join(variables.trim_start_matches('/'));
                let own = self.make("vars.fd", Content::CopyOf(template));
                self.line(&format!("firmware = {}", quoted(&code)), "UEFI");
                self.line(
                    &format!("firmware_variables = {}", quoted(&own)),
                    "this guest's own, written to",
                );
            }
            None => {
                let without = match arch {
                    Arch::Aarch64 => "Without firmware it boots only a kernel",
                    Arch::X86_64 => "QEMU's own BIOS",
                };
                // QEMU brings none along for this board.
                self.missing = (arch == Arch::Aarch64).then(|| {
                    format!("there is no UEFI firmware for its disks to boot: install it (Debian: {package}), or name a kernel")
                });
                self.line(
                    &format!(
                        "# {without}: Debian has UEFI in {package}.\n# kernel = \"/boot/vmlinuz\""
                    ),
                    "",
                );
            }
        }
    }

    fn memory_and_cpus(&mut self) {
        let available = memory::available(self.host).unwrap_or(1 << 30);
        let half = (available.saturating_sub(memory::MARGIN) / 2).min(MOST_MEMORY) / Size::MIB;
        let step = if half >= 512 { 256 } else { 64 };
        let size = (half / step * step).max(64);
        self.line(
            &format!("\n[memory]\nsize = \"{size}M\""),
            &format!("of {} MiB that are available", available / Size::MIB),
        );
        let types = cpu::core_types(self.host).unwrap_or_default();
        // A type with one processor alone is no machine.
        let several = types.iter().find(|of| of.cpus.len() > 1).or(types.first());
        let count = several.map_or(1, |of| of.cpus.len().min(MOST_CPUS));
        let chosen = cpu::choose(count as u32, &Cluster::Any, &types).ok().flatten();
        let comment = match (chosen, several) {
            (Some(cpus), Some(of)) => {
                format!(
                    "on CPUs {} of the host, which are of one type ({of})",
                    cpu_list::format(&cpus)
                )
            }
            _ => String::new(),
        };
        self.line(&format!("\n[cpus]\ncount = {count}"), &comment);
    }

    fn disks(&mut self) {
        for disk in &self.wish.disks {
            let path = match &self.wish.chroot {
                Some(root) => Path::new(root).join(disk.trim_start_matches('/')),
                None => PathBuf::from(disk),
            };
            let format = if is_qcow2(&path) { "qcow2" } else { "raw" };
            self.line(&format!("\n[[disks]]\npath = {}\nformat = \"{format}\"", quoted(disk)), "");
        }
        if let Some(login) = &self.wish.login {
            let image = seed::image(self.wish.name.as_str(), login);
            let path = self.make("seed.iso", Content::Bytes(image));
            self.line("\n[[disks]]", "for cloud-init: who can log in");
            self.line(&format!("path = {}\nformat = \"raw\"\nreadonly = true", quoted(&path)), "");
        }
    }

    fn network(&mut self) {
        self.line("\n[network]\nmode = \"user\"", "outwards, through QEMU");
        let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
        if let (Some(login), Some(port)) = (&self.wish.login, PORTS.clone().find(free)) {
            let user = login.user.as_deref().unwrap_or("USER");
            let comment = format!("ssh -p {port} {user}@localhost");
            self.line(&format!("forwards = [\"{port}:22\"]"), &comment);
        }
    }
}

/// What a device is, for people.
fn about(host: &Host, names: &Names, device: &PciDevice) -> String {
    let mut text = format!("{:04x}:{:04x}", device.vendor, device.device);
    let vendor = names.vendor(device.vendor).into_iter();
    for name in vendor.chain(names.device(device.vendor, device.device)) {
        text += &format!(" {name}");
    }
    if let Some(class) = pci::class(host, device.address).and_then(|class| names.class(class)) {
        text += &format!(" ({class})");
    }
    match device.iommu_group {
        Some(group) => text + &format!(", IOMMU group {group}"),
        None => text,
    }
}

/// The devices that the guest gets, and those that have to be taken with them: what a card has besides (the
/// sound of a graphics card) is for the guest, what else is in a group is not.
fn whole_groups(host: &Host, specs: &[DeviceSpec]) -> (Vec<DeviceSpec>, Vec<DeviceSpec>) {
    let (mut taken, mut held) = (specs.to_vec(), Vec::<DeviceSpec>::new());
    let all = pci::enumerate(host).unwrap_or_default();
    let of = |specs: &[DeviceSpec]| -> Vec<PciAddress> {
        let named = |device: &&PciDevice| specs.iter().any(|spec| device.matches(spec));
        all.iter().filter(named).map(|device| device.address).collect()
    };
    let is_beside = |a: PciAddress, b: PciAddress| {
        (a.domain, a.bus, a.device) == (b.domain, b.bus, b.device) && a != b
    };
    let spec = |address: PciAddress| DeviceSpec::Address {
        domain: address.domain,
        bus: address.bus,
        device: address.device,
        function: address.function,
    };
    let given = of(specs);
    for card in given.iter().filter(|address| is_display(host, **address)) {
        let functions = all.iter().map(|device| device.address);
        let beside = functions.filter(|other| is_beside(*card, *other) && !given.contains(other));
        taken.extend(beside.map(spec));
    }
    loop {
        let options = Options { hold: held.clone(), ..Options::default() };
        let Err(error) = Plan::new(host, &taken, &options) else { break };
        let known = [of(&taken), of(&held)].concat();
        let mates = error.refusals.iter().flat_map(|refusal| match refusal {
            Refusal::Mates { mates, .. } => mates.as_slice(),
            _ => &[],
        });
        let mut more: Vec<PciAddress> = mates.filter_map(|mate| mate.address).collect();
        more.retain(|address| !known.contains(address));
        more.sort_unstable();
        more.dedup();
        if more.is_empty() {
            break;
        }
        for address in more {
            let beside = of(&taken).iter().any(|taken| is_beside(*taken, address));
            if beside { &mut taken } else { &mut held }.push(spec(address));
        }
    }
    (taken, held)
}

/// Whether it is a graphics card.
fn is_display(host: &Host, address: PciAddress) -> bool {
    const DISPLAY: u32 = 0x03;
    pci::class(host, address).is_some_and(|class| class >> 16 == DISPLAY)
}

/// Whether a file has the header of a qcow2 image. Whoever names the disk of a new guest says that it is as it
/// was made; what a guest writes to it later decides nothing any more.
fn is_qcow2(path: &Path) -> bool {
    let mut magic = [0; 4];
    File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok()
        && &magic == b"QFI\xfb"
}

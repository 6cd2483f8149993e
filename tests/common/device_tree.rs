//! A fake `sys` and `proc` in the build directory.

// `unwrap` because this is test code, which clippy only sees in `#[test]`s.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use vfioboot::device::bus::pci::PciAddress;
use vfioboot::device::sys::host::Host;

/// A tree that only files can observe: links do not move when something is
/// written to `bind`, `unbind` or `drivers_probe`.
pub struct Tree {
    pub root: PathBuf,
}

impl Tree {
    /// An empty PCI bus. `name` must be unique among all tests.
    pub fn new(name: &str) -> Self {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("device").join(name);
        _ = fs::remove_dir_all(&root);
        let tree = Self { root };
        tree.file("sys/bus/pci/drivers_probe", "");
        fs::create_dir_all(tree.path("sys/bus/pci/devices")).unwrap();
        tree.file("proc/cmdline", "console=ttyS0\n");
        tree
    }

    pub fn host(&self) -> Host {
        Host::new(&self.root)
    }

    pub fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    pub fn file(&self, relative: &str, content: impl AsRef<[u8]>) {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    pub fn read(&self, relative: &str) -> String {
        fs::read_to_string(self.path(relative)).unwrap()
    }

    /// A registered driver.
    pub fn driver(&self, name: &str) {
        self.file(&format!("sys/bus/pci/drivers/{name}/bind"), "");
        self.file(&format!("sys/bus/pci/drivers/{name}/unbind"), "");
    }

    /// A device as the kernel shows it, on a driver that need not exist yet.
    pub fn device(&self, address: &str, ids: (&str, &str), driver: Option<&str>) {
        let real = format!("sys/devices/pci0000:00/{address}");
        self.file(&format!("{real}/vendor"), format!("0x{}\n", ids.0));
        self.file(&format!("{real}/device"), format!("0x{}\n", ids.1));
        self.file(&format!("{real}/driver_override"), "(null)\n");
        symlink(
            format!("../../../devices/pci0000:00/{address}"),
            self.path(&format!("sys/bus/pci/devices/{address}")),
        )
        .unwrap();
        if let Some(driver) = driver {
            self.driver(driver);
            self.link_driver(address, driver);
        }
    }

    pub fn link_driver(&self, address: &str, driver: &str) {
        symlink(
            format!("../../../bus/pci/drivers/{driver}"),
            self.path(&format!("sys/devices/pci0000:00/{address}/driver")),
        )
        .unwrap();
    }

    pub fn unlink_driver(&self, address: &str) {
        fs::remove_file(self.path(&format!("sys/devices/pci0000:00/{address}/driver"))).unwrap();
    }

    pub fn group(&self, address: &str, group: u32) {
        symlink(
            format!("../../../kernel/iommu_groups/{group}"),
            self.path(&format!("sys/devices/pci0000:00/{address}/iommu_group")),
        )
        .unwrap();
    }

    pub fn set_override(&self, address: &str, text: &str) {
        self.file(&format!("sys/devices/pci0000:00/{address}/driver_override"), text);
    }

    pub fn get_override(&self, address: &str) -> String {
        self.read(&format!("sys/bus/pci/devices/{address}/driver_override"))
    }
}

/// An address from its text.
pub fn at(text: &str) -> PciAddress {
    text.parse().unwrap()
}

/// Replaces a file by a FIFO, for a test that plays the kernel.
pub fn fifo(path: &Path) {
    _ = fs::remove_file(path);
    rustix::fs::mknodat(
        rustix::fs::CWD,
        path,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
}

/// Plays the kernel's part in binding: links move when something is written.
pub struct Kernel {
    root: PathBuf,
    /// Which driver wants which device when nothing else is asked for.
    pub natives: Vec<(String, String)>,
    /// Attributes whose path ends so are refused with this errno.
    pub refused: Mutex<Option<(&'static str, i32)>>,
    /// A probe that says yes and does nothing.
    pub deaf: AtomicBool,
    /// How many more writes there are before whoever writes is killed.
    pub lives: AtomicUsize,
    /// All writes that were tried.
    pub writes: Mutex<Vec<String>>,
}

impl Kernel {
    /// What a killed process leaves of itself: only the files.
    pub const KILLED: &str = "killed";

    fn answer(&self, path: &str, value: &str) -> io::Result<()> {
        if self.lives.fetch_sub(1, Ordering::Relaxed) == 0 {
            std::panic::resume_unwind(Box::new(Self::KILLED));
        }
        self.writes.lock().unwrap().push(format!("{} > {path}", value.trim_end()));
        if let Some((end, errno)) = *self.refused.lock().unwrap()
            && path.ends_with(end)
        {
            return Err(io::Error::from_raw_os_error(errno));
        }
        let tree = Tree { root: self.root.clone() };
        let driver_of = |address: &str| {
            fs::read_link(tree.path(&format!("sys/bus/pci/devices/{address}/driver"))).ok()
        };
        let enodev = || io::Error::from_raw_os_error(19);
        let parts: Vec<&str> = path.split('/').collect();
        match parts.as_slice() {
            [.., "devices", address, "driver_override"] => {
                let text = if value.trim().is_empty() { "(null)" } else { value.trim() };
                tree.set_override(address, &format!("{text}\n"));
            }
            [.., "devices", _, "driver", "unbind"] => tree.unlink_driver(value),
            ["sys", "bus", "usb", ..] => tree.file(path, value),
            [.., "drivers_probe"] => {
                let wanted = match tree.get_override(value).trim() {
                    "(null)" => {
                        self.natives.iter().find(|(a, _)| a == value).map(|(_, d)| d.clone())
                    }
                    driver => Some(driver.to_owned()),
                };
                if let Some(driver) = wanted
                    && !self.deaf.load(Ordering::Relaxed)
                    && driver_of(value).is_none()
                    && tree.path(&format!("sys/bus/pci/drivers/{driver}")).exists()
                {
                    tree.link_driver(value, &driver);
                }
            }
            [.., "drivers", driver, "bind"] => {
                let chosen = tree.get_override(value);
                let fits = match chosen.trim() {
                    "(null)" => self.natives.contains(&(value.to_owned(), (*driver).to_owned())),
                    chosen => chosen == *driver,
                };
                if !fits || driver_of(value).is_some() {
                    return Err(enodev());
                }
                tree.link_driver(value, driver);
            }
            [.., "remove_id"] => return Err(enodev()),
            _ => tree.file(path, value),
        }
        Ok(())
    }
}

impl Tree {
    /// A kernel that answers writes, in which devices are wanted by the drivers they are on now.
    pub fn kernel(&self) -> (Host, Arc<Kernel>) {
        let mut natives = Vec::new();
        for entry in fs::read_dir(self.path("sys/bus/pci/devices")).unwrap() {
            let entry = entry.unwrap();
            if let Ok(driver) = fs::read_link(entry.path().join("driver")) {
                let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
                natives.push((name(&entry.path()), name(&driver)));
            }
        }
        let kernel = Arc::new(Kernel {
            root: self.root.clone(),
            natives,
            refused: Mutex::new(None),
            deaf: AtomicBool::new(false),
            lives: AtomicUsize::new(usize::MAX),
            writes: Mutex::new(Vec::new()),
        });
        let answers = Arc::clone(&kernel);
        let host =
            Host::with_kernel(&self.root, Arc::new(move |path, value| answers.answer(path, value)));
        (host, kernel)
    }

    /// A group that sysfs lists, with these devices in it.
    pub fn iommu_group(&self, number: u32, addresses: &[&str]) {
        let members = format!("sys/kernel/iommu_groups/{number}/devices");
        fs::create_dir_all(self.path(&members)).unwrap();
        self.file(&format!("sys/kernel/iommu_groups/{number}/type"), "DMA\n");
        for address in addresses {
            let device = format!("../../../../devices/pci0000:00/{address}");
            symlink(device, self.path(&format!("{members}/{address}"))).unwrap();
            self.group(address, number);
        }
    }

    /// The process that looks at this tree, and the boot that it is in.
    pub fn running_as(&self, pid: u32, start_time: u64, boot_id: &str) {
        self.process("self", pid, start_time);
        self.process(&pid.to_string(), pid, start_time);
        self.file("proc/sys/kernel/random/boot_id", format!("{boot_id}\n"));
    }

    /// `/proc/ENTRY/stat`, with a name that has brackets and spaces in it.
    pub fn process(&self, entry: &str, pid: u32, start_time: u64) {
        let zeros = "0 ".repeat(18);
        self.file(
            &format!("proc/{entry}/stat"),
            format!("{pid} (a ) b) S {zeros}{start_time} 0\n"),
        );
    }

    pub fn driver_of(&self, address: &str) -> Option<String> {
        let link =
            fs::read_link(self.path(&format!("sys/bus/pci/devices/{address}/driver"))).ok()?;
        Some(link.file_name().unwrap().to_str().unwrap().to_owned())
    }
}

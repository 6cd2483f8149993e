//! A fake `sys` and `proc` in the build directory.

// `unwrap` because this is test code, which clippy only sees in `#[test]`s.
#![allow(dead_code, clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use vfioboot::device::host::Host;
use vfioboot::device::pci::PciAddress;

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

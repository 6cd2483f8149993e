//! What the host boots from, by what the images say: `root=`, `androidboot.boot_devices` and fstab
//! files.

use crate::cmdline::Cmdline;
use crate::modules::tree::Role;
use crate::patch::context::Context;
use crate::ramdisk::cpio::FileType;

/// A kind of storage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Storage {
    Ufs,
    Mmc,
    Nvme,
    Sata,
    Usb,
    Virtio,
}

/// Parts of texts by which a kind is known.
struct Signs {
    storage: Storage,
    name: &'static str,
    /// It is soldered to the board or in its card slot.
    on_board: bool,
    /// Parts of the names of its modules.
    modules: &'static [&'static str],
    /// Parts of the paths of its devices, in sysfs and below /dev.
    devices: &'static [&'static str],
}

const SIGNS: &[Signs] = &[
    Signs {
        storage: Storage::Ufs,
        name: "UFS",
        on_board: true,
        modules: &["ufs"],
        devices: &["ufs", "/dev/sd", "/dev/block/sd"],
    },
    Signs {
        storage: Storage::Mmc,
        name: "eMMC or SD",
        on_board: true,
        modules: &["mmc", "sdhci", "cqhci", "mtk_sd", "msdc"],
        devices: &["mmc", "sdhci", "msdc", "sdhc"],
    },
    Signs {
        storage: Storage::Nvme,
        name: "NVMe",
        on_board: false,
        modules: &["nvme"],
        devices: &["nvme", "pci"],
    },
    Signs {
        storage: Storage::Sata,
        name: "SATA or SCSI",
        on_board: false,
        modules: &["ahci", "libata", "sata_", "ata_piix", "sd_mod", "scsi_mod"],
        devices: &["/dev/sd", "/dev/block/sd", "ahci", "sata"],
    },
    Signs {
        storage: Storage::Usb,
        name: "USB storage",
        on_board: false,
        modules: &["usb_storage", "uas"],
        devices: &["/dev/sd", "/dev/block/sd", "usb"],
    },
    Signs {
        storage: Storage::Virtio,
        name: "virtio",
        on_board: false,
        modules: &["virtio_blk", "virtio_scsi", "virtio_pci", "virtio_mmio"],
        devices: &["/dev/vd", "/dev/block/vd", "virtio"],
    },
];

impl Storage {
    /// What a driver drives, if that is storage.
    pub(super) fn of_driver(name: &str, roles: &[Role]) -> Option<Self> {
        if roles.contains(&Role::UfsHost) {
            return Some(Storage::Ufs);
        }
        if roles.contains(&Role::MmcHost) {
            return Some(Storage::Mmc);
        }
        let of_name = |row: &&Signs| row.modules.iter().any(|part| name.contains(part));
        SIGNS.iter().find(of_name).map(|row| row.storage)
    }

    fn row(self) -> &'static Signs {
        SIGNS.iter().find(|row| row.storage == self).unwrap_or(&SIGNS[0])
    }

    /// For people.
    pub(super) fn name(self) -> &'static str {
        self.row().name
    }

    /// Whether it is part of the board.
    pub(super) fn is_on_board(self) -> bool {
        self.row().on_board
    }

    /// Whether the path of a boot device is one of this kind.
    pub(super) fn has(self, path: &str) -> bool {
        self.row().devices.iter().any(|part| path.contains(part))
    }
}

/// A path of a boot device, and where it stands.
pub(super) struct BootDevice {
    pub path: String,
    /// The text in the images.
    pub evidence: String,
}

/// Parameters with the path of a boot device, or several with commas between.
const PARAMETERS: &[&str] = &["root", "androidboot.boot_devices", "androidboot.bootdevice"];

/// The devices that the images name. A label or a UUID names none.
pub(super) fn boot_devices(set: &Context<'_, '_>) -> Vec<BootDevice> {
    let mut found = Vec::new();
    for (name, value) in words(set) {
        let paths = value.split(',').map(|path| path.trim_matches('"'));
        found.extend(
            paths.filter(|path| names_a_kind(path)).map(|path| BootDevice {
                path: path.to_owned(),
                evidence: format!("{name}={value}"),
            }),
        );
    }
    for (file, text) in fstabs(set) {
        let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
        let devices = lines.filter_map(|line| line.split_ascii_whitespace().next());
        found.extend(devices.filter(|path| names_a_kind(path)).map(|path| BootDevice {
            path: path.to_owned(),
            evidence: format!("{file} has {path}"),
        }));
    }
    found
}

fn names_a_kind(path: &str) -> bool {
    SIGNS.iter().any(|row| row.storage.has(path))
}

/// The parameters of boot devices on all lines and in bootconfigs.
fn words(set: &Context<'_, '_>) -> Vec<(String, String)> {
    let headers = set.active().filter_map(|(_, image)| Some(image.header()?.cmdline()));
    let known = set.kernel.facts().cmdline.clone().map(String::into_bytes);
    let trees = set.device_tree_lines().map(|line| line.text.clone().into_bytes());
    let lines: Vec<Cmdline> = headers.chain(known).chain(trees).map(Cmdline::new).collect();
    let mut found = Vec::new();
    for name in PARAMETERS {
        let values = lines.iter().flat_map(|line| line.values(name));
        let values = values.map(|value| String::from_utf8_lossy(value).into_owned());
        let keys = set.bootconfig_values(name);
        found.extend(values.chain(keys).map(|value| ((*name).to_owned(), value)));
    }
    found
}

/// The fstab files of the ramdisks.
fn fstabs(set: &Context<'_, '_>) -> Vec<(String, String)> {
    /// Larger files are none.
    const MAX: u32 = 1 << 20;
    let Ok(tree) = set.tree() else { return Vec::new() };
    let mut found = Vec::new();
    for path in tree.paths() {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        if !name.starts_with(b"fstab.") {
            continue;
        }
        let entry = tree.find(path, false).and_then(|entry| set.entry(&entry).ok()?);
        if let Some((header, data)) = entry
            && header.file_type() == FileType::Regular
            && header.filesize <= MAX
        {
            let text = String::from_utf8_lossy(&data).into_owned();
            found.push((String::from_utf8_lossy(path).into_owned(), text));
        }
    }
    found
}

//! Root managers in a ramdisk or kernel, and in which way.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::kind::FlowKind;
use super::statement::{Evidence, Statement, evidence};
use crate::audit::Built;
use crate::bootset::kernel::SetKernel;
use crate::bootset::members::Members;
use crate::ramdisk::RamdiskKind;
use crate::ramdisk::kind::Survey;

/// A root manager that leaves signs in images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Manager {
    /// <https://github.com/topjohnwu/Magisk>
    Magisk,
    /// <https://kernelsu.org>
    KernelSu,
}

/// How programs are started at boot where a root manager is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Autostart {
    /// By rc files in `overlay.d` of the ramdisk.
    Overlay,
    /// By a module that is installed on the device.
    Module,
}

/// What is known of a root manager.
struct Row {
    name: &'static str,
    /// The kind of a ramdisk that it has patched.
    ramdisk: RamdiskKind,
    /// The symbol of a kernel that it is part of.
    symbol: Option<&'static str>,
    /// The program that it puts in as `/init`.
    init: &'static str,
    /// What that program executes.
    next: &'static str,
    autostart: Autostart,
}

impl Manager {
    /// All of them. APatch is not among them: it changes the kernel's code, and leaves neither an
    /// entry in a ramdisk nor a symbol in a config.
    pub const ALL: &[Manager] = &[Manager::Magisk, Manager::KernelSu];

    /// The table of root managers.
    const fn row(self) -> Row {
        match self {
            Manager::Magisk => Row {
                name: "Magisk",
                ramdisk: RamdiskKind::MagiskPatched,
                symbol: None,
                init: "magiskinit",
                next: "the init that Magisk kept",
                autostart: Autostart::Overlay,
            },
            Manager::KernelSu => Row {
                name: "KernelSU",
                ramdisk: RamdiskKind::KernelSuPatched,
                symbol: Some("KSU"),
                init: "ksuinit",
                next: "/init.real",
                autostart: Autostart::Module,
            },
        }
    }

    /// `Magisk`, `KernelSU`.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The program that it puts in as `/init` of a ramdisk.
    pub fn init(self) -> &'static str {
        self.row().init
    }

    /// What that program executes.
    pub fn next(self) -> &'static str {
        self.row().next
    }

    /// How programs are started at boot.
    pub fn autostart(self) -> Autostart {
        self.row().autostart
    }
}

impl std::fmt::Display for Manager {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Manager {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// A root manager that is there before the patch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RootManager {
    /// Which one.
    #[serde(rename = "name")]
    pub manager: Manager,
    /// How it is put in, for people.
    pub way: String,
    /// The first version that leaves such files, where they tell.
    pub since: Option<&'static str>,
    /// Magisk's `.backup/.magisk`.
    pub config: BTreeMap<String, String>,
    /// It is part of the kernel, and the ramdisk stays as it is.
    pub in_kernel: bool,
    /// It lives in the recovery ramdisk, and boots the system from there (`RECOVERYMODE=true`).
    pub in_recovery: bool,
}

/// What tells the version of the Magisk that patched a ramdisk, newest first: an entry of the
/// ramdisk or a key of its config, and the first release that writes it (Magisk's changelog and
/// `scripts/boot_patch.sh`).
const MAGISK_SINCE: &[(&str, &str)] = &[
    ("VENDORBOOT", "30.3"),
    ("overlay.d/sbin/init-ld.xz", "28.0"),
    (".backup/init.xz", "27.0"),
    ("PREINITDEVICE", "26.0"),
    ("overlay.d/sbin/magisk32.xz", "22.0"),
];
const MAGISK_CONFIG: &str = ".backup/.magisk";

/// All of them, with what shows them.
pub(super) fn find(
    set: &Members<'_>,
    kernel: &SetKernel,
    flow: FlowKind,
) -> (Vec<RootManager>, Vec<Statement>) {
    let (mut managers, mut statements) = (Vec::new(), Vec::new());
    let mut state = |text: String, evidence: Evidence| {
        statements.push(Statement { about: "root_manager", text, evidence: vec![evidence] });
    };
    for ramdisk in &set.ramdisks {
        let Ok(survey) = ramdisk.survey() else { continue };
        for name in Manager::ALL {
            let Some(shown) = evidence(ramdisk, name.row().ramdisk) else { continue };
            let manager = match name {
                Manager::Magisk => magisk(survey, flow),
                Manager::KernelSu => kernelsu(KERNELSU_LKM, false),
            };
            state(format!("{name}-patched: {}", manager.described()), shown);
            managers.push(manager);
        }
    }
    for name in Manager::ALL {
        let (Some(image), Some(symbol)) = (kernel.image, name.row().symbol) else { continue };
        if kernel.facts.built(symbol) == Built::In {
            let manager = kernelsu(KERNELSU_GKI, true);
            let shown = Evidence::new(image, "kernel config", &format!("CONFIG_{symbol}=y"));
            state(format!("{name}: {}", manager.described()), shown);
            managers.push(manager);
        }
    }
    (managers, statements)
}

const KERNELSU_LKM: &str = "kernelsu.ko is loaded by its /init, which then runs init.real (LKM)";
const KERNELSU_GKI: &str = "it is part of the kernel (GKI mode)";

impl RootManager {
    /// Its way, and what else its files tell.
    fn described(&self) -> String {
        let since = self.since.map(|v| format!(", by {} {v} or later", self.manager));
        let preinit = self.config.get("PREINITDEVICE");
        let preinit = preinit.map(|device| format!("; PREINITDEVICE={device}"));
        let recovery = if self.in_recovery { "; RECOVERYMODE=true" } else { "" };
        let (since, preinit) = (since.unwrap_or_default(), preinit.unwrap_or_default());
        format!("{}{since}{preinit}{recovery}", self.way)
    }
}

fn kernelsu(way: &str, in_kernel: bool) -> RootManager {
    RootManager {
        manager: Manager::KernelSu,
        way: way.to_owned(),
        since: None,
        config: BTreeMap::new(),
        in_kernel,
        in_recovery: false,
    }
}

fn magisk(survey: &Survey, flow: FlowKind) -> RootManager {
    let text = survey.files.get(MAGISK_CONFIG).map(|bytes| String::from_utf8_lossy(bytes));
    let pairs = text.iter().flat_map(|text| text.lines()).filter_map(|line| line.split_once('='));
    let config: BTreeMap<String, String> =
        pairs.map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned())).collect();
    let since = MAGISK_SINCE
        .iter()
        .find(|(sign, _)| survey.has(sign) || config.contains_key(*sign))
        .map(|(_, version)| *version);
    let original = if survey.has(".backup/init") || survey.has(".backup/init.xz") {
        "the original is kept in .backup"
    } else {
        "there is no original in .backup: the real one is in another ramdisk, or nothing was kept"
    };
    let then = match flow {
        FlowKind::TwoStage => ", two-stage init follows",
        FlowKind::RootfsLegacy => ", the ramdisk stays the root file system",
        FlowKind::LegacySystemAsRoot => ", it mounts the legacy system-as-root itself",
        FlowKind::LinuxInitramfs | FlowKind::Recovery | FlowKind::Unknown => "",
    };
    let scripts = survey
        .telling
        .iter()
        .filter(|name| name.starts_with("overlay.d/") && name.ends_with(".rc"))
        .count();
    let scripts = match scripts {
        0 => String::new(),
        count => format!("; {count} rc in overlay.d"),
    };
    let in_recovery = config.get("RECOVERYMODE").is_some_and(|value| value == "true");
    RootManager {
        manager: Manager::Magisk,
        way: format!("magiskinit is /init, {original}{then}{scripts}"),
        since,
        config,
        in_kernel: false,
        in_recovery,
    }
}

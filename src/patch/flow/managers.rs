//! Root managers in a ramdisk or kernel, and in which way.

use std::collections::BTreeMap;

use serde::Serialize;

use super::detect::Seen;
use super::{Evidence, FlowKind, Statement};
use crate::patch::kernel_facts::KernelFacts;
use crate::ramdisk::RamdiskKind;
use crate::ramdisk::kind::Survey;

/// A root manager that changes boot images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootManagerKind {
    /// <https://github.com/topjohnwu/Magisk>
    Magisk,
    /// <https://github.com/tiann/KernelSU>
    KernelSu,
}

/// What there is to know about one.
struct Row {
    name: &'static str,
    init: &'static str,
    next: &'static str,
}

impl RootManagerKind {
    const fn row(self) -> Row {
        match self {
            RootManagerKind::Magisk => {
                Row { name: "Magisk", init: "magiskinit", next: "the init that Magisk kept" }
            }
            RootManagerKind::KernelSu => {
                Row { name: "KernelSU", init: "ksuinit", next: "/init.real" }
            }
        }
    }

    /// The name that people know it by.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The program that it puts at `/init` of a ramdisk.
    pub fn init_program(self) -> &'static str {
        self.row().init
    }

    /// What that program executes.
    pub fn next_program(self) -> &'static str {
        self.row().next
    }
}

impl Serialize for RootManagerKind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// A root manager that is there before the patch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RootManager {
    /// Which one.
    #[serde(rename = "name")]
    pub kind: RootManagerKind,
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
const MAGISK_SINCE: [(&str, &str); 5] = [
    ("VENDORBOOT", "30.3"),
    ("overlay.d/sbin/init-ld.xz", "28.0"),
    (".backup/init.xz", "27.0"),
    ("PREINITDEVICE", "26.0"),
    ("overlay.d/sbin/magisk32.xz", "22.0"),
];
const MAGISK_CONFIG: &str = ".backup/.magisk";

/// All of them, with what shows them.
pub fn find(
    ramdisks: &[Seen],
    kernel: &KernelFacts,
    kernel_image: Option<usize>,
    flow: FlowKind,
) -> (Vec<RootManager>, Vec<Statement>) {
    let (mut managers, mut statements) = (Vec::new(), Vec::new());
    for seen in ramdisks {
        let Some(survey) = &seen.survey else { continue };
        if let Some(evidence) = seen.evidence(RamdiskKind::MagiskPatched) {
            let manager = magisk(survey, flow);
            let since =
                manager.since.map(|v| format!(", by Magisk {v} or later")).unwrap_or_default();
            let preinit = manager
                .config
                .get("PREINITDEVICE")
                .map(|device| format!("; PREINITDEVICE={device}"));
            let recovery = if manager.in_recovery { "; RECOVERYMODE=true" } else { "" };
            let text = format!(
                "Magisk-patched: {}{since}{}{recovery}",
                manager.way,
                preinit.unwrap_or_default()
            );
            statements.push(Statement { about: "root_manager", text, evidence: vec![evidence] });
            managers.push(manager);
        }
        if let Some(evidence) = seen.evidence(RamdiskKind::KernelSuPatched) {
            let way = "kernelsu.ko is loaded by its /init, which then runs init.real (LKM)";
            let text = format!("KernelSU-patched: {way}");
            statements.push(Statement { about: "root_manager", text, evidence: vec![evidence] });
            managers.push(kernelsu(way, false));
        }
    }
    if let (Some(image), true) = (kernel_image, kernel.has_kernelsu()) {
        let way = "it is part of the kernel (GKI mode)";
        let evidence = Evidence::new(image, "kernel config", "CONFIG_KSU=y");
        let text = format!("KernelSU: {way}");
        statements.push(Statement { about: "root_manager", text, evidence: vec![evidence] });
        managers.push(kernelsu(way, true));
    }
    (managers, statements)
}

fn kernelsu(way: &str, in_kernel: bool) -> RootManager {
    RootManager {
        kind: RootManagerKind::KernelSu,
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
        _ => "",
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
        kind: RootManagerKind::Magisk,
        way: format!("magiskinit is /init, {original}{then}{scripts}"),
        since,
        config,
        in_kernel: false,
        in_recovery,
    }
}

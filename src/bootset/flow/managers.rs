//! Root managers in a ramdisk or kernel, and how each starts.

use std::collections::BTreeMap;

use serde::Serialize;

use super::kind::FlowKind;
use super::statement::{Evidence, Statement, evidence};
use crate::bootset::facts::Built;
use crate::bootset::kernel::SetKernel;
use crate::bootset::members::Members;
use crate::ramdisk::RamdiskKind;
use crate::ramdisk::kind::Survey;
use crate::root_manager::{
    Autostart, Flows, InKernel, Manager, ManagerConfig, PatchedRamdisk, Release, ReleaseSign,
    patched_ramdisks,
};

/// A root manager that is there before the patch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RootManager {
    /// Which one.
    #[serde(rename = "name")]
    pub manager: Manager,
    /// How it starts, for people.
    pub way: String,
    /// The first version that leaves such files; None if they do not show it.
    pub since: Option<&'static str>,
    /// Its settings in the ramdisk.
    pub config: BTreeMap<String, String>,
    /// It is part of the kernel, and the ramdisk stays as it is.
    pub in_kernel: bool,
    /// It is in the recovery ramdisk and boots the system from there.
    pub in_recovery: bool,
}

/// All root managers, with the evidence.
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
        for (manager, patched) in patched_ramdisks() {
            let kind = RamdiskKind::Patched(manager);
            let Some(shown) = evidence(ramdisk, kind) else { continue };
            let manager = RootManager::in_ramdisk(manager, patched, survey, flow);
            state(format!("{kind}: {}", manager.described()), shown);
            managers.push(manager);
        }
    }
    for manager in Manager::ALL.iter().copied() {
        let (Some(image), Some(own)) = (kernel.image, manager.kernel()) else { continue };
        if kernel.facts.built(own.symbol) == Built::In {
            let manager = RootManager::in_kernel(manager, own);
            let shown = format!("CONFIG_{}=y", own.symbol);
            let shown = Evidence::new(image, "kernel config", &shown);
            state(format!("{}: {}", manager.manager, manager.described()), shown);
            managers.push(manager);
        }
    }
    (managers, statements)
}

impl RootManager {
    fn in_kernel(manager: Manager, kernel: &InKernel) -> Self {
        RootManager {
            manager,
            way: kernel.way.to_owned(),
            since: None,
            config: BTreeMap::new(),
            in_kernel: true,
            in_recovery: false,
        }
    }

    fn in_ramdisk(
        manager: Manager,
        patched: &PatchedRamdisk,
        survey: &Survey,
        flow: FlowKind,
    ) -> Self {
        let config = patched.config.as_ref().map(|own| settings(own, survey)).unwrap_or_default();
        let left = |release: &&Release| match release.sign {
            ReleaseSign::Entry(path) => survey.has(path),
            ReleaseSign::Key(key) => config.contains_key(key),
        };
        let since = patched.releases.iter().find(left).map(|release| release.since);
        let key = patched.config.as_ref().map(|own| own.in_recovery);
        let in_recovery = key.and_then(|key| config.get(key)).is_some_and(|value| value == "true");
        let (original, next) = (original(patched, survey), next(patched, flow));
        let way = format!("{}{original}{next}{}", patched.way, scripts(manager, survey));
        RootManager { manager, way, since, config, in_kernel: false, in_recovery }
    }

    /// How it starts, and other facts from its files.
    fn described(&self) -> String {
        let mut text = self.way.clone();
        if let Some(version) = self.since {
            text += &format!(", by {} {version} or later", self.manager);
        }
        let Some(config) = self.manager.ramdisk().and_then(|own| own.config.as_ref()) else {
            return text;
        };
        let recovery = self.in_recovery.then_some(&config.in_recovery);
        for key in config.shown.iter().chain(recovery) {
            if let Some(value) = self.config.get(*key) {
                text += &format!("; {key}={value}");
            }
        }
        text
    }
}

/// The settings of a root manager.
fn settings(config: &ManagerConfig, survey: &Survey) -> BTreeMap<String, String> {
    let text = survey.files.get(config.path).map(|bytes| String::from_utf8_lossy(bytes));
    let pairs = text.iter().flat_map(|text| text.lines()).filter_map(|line| line.split_once('='));
    pairs.map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned())).collect()
}

/// Where the original `/init` is; empty where the signs include it.
fn original(patched: &PatchedRamdisk, survey: &Survey) -> String {
    let certain = |path| patched.joint_signs.contains(&path);
    let Some(first) = patched.originals.iter().find(|own| !certain(own.path)) else {
        return String::new();
    };
    let directory = first.path.rsplit_once('/').map_or("/", |(directory, _)| directory);
    match patched.originals.iter().any(|own| survey.has(own.path)) {
        true => format!(", the original is kept in {directory}"),
        false => format!(
            ", there is no original in {directory}: the real one is in another ramdisk, or nothing \
             was kept"
        ),
    }
}

/// The next step after the manager's init, for a manager that supports several flows.
fn next(patched: &PatchedRamdisk, flow: FlowKind) -> &'static str {
    match (patched.flows, flow) {
        (Flows::TwoStage, _) => "",
        (Flows::Any, FlowKind::TwoStage) => ", two-stage init follows",
        (Flows::Any, FlowKind::RootfsLegacy) => ", the ramdisk stays the root file system",
        (Flows::Any, FlowKind::LegacySystemAsRoot) => {
            ", it mounts the legacy system-as-root itself"
        }
        (Flows::Any, FlowKind::LinuxInitramfs | FlowKind::Recovery | FlowKind::Unknown) => "",
    }
}

/// The number of rc files that the manager adds.
fn scripts(manager: Manager, survey: &Survey) -> String {
    let Autostart::Overlay(overlay) = manager.autostart() else { return String::new() };
    let is_script = |name: &&String| {
        let name = name.strip_prefix(overlay.directory).and_then(|rest| rest.strip_prefix('/'));
        name.is_some_and(|name| name.ends_with(".rc"))
    };
    match survey.telling.iter().filter(is_script).count() {
        0 => String::new(),
        count => format!("; {count} rc in {}", overlay.directory),
    }
}

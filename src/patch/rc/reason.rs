//! Where init reads rc files in a boot flow, and why.

use std::fmt;

use serde::{Serialize, Serializer};

use super::inert::Inert;
use super::label::Label;
use crate::bootset::flow::{Flow, FlowKind};
use crate::root_manager::{Autostart, RcOverlay};

/// Where init reads rc files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RcPlace {
    /// `/init.rc` of a legacy rootfs.
    InitRc,
    /// The overlay of a root manager.
    Overlay(&'static RcOverlay),
}

/// Why rc files are where they are. Serialised as its text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RcReason {
    /// None was requested.
    #[default]
    NotRequested,
    /// Init would not read them.
    Inert(Inert),
    /// Init reads them there.
    Read {
        /// Where.
        place: RcPlace,
        /// The reason for the context of the service for guests, or for its absence.
        label: Option<Label>,
    },
}

impl RcPlace {
    /// Where init reads rc files of a device that boots like this.
    ///
    /// # Errors
    /// [`Inert`] if nowhere.
    pub(crate) fn of(flow: &Flow) -> Result<Self, Inert> {
        let mut manager = None;
        for own in flow.root_managers.iter().filter(|own| !own.in_kernel) {
            match own.manager.autostart() {
                Autostart::Overlay(overlay) => return Ok(RcPlace::Overlay(overlay)),
                Autostart::Module => manager = manager.or(Some(own.manager)),
            }
        }
        if let Some(manager) = manager {
            return Err(Inert::RootManager { manager });
        }
        match flow.kind {
            FlowKind::RootfsLegacy => Ok(RcPlace::InitRc),
            FlowKind::TwoStage => Err(Inert::TwoStage),
            FlowKind::Recovery => Err(Inert::Recovery),
            FlowKind::LegacySystemAsRoot => Err(Inert::SystemAsRoot),
            FlowKind::LinuxInitramfs | FlowKind::Unknown => {
                Err(Inert::NotAndroid { flow: flow.title() })
            }
        }
    }
}

impl RcPlace {
    /// As it is written in JSON.
    fn name(self) -> &'static str {
        match self {
            RcPlace::InitRc => "init_rc",
            RcPlace::Overlay(overlay) => overlay.name,
        }
    }
}

impl fmt::Display for RcPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RcPlace::InitRc => f.write_str("legacy rootfs: init reads /init.rc of the ramdisk"),
            RcPlace::Overlay(own) => {
                let RcOverlay { manager, directory, .. } = own;
                write!(f, "{manager}-patched: {} appends {directory}/*.rc to init.rc", own.init())
            }
        }
    }
}

impl Serialize for RcPlace {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl fmt::Display for RcReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RcReason::NotRequested => Ok(()),
            RcReason::Inert(inert) => inert.fmt(f),
            RcReason::Read { place, label: Some(label) } => write!(f, "{place}; {label}"),
            RcReason::Read { place, label: None } => place.fmt(f),
        }
    }
}

impl Serialize for RcReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

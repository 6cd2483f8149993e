//! Where init reads rc files of this boot flow, or why nowhere.

use std::fmt;

use serde::{Serialize, Serializer};

use super::inert::Inert;
use super::label::Label;
use crate::bootset::flow::{Autostart, Flow, FlowKind};

/// Where init reads rc files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RcPlace {
    /// `/init.rc` of a legacy rootfs.
    InitRc,
    /// `overlay.d` of a Magisk-patched ramdisk.
    MagiskOverlay,
}

/// Why rc files are where they are. Serialised as its text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RcReason {
    /// None was asked for.
    #[default]
    NotRequested,
    /// Init would not read them.
    Inert(Inert),
    /// Init reads them there.
    Read {
        /// Where.
        place: RcPlace,
        /// Why the service for the guests has its context, or why there is no service.
        label: Option<Label>,
    },
}

impl RcPlace {
    /// Where init reads rc files of a device that boots like this.
    ///
    /// # Errors
    /// [`Inert`] if nowhere.
    pub fn of(flow: &Flow) -> Result<Self, Inert> {
        let managers = flow.root_managers.iter().filter(|manager| !manager.in_kernel);
        let managers: Vec<_> = managers.map(|own| own.manager).collect();
        if managers.iter().any(|manager| manager.autostart() == Autostart::Overlay) {
            return Ok(RcPlace::MagiskOverlay);
        }
        if let Some(manager) = managers.first() {
            return Err(Inert::RootManager { manager: manager.name() });
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

impl fmt::Display for RcReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RcReason::NotRequested => Ok(()),
            RcReason::Inert(inert) => inert.fmt(f),
            RcReason::Read { place, label } => {
                f.write_str(match place {
                    RcPlace::InitRc => "legacy rootfs: init reads /init.rc of the ramdisk",
                    RcPlace::MagiskOverlay => {
                        "Magisk-patched: magiskinit appends overlay.d/*.rc to init.rc"
                    }
                })?;
                match label {
                    Some(label) => write!(f, "; {label}"),
                    None => Ok(()),
                }
            }
        }
    }
}

impl Serialize for RcReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

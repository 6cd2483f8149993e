//! What a patch means for this boot flow, for people: what runs at boot, what could go wrong, how
//! to undo it.

use serde::{Serialize, Serializer};

use super::hook::choose::Hook;
use super::hook::kind::HookKind;
use super::next::Next;
use crate::bootfile::{DISABLE_PARAMETER, DeviceSpec, RUNTIME};
use crate::bootset::flow::{Flow, FlowKind, RecoveryPlace};
use crate::ramdisk::renewed_by;
use crate::root_manager::Manager;

/// Advice that accompanies a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Advice {
    /// The programs that run, the kernel first.
    pub chain: Vec<String>,
    /// How to see on the device that it worked.
    pub check: Vec<String>,
    /// What could go wrong and what to do then, besides the plan's warnings.
    pub risks: Vec<Risk>,
    /// How to try it and how to undo it.
    pub undo: Vec<String>,
}

/// What could go wrong on the device, and what to do then. Serialised as its text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Risk {
    /// The images are for recovery.
    #[error(
        "these images only start recovery, and in recovery vfiorun leaves the devices alone: the \
         patch has no effect on a normal boot. Give boot.img (or init_boot.img, vendor_boot.img)"
    )]
    OnlyRecovery,
    /// The kernel may skip the ramdisk.
    #[error(
        "if the bootloader passes skip_initramfs in normal boots (look into /proc/cmdline), the \
         kernel skips the ramdisk: the device boots as before and nothing is bound. Then root it \
         with Magisk first, or bind after boot"
    )]
    MaySkipRamdisk,
    /// The kernel unpacks the ramdisk only because Magisk changed it.
    #[error("it depends on the kernel that Magisk changed: a stock kernel skips the ramdisk again")]
    NeedsMagisksKernel,
    /// The kind of the ramdisk is unknown.
    #[error(
        "nothing shows what this ramdisk is: compare the list of `vfioboot ramdisk IMAGE ls` with \
         what you expect before you flash"
    )]
    UnknownFlow,
    /// A root manager boots the system from the recovery ramdisk.
    #[error(
        "{manager} boots the system from the recovery ramdisk here ({setting}=true). vfiorun takes \
         that for recovery and leaves the devices alone: bind after boot instead"
    )]
    ManagerInRecovery {
        /// The root manager.
        manager: Manager,
        /// The key of its config that says so.
        setting: &'static str,
    },
    /// Recovery shares the ramdisk.
    #[error(
        "recovery shares the ramdisk: without androidboot.force_normal_boot=1 vfiorun takes the \
         boot for recovery, leaves the devices alone and starts it"
    )]
    SharedRamdisk,
    /// The bootloader may drop the parameter.
    #[error(
        "a bootloader that drops rdinit= (look into /proc/cmdline) boots the device as before, \
         with nothing bound: then patch with the init hook"
    )]
    RdinitDropped,
    /// Another ramdisk may have the program that is displaced.
    #[error(
        "a ramdisk that is unpacked after this one and has {init} of its own wins: then nothing is \
         bound"
    )]
    InitOverwritten {
        /// The program.
        init: String,
    },
    /// The bootloader may replace the parameter that the hook relies on.
    #[error(
        "a bootloader that replaces /chosen/bootargs never starts {init}, and nothing is bound: \
         then patch with the rdinit hook"
    )]
    BootargsReplaced {
        /// The program.
        init: String,
    },
    /// The host cannot use the devices.
    #[error(
        "the host cannot use {devices}: it must not need them to boot or to be reached (disk, \
         network, display)"
    )]
    HostLosesDevices {
        /// The devices.
        devices: String,
    },
    /// A root manager rewrites the image.
    #[error(
        "{manager} rewrites the image when it is updated or removed: unpatch, let {manager} do it, \
         patch again"
    )]
    RootManagerRewrites {
        /// The root manager.
        manager: Manager,
    },
    /// The distribution builds a new initramfs.
    #[error("{by} makes a new initramfs: patch again after it")]
    InitramfsRenewed {
        /// The program, or the event.
        by: &'static str,
    },
    /// An OTA replaces the images.
    #[error("a system update (OTA) replaces the images: patch the new ones")]
    SystemUpdate,
}

impl Serialize for Risk {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Devices that are listed one by one.
const NAMED: usize = 3;
const CHECK: &str = "dmesg | grep vfioboot: has each step, and why a device was left; vfiorun devices \
                     (or lspci -nnk) shows which driver has it";

impl Advice {
    /// For a plan.
    pub(crate) fn new(flow: &Flow, hook: &Hook, devices: &[DeviceSpec], next: &Next) -> Self {
        let mut names: Vec<String> = devices.iter().take(NAMED).map(ToString::to_string).collect();
        if devices.len() > NAMED {
            names.push(format!("{} more", devices.len() - NAMED));
        }
        let names = names.join(", ");
        let risks = flow_risks(flow).into_iter().chain(hook_risks(hook));
        Advice {
            chain: chain(flow, hook, &names),
            check: vec![CHECK.to_owned()],
            risks: risks.chain(lasting_risks(flow, names)).collect(),
            undo: undo(next),
        }
    }
}

fn flow_risks(flow: &Flow) -> Vec<Risk> {
    let of_kind = match (flow.kind, flow.certain) {
        (FlowKind::Recovery, _) => Some(Risk::OnlyRecovery),
        (FlowKind::LegacySystemAsRoot, false) => Some(Risk::MaySkipRamdisk),
        (FlowKind::LegacySystemAsRoot, true) => Some(Risk::NeedsMagisksKernel),
        (FlowKind::Unknown, _) => Some(Risk::UnknownFlow),
        (FlowKind::RootfsLegacy | FlowKind::TwoStage | FlowKind::LinuxInitramfs, _) => None,
    };
    let in_recovery = flow.root_managers.iter().filter(|own| own.in_recovery).filter_map(|own| {
        let setting = own.manager.ramdisk()?.config.as_ref()?.in_recovery;
        Some(Risk::ManagerInRecovery { manager: own.manager, setting })
    });
    let shared = flow.recovery == RecoveryPlace::NormalRamdisk;
    let risks = of_kind.into_iter().chain(in_recovery);
    risks.chain(shared.then_some(Risk::SharedRamdisk)).collect()
}

fn hook_risks(hook: &Hook) -> Vec<Risk> {
    let init = || hook.init.clone();
    match hook.kind {
        HookKind::Rdinit => vec![Risk::RdinitDropped],
        HookKind::Init => {
            let replaced = hook.is_from_device_tree();
            let replaced = replaced.then(|| Risk::BootargsReplaced { init: init() });
            std::iter::once(Risk::InitOverwritten { init: init() }).chain(replaced).collect()
        }
    }
}

fn lasting_risks(flow: &Flow, devices: String) -> Vec<Risk> {
    let mut risks = vec![Risk::HostLosesDevices { devices }];
    let in_ramdisk = flow.root_managers.iter().filter(|manager| !manager.in_kernel);
    risks.extend(in_ramdisk.map(|manager| Risk::RootManagerRewrites { manager: manager.manager }));
    risks.push(match flow.kind {
        FlowKind::LinuxInitramfs => {
            let by = flow.maker.and_then(renewed_by).unwrap_or("an update of the kernel");
            Risk::InitramfsRenewed { by }
        }
        FlowKind::RootfsLegacy
        | FlowKind::LegacySystemAsRoot
        | FlowKind::TwoStage
        | FlowKind::Recovery
        | FlowKind::Unknown => Risk::SystemUpdate,
    });
    risks
}

/// Which program runs after which.
fn chain(flow: &Flow, hook: &Hook, names: &str) -> Vec<String> {
    let init = &hook.init;
    let manager = flow.root_managers.iter().find(|manager| !manager.in_kernel);
    let patched = manager.and_then(|own| own.manager.ramdisk());
    let who = patched.map_or(flow.kind.init(), |own| own.init);
    let mut chain = vec!["kernel".to_owned()];
    match hook.kind {
        HookKind::Rdinit => {
            chain.push(format!("{RUNTIME} (vfiorun puts {names} on vfio-pci)"));
            chain.push(format!("{init} ({who})"));
        }
        HookKind::Init => {
            chain.push(format!("{init} (vfiorun at its path puts {names} on vfio-pci)"));
            chain.push(format!("{init} ({who}, restored)"));
        }
    }
    let next = patched.map(|own| own.next);
    chain.extend(next.into_iter().chain(flow.kind.after_init()).map(str::to_owned));
    chain
}

fn undo(next: &Next) -> Vec<String> {
    let mut undo = Vec::new();
    if next.trial.is_some() {
        undo.push(
            "to try it without flashing: fastboot boot, if the bootloader supports it".to_owned(),
        );
    }
    undo.push(format!("for one boot: {DISABLE_PARAMETER} on the kernel command line"));
    undo.push(
        "for good: vfioboot unpatch restores the originals, byte for byte, and checks their \
         SHA-256; flash those"
            .to_owned(),
    );
    undo
}

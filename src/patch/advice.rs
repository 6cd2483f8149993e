//! What a patch comes to on this boot flow, for people: what runs at boot, what could go wrong,
//! how to undo it.

use serde::Serialize;

use super::hook::{Hook, HookKind};
use crate::bootfile::{DISABLE_WORD, DeviceSpec, RUNTIME};
use crate::bootset::Role;
use crate::bootset::flow::{Flow, FlowKind, RecoveryPlace};
use crate::ramdisk::renewed_by;

/// Advice beside a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Advice {
    /// The programs that run, the kernel first.
    pub chain: Vec<String>,
    /// How to see on the device that it worked.
    pub check: Vec<String>,
    /// What could go wrong and what to do then, besides the plan's warnings.
    pub risks: Vec<String>,
    /// How to try and how to take it back.
    pub undo: Vec<String>,
}

impl Advice {
    /// For a plan that changes images of these roles.
    pub(super) fn new(flow: &Flow, hook: &Hook, devices: &[DeviceSpec], changed: &[Role]) -> Self {
        let mut names: Vec<String> = devices.iter().take(NAMED).map(ToString::to_string).collect();
        if devices.len() > NAMED {
            names.push(format!("{} more", devices.len() - NAMED));
        }
        let names = names.join(", ");
        let mut advice = Advice { chain: chain(flow, hook, &names), ..Advice::default() };
        advice.check.push(CHECK.to_owned());
        advice.flow_risks(flow);
        advice.hook_risks(hook);
        advice.lasting_risks(flow, &names);
        advice.undo = undo(flow, changed);
        advice
    }

    fn risk(&mut self, text: impl Into<String>) {
        self.risks.push(text.into());
    }

    fn flow_risks(&mut self, flow: &Flow) {
        match (flow.kind, flow.certain) {
            (FlowKind::Recovery, _) => self.risk(
                "these images only start recovery, and in recovery vfiorun leaves the devices \
                 alone: the patch has no effect on a normal boot. Give boot.img (or init_boot.img, \
                 vendor_boot.img)",
            ),
            (FlowKind::LegacySystemAsRoot, false) => self.risk(
                "if the bootloader passes skip_initramfs in normal boots (look into /proc/cmdline), \
                 the kernel skips the ramdisk: the device boots as before and nothing is bound. Then \
                 root it with Magisk first, or bind after boot",
            ),
            (FlowKind::LegacySystemAsRoot, true) => self.risk(
                "it depends on the kernel that Magisk changed: a kernel from stock skips the \
                 ramdisk again",
            ),
            (FlowKind::Unknown, _) => self.risk(
                "nothing tells what this ramdisk is: compare what `vfioboot ramdisk IMAGE ls` shows \
                 with what you expect before you flash",
            ),
            _ => {}
        }
        if flow.root_managers.iter().any(|manager| manager.in_recovery) {
            self.risk(
                "Magisk boots the system from the recovery ramdisk here (RECOVERYMODE=true). vfiorun \
                 takes that for recovery and leaves the devices alone: bind after boot instead",
            );
        }
        if flow.recovery == RecoveryPlace::NormalRamdisk {
            self.risk(
                "recovery shares the ramdisk: without androidboot.force_normal_boot=1 vfiorun takes \
                 the boot for recovery, leaves the devices alone and starts it",
            );
        }
    }

    fn hook_risks(&mut self, hook: &Hook) {
        self.risk(match hook.kind {
            HookKind::Rdinit => {
                "a bootloader that drops rdinit= (look into /proc/cmdline) boots the device as \
                 before, with nothing bound: then patch with --hook init"
                    .to_owned()
            }
            HookKind::Init => format!(
                "a ramdisk that is unpacked behind this one and has {} of its own wins: then \
                 nothing is bound",
                hook.init
            ),
        });
        if hook.of_device_tree && hook.kind == HookKind::Init {
            self.risk(format!(
                "a bootloader that replaces /chosen/bootargs never starts {}, and nothing is bound: \
                 then patch with --hook rdinit",
                hook.init
            ));
        }
    }

    fn lasting_risks(&mut self, flow: &Flow, names: &str) {
        self.risk(format!(
            "the host never gets {names}: it must not need it to boot or to be reached (disk, \
             network, display)"
        ));
        for manager in &flow.root_managers {
            if !manager.in_kernel {
                self.risk(format!(
                    "{name} writes the image anew when it is updated or removed: unpatch, let \
                     {name} do it, patch again",
                    name = manager.manager
                ));
            }
        }
        match (flow.kind, flow.maker) {
            (FlowKind::LinuxInitramfs, maker) => {
                let by = maker.and_then(renewed_by).unwrap_or("an update of the kernel");
                self.risk(format!("{by} makes the initramfs anew: patch again after it"));
            }
            _ => self.risk("a system update (OTA) replaces the images: patch the new ones"),
        }
    }
}

/// Devices that are named one by one.
const NAMED: usize = 3;
const CHECK: &str = "dmesg | grep vfioboot: has each step, and why a device was left; vfiorun devices \
                     (or lspci -nnk) shows who drives it";

/// Who runs after whom.
fn chain(flow: &Flow, hook: &Hook, names: &str) -> Vec<String> {
    let init = &hook.init;
    let manager = flow.root_managers.iter().find(|manager| !manager.in_kernel);
    let who = match (manager.map(|own| own.manager), flow.kind) {
        (Some(manager), _) => manager.init(),
        (None, FlowKind::TwoStage) => "first-stage init",
        (None, FlowKind::LinuxInitramfs) => "the initramfs",
        (None, _) => "the original",
    };
    let mut chain = vec!["kernel".to_owned()];
    chain.push(match hook.kind {
        HookKind::Rdinit => format!("{RUNTIME} (vfiorun puts {names} on vfio-pci)"),
        HookKind::Init => format!("{init} (vfiorun in its place puts {names} on vfio-pci)"),
    });
    chain.push(match hook.kind {
        HookKind::Rdinit => format!("{init} ({who})"),
        HookKind::Init => format!("{init} ({who}, put back)"),
    });
    chain.extend(manager.map(|own| own.manager.next().to_owned()));
    match flow.kind {
        FlowKind::TwoStage => chain.push("/system/bin/init".to_owned()),
        FlowKind::LinuxInitramfs => chain.push("the root file system".to_owned()),
        _ => {}
    }
    chain
}

fn undo(flow: &Flow, changed: &[Role]) -> Vec<String> {
    let mut undo = Vec::new();
    if changed == [Role::Boot] && flow.kind != FlowKind::LinuxInitramfs {
        undo.push(
            "to try it without flashing: fastboot boot, where the bootloader has it".to_owned(),
        );
    }
    undo.push(format!("for one boot: {DISABLE_WORD} on the kernel command line"));
    undo.push(
        "for good: vfioboot unpatch gives the originals back, byte for byte, and checks their \
         SHA-256; flash those"
            .to_owned(),
    );
    undo
}

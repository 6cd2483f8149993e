//! The facts about the kernel that a patch needs.

use super::error::Error;
use crate::audit::{Built, Condition, Facts, Profile};
use crate::bootset::{KernelState, SetKernel};
use crate::cmdline::Cmdline;
use crate::kernel::{Arch, Exports};
use crate::modules::TargetKernel;
use crate::rules::Text;

/// The rule whose symbols are the drivers of PCI host bridges.
const HOST_BRIDGE: &str = "VB-PCI-002";

/// The facts about the kernel of the set that a patch needs.
#[derive(Clone, Copy)]
pub(crate) struct KernelFacts<'s>(&'s SetKernel);

impl<'s> KernelFacts<'s> {
    /// The facts about this kernel.
    pub(crate) fn new(kernel: &'s SetKernel) -> Self {
        KernelFacts(kernel)
    }

    /// How far it could be read.
    pub(crate) fn state(&self) -> &'s KernelState {
        &self.0.state
    }

    /// What is known about it.
    pub(crate) fn facts(&self) -> &'s Facts {
        &self.0.facts
    }

    /// Its release, `6.1.192-android14`; without the local part if only the config has it.
    pub(crate) fn version(&self) -> Option<&'s str> {
        self.facts().release.as_deref()
    }

    /// The architecture.
    pub(crate) fn arch(&self) -> Option<Arch> {
        self.0.arch
    }

    /// The built-in command line that the kernel uses instead of the bootloader's
    /// (`CMDLINE_FORCE`, on x86 `CMDLINE_OVERRIDE`).
    pub(crate) fn forced_cmdline(&self) -> Option<String> {
        let (config, _) = self.facts().config.as_ref()?;
        let forced = ["CMDLINE_FORCE", "CMDLINE_OVERRIDE"].iter().any(|s| config.is_set(s));
        let line = config.get("CMDLINE").map(ToString::to_string);
        forced.then(|| line.unwrap_or_default())
    }

    /// The built-in line that the kernel appends to the bootloader's (`CMDLINE_EXTEND`, as upstream
    /// does on arm64).
    pub(crate) fn extending_cmdline(&self) -> Option<String> {
        let (config, _) = self.facts().config.as_ref()?;
        let line = config.get("CMDLINE").map(ToString::to_string);
        line.filter(|_| config.is_set("CMDLINE_EXTEND"))
    }

    /// Whether the symbol is built in according to the kernel's config; None without a config.
    pub(crate) fn is_set(&self, symbol: &str) -> Option<bool> {
        self.facts().config.as_ref().map(|(config, _)| config.is_set(symbol))
    }

    /// Refuse an architecture that vfiorun does not run on.
    ///
    /// # Errors
    /// [`Error::Architecture`].
    pub(crate) fn require_arch(&self) -> Result<(), Error> {
        let why = match self.arch() {
            None | Some(Arch::Arm64 | Arch::X86_64) => return Ok(()),
            Some(Arch::Arm) => {
                "Linux 5.7 took KVM out for 32-bit ARM hosts, so no guest could use the devices. \
                 Where the processor has a 64-bit mode, boot an arm64 kernel and patch that image"
            }
            Some(Arch::X86) => {
                "boot an x86_64 kernel, which runs 32-bit programs as well, and patch that image"
            }
            Some(_) => "it has no VFIO passthrough that this program knows",
        };
        let arch = self.arch().map(Arch::name).unwrap_or_default();
        Err(Error::Architecture { arch, why })
    }

    /// Whether vfio-pci is in the kernel itself, so that `vfio-pci.ids=` has an effect.
    pub(crate) fn vfio_pci_built_in(&self) -> bool {
        self.facts().built("VFIO_PCI") == Built::In
    }

    /// How the feature of `symbol` (without `CONFIG_`) is built.
    pub(crate) fn built(&self, symbol: &str) -> Built {
        self.facts().built(symbol)
    }

    /// Whether a driver of a PCI host bridge is built in. In a GKI kernel that proves nothing: it has
    /// the driver for virtual machines, and that for the hardware is a vendor module.
    pub(crate) fn host_bridge_built_in(&self) -> bool {
        let profile = Profile::builtin("passthrough").ok();
        let rule = profile.as_ref().and_then(|profile| profile.rule(HOST_BRIDGE));
        let Some(Condition::Symbols(drivers)) = rule.map(|rule| &rule.condition) else {
            return false;
        };
        let built_in = |symbol: &Text| self.built(symbol) == Built::In;
        !self.facts().is_gki() && drivers.iter().any(|driver| driver.iter().all(built_in))
    }

    /// The names (with `_`) of the drivers that a rule of the passthrough audit asks for.
    pub(crate) fn drivers_of(&self, rule: &str) -> Vec<String> {
        let Ok(profile) = Profile::builtin("passthrough") else { return Vec::new() };
        let condition = profile.rule(rule).map(|rule| &rule.condition);
        let Some(Condition::Symbols(drivers)) = condition else { return Vec::new() };
        drivers
            .iter()
            .flat_map(|all| all.iter())
            .flat_map(|symbol| profile.modules_of(symbol))
            .collect()
    }

    /// Whether the kernel's config is known.
    pub(crate) fn has_config(&self) -> bool {
        self.facts().config.is_some()
    }

    /// Whether modules affect how devices are bound to vfio-pci: not if everything needed is built in.
    pub(crate) fn modules_may_matter(&self) -> bool {
        let Some((config, _)) = &self.facts().config else { return true };
        let all_built_in = self.vfio_pci_built_in() && self.host_bridge_built_in();
        config.is_set("MODULES") && !all_built_in || self.built("VFIO_PCI") == Built::Module
    }

    /// Whether the kernel decompresses modules itself (`MODULE_DECOMPRESS`, from 5.17 on).
    pub(crate) fn unpacks_modules(&self) -> bool {
        self.built("MODULE_DECOMPRESS") == Built::In
    }

    /// The requirements that a module must meet.
    pub(crate) fn target<'k>(&'k self, exports: Option<&'k Exports>) -> TargetKernel<'k> {
        let line = Cmdline::new(self.facts().cmdline.as_deref().unwrap_or_default());
        // Once enabled, it cannot be disabled (`bool_enable_only`).
        let enforced =
            line.parameters().any(|p| p.is("module.sig_enforce") && p.truth() == Some(true));
        TargetKernel {
            release: self.version(),
            release_is_partial: !self.0.release_is_whole,
            exports,
            trims_exports: self.built("TRIM_UNUSED_KSYMS") == Built::In,
            requires_signature: enforced || self.built("MODULE_SIG_FORCE") == Built::In,
        }
    }
}

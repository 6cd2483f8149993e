//! What the kernel of the set says, and whether that allows the patch.

use std::borrow::Cow;

use serde::Serialize;

use super::Error;
use super::words::PlannedWord;
use crate::audit::{
    self, Built, Condition, Facts, Level, Profile, RecommendedParameter, Report, Verdict,
};
use crate::bootset::{KernelState, SetKernel};
use crate::cmdline::Cmdline;
use crate::compression::Format;
use crate::kernel::{Arch, Exports, Module};
use crate::modules::Target;

/// The rule whose symbols are the drivers of PCI host bridges.
const HOST_BRIDGE: &str = "VB-PCI-002";

/// The kernel as far as the images show it, and what the audit says of it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct KernelFacts {
    /// Its release, `6.1.192-android14`; without the local part when only the config told it.
    pub version: Option<String>,
    /// The architecture.
    pub arch: Option<Arch>,
    /// The outcome of the passthrough audit; None without a readable kernel.
    pub audit: Option<audit::Outcome>,
    /// The rules that decide and failed.
    pub failed: Vec<FailedRule>,
    /// Whether `version` is the whole release.
    #[serde(skip)]
    release_is_whole: bool,
    #[serde(skip)]
    facts: Facts,
    #[serde(skip)]
    words: Vec<RecommendedParameter>,
    #[serde(skip)]
    seen: Seen,
}

/// A rule of the audit that the kernel does not satisfy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailedRule {
    /// Its stable id.
    pub id: String,
    /// What is asked for.
    pub title: String,
    /// Why it failed.
    pub reason: String,
    /// What to do.
    pub fix: String,
}

#[derive(Clone, Debug, Default)]
enum Seen {
    #[default]
    NoKernel,
    Unreadable(String),
    NoConfig,
    Config,
}

impl KernelFacts {
    /// What the set says of its kernel. One that cannot be read is no error: the patch does not
    /// touch it.
    pub(super) fn of(kernel: &SetKernel) -> Self {
        let seen = match &kernel.state {
            KernelState::Absent => Seen::NoKernel,
            KernelState::Unreadable(error) => Seen::Unreadable(error.to_string()),
            KernelState::NoConfig => Seen::NoConfig,
            KernelState::Config => Seen::Config,
        };
        KernelFacts {
            version: kernel.facts.release.clone(),
            arch: kernel.arch,
            release_is_whole: kernel.release_is_whole,
            facts: kernel.facts.clone(),
            seen,
            ..Self::default()
        }
    }

    /// Hold the kernel against the passthrough audit. `modules` are those that will be in the
    /// ramdisk; None when nobody looked.
    pub(super) fn audit(&mut self, modules: Option<Vec<Module>>) {
        if matches!(self.seen, Seen::NoKernel | Seen::Unreadable(_)) {
            return;
        }
        // There may be more on other partitions.
        self.facts.modules_partial = true;
        self.facts.modules = modules.filter(|modules| !modules.is_empty());
        // Every builtin profile is read by a test.
        let Ok(profile) = Profile::builtin("passthrough") else { return };
        let report: Report = audit::evaluate(&profile, &self.facts);
        let failed = report.with(Verdict::Fail).filter(|finding| finding.rule.level.decides());
        self.failed = failed
            .map(|finding| FailedRule {
                id: finding.rule.id.to_string(),
                title: finding.rule.title.to_string(),
                reason: finding.reason.to_string(),
                fix: finding.rule.fix.to_string(),
            })
            .collect();
        self.audit = Some(report.verdict);
        self.words = report.parameters;
    }

    /// What could not be checked, for people.
    pub(super) fn warnings(&self) -> Vec<String> {
        let text = match &self.seen {
            Seen::NoKernel => "no kernel in the set: whether it can do passthrough is not checked",
            Seen::NoConfig => {
                "the kernel has no embedded config: whether it can do passthrough is not known \
                 (vfioboot check --config FILE)"
            }
            Seen::Unreadable(error) => {
                return vec![format!("the kernel cannot be read, nothing is known of it: {error}")];
            }
            Seen::Config => {
                let rules: Vec<String> = self
                    .failed
                    .iter()
                    .map(|rule| format!("{} ({})", rule.title, rule.id))
                    .collect();
                let failed = (!rules.is_empty()).then(|| {
                    format!(
                        "no guest gets the devices with this kernel, for it lacks: \
                         {}. vfioboot check says what to set",
                        rules.join("; ")
                    )
                });
                return failed.into_iter().chain(self.rockchip_warning()).collect();
            }
        };
        vec![text.to_owned()]
    }

    /// Rockchip's own kernels end `unpack_to_rootfs` after the first compressed segment; the
    /// config does not tell them from others that run on the same chips.
    fn rockchip_warning(&self) -> Option<String> {
        let rockchip = self.facts.built("ARCH_ROCKCHIP") == Built::In;
        rockchip.then(|| {
            "CONFIG_ARCH_ROCKCHIP=y: a kernel from Rockchip's own SDK unpacks only the first \
             segment of a compressed ramdisk and would not find /vfioboot/init; mainline, GKI and \
             distribution kernels are fine"
                .to_owned()
        })
    }

    /// Refuse what the kernel's own config says cannot work.
    pub(super) fn require(&self, format: Option<Format>) -> Result<(), Error> {
        let refuse = |symbol: String, reason| Err(Error::Kernel { symbol, reason });
        if format == Some(Format::Lz4Frame) {
            return Err(Error::Format(
                "an LZ4 frame (lz4_legacy is what the kernel reads)".to_owned(),
            ));
        }
        let Some((config, _)) = &self.facts.config else { return Ok(()) };
        if !config.is_set("BLK_DEV_INITRD") {
            let reason = "it unpacks no ramdisk at all";
            return refuse("CONFIG_BLK_DEV_INITRD unset".to_owned(), reason);
        }
        if let Some(symbol) = format.and_then(Format::rd_symbol)
            && !config.is_set(symbol)
        {
            let reason = "it cannot unpack a ramdisk in this format";
            return refuse(format!("CONFIG_{symbol} unset"), reason);
        }
        Ok(())
    }

    /// The command line that the kernel was built with and uses whatever the bootloader passes
    /// (`CMDLINE_FORCE`, on x86 `CMDLINE_OVERRIDE`).
    pub(super) fn forced_cmdline(&self) -> Option<String> {
        let (config, _) = self.facts.config.as_ref()?;
        let forced = ["CMDLINE_FORCE", "CMDLINE_OVERRIDE"].iter().any(|s| config.is_set(s));
        let line = config.get("CMDLINE").map(ToString::to_string);
        forced.then(|| line.unwrap_or_default())
    }

    /// The line that the kernel puts behind the bootloader's (`CMDLINE_EXTEND`, as upstream has it
    /// on arm64).
    pub(super) fn extending_cmdline(&self) -> Option<String> {
        let (config, _) = self.facts.config.as_ref()?;
        let line = config.get("CMDLINE").map(ToString::to_string);
        line.filter(|_| config.is_set("CMDLINE_EXTEND"))
    }

    /// What the kernel's config says of a symbol: built in or not; None without a config.
    pub(super) fn is_set(&self, symbol: &str) -> Option<bool> {
        self.facts.config.as_ref().map(|(config, _)| config.is_set(symbol))
    }

    /// Refuse an architecture that vfiorun does not run on.
    ///
    /// # Errors
    /// [`Error::Architecture`].
    pub(super) fn require_arch(&self) -> Result<(), Error> {
        let why = match self.arch {
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
        let arch = self.arch.map(Arch::name).unwrap_or_default();
        Err(Error::Architecture { arch, why })
    }

    /// Whether vfio-pci is in the kernel itself, so that `vfio-pci.ids=` has an effect.
    pub(super) fn vfio_pci_built_in(&self) -> bool {
        self.facts.built("VFIO_PCI") == Built::In
    }

    /// How the feature of `symbol` (without `CONFIG_`) is built.
    pub(super) fn built(&self, symbol: &str) -> Built {
        self.facts.built(symbol)
    }

    /// A driver of a PCI host bridge is part of the kernel. In a GKI kernel that says nothing: it
    /// has the one of virtual machines, and the hardware's is a vendor module.
    pub(super) fn host_bridge_built_in(&self) -> bool {
        let profile = Profile::builtin("passthrough").ok();
        let rule = profile.as_ref().and_then(|profile| profile.rule(HOST_BRIDGE));
        let Some(Condition::Symbols(drivers)) = rule.map(|rule| &rule.condition) else {
            return false;
        };
        let built_in = |symbol: &Cow<'static, str>| self.built(symbol) == Built::In;
        !self.facts.is_gki() && drivers.iter().any(|driver| driver.iter().all(built_in))
    }

    /// Whether the kernel's config is known.
    pub(super) fn has_config(&self) -> bool {
        self.facts.config.is_some()
    }

    /// Whether what is a module can decide how devices get to vfio-pci: not when all that is
    /// needed is part of the kernel.
    pub(super) fn modules_may_matter(&self) -> bool {
        let Some((config, _)) = &self.facts.config else { return true };
        let all_built_in = self.vfio_pci_built_in() && self.host_bridge_built_in();
        config.is_set("MODULES") && !all_built_in || self.built("VFIO_PCI") == Built::Module
    }

    /// The kernel decompresses modules itself (`MODULE_DECOMPRESS`, from 5.17 on).
    pub(super) fn unpacks_modules(&self) -> bool {
        self.built("MODULE_DECOMPRESS") == Built::In
    }

    /// What a module must fit.
    pub(super) fn target<'k>(&'k self, exports: Option<&'k Exports>) -> Target<'k> {
        let line = Cmdline::new(self.facts.cmdline.as_deref().unwrap_or_default());
        // Once on it stays on (`bool_enable_only`).
        let enforced =
            line.parameters().any(|p| p.is("module.sig_enforce") && p.truth() == Some(true));
        Target {
            release: self.version.as_deref(),
            release_is_partial: !self.release_is_whole,
            exports,
            trims_exports: self.built("TRIM_UNUSED_KSYMS") == Built::In,
            requires_signature: enforced || self.built("MODULE_SIG_FORCE") == Built::In,
        }
    }

    /// Words that make this kernel fit. Optional ones are for the user to choose.
    pub(super) fn recommended_words(&self) -> Vec<PlannedWord> {
        let words = self.words.iter().filter(|word| word.level != Level::Optional);
        words.map(|word| PlannedWord::new(word.parameter.as_ref(), word.why.as_ref())).collect()
    }
}

//! What the kernel of the set says, and whether that allows the patch.

use super::cmdline::Cmdline;
use super::error::Error;
use crate::audit::sources::{self, Named};
use crate::audit::{Built, Condition, Facts, Profile};
use crate::image::{Image, SectionName};
use crate::kernel::{Arch, Exports, Kernel};
use crate::modules::Target;

/// The rule whose symbols are the drivers of PCI host bridges.
const HOST_BRIDGE: &str = "VB-PCI-002";

/// The kernel as far as the images show it, and what the audit says of it.
#[derive(Clone, Debug, Default)]
pub struct KernelFacts {
    /// Its release, `6.1.192-android14`; without the local part when only the config told it.
    pub version: Option<String>,
    /// The architecture.
    pub arch: Option<Arch>,
    /// Whether `version` is the whole release.
    release_is_whole: bool,
    pub(super) facts: Facts,
    pub(super) state: KernelState,
}

/// What there is of a kernel.
#[derive(Clone, Debug, Default)]
pub(super) enum KernelState {
    /// No kernel in the set.
    #[default]
    Absent,
    /// One that cannot be read, and why.
    Unreadable(String),
    /// A kernel without an embedded config.
    NoConfig,
    /// A kernel with its config.
    Config,
}

impl KernelFacts {
    /// Read the kernel of the set, if there is one. A kernel that cannot be read is no error: the
    /// patch does not touch it.
    pub(super) fn gather(images: &[Image<'_>]) -> Self {
        let Some(bytes) = images.iter().find_map(|image| image.section(SectionName::Kernel)) else {
            return Self::default();
        };
        let kernel = Kernel::parse(bytes);
        let arch = kernel.as_ref().ok().and_then(Kernel::arch);
        match kernel.and_then(|kernel| kernel.scan()) {
            Ok(scan) => {
                let mut facts = Facts::from_scan(&scan, arch, "the image");
                let named = images.iter().map(|image| Named { file: image.kind().as_str(), image });
                facts.set_cmdline(sources::of_headers(&named.collect::<Vec<_>>()));
                KernelFacts {
                    version: facts.release.clone(),
                    arch: facts.arch,
                    release_is_whole: scan.banner.is_some(),
                    state: if facts.config.is_some() {
                        KernelState::Config
                    } else {
                        KernelState::NoConfig
                    },
                    facts,
                    ..Self::default()
                }
            }
            Err(error) => KernelFacts {
                arch,
                state: KernelState::Unreadable(error.to_string()),
                ..Self::default()
            },
        }
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

    /// KernelSU is part of the kernel.
    pub(super) fn has_kernelsu(&self) -> bool {
        self.facts.built("KSU") == Built::In
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
        let rule = profile.iter().flat_map(|profile| &profile.rules).find(|r| r.id == HOST_BRIDGE);
        let Some(Condition::Symbols(drivers)) = rule.map(|rule| &rule.condition) else {
            return false;
        };
        let built_in = |symbol: &String| self.built(symbol) == Built::In;
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
        let line = self.facts.cmdline.clone().unwrap_or_default().into_bytes();
        let enforced = Cmdline::new(line).has_word("module.sig_enforce");
        Target {
            release: self.version.as_deref(),
            release_is_partial: !self.release_is_whole,
            exports,
            trims_exports: self.built("TRIM_UNUSED_KSYMS") == Built::In,
            requires_signature: enforced || self.built("MODULE_SIG_FORCE") == Built::In,
        }
    }
}

//! What the kernel of the set says, and whether that allows the patch.

use serde::Serialize;

use super::Error;
use crate::audit::sources::{self, Named};
use crate::audit::{self, Built, Facts, Level, Profile, Report, Verdict};
use crate::compression::Format;
use crate::image::{Image, SectionName};
use crate::kernel::{Arch, Kernel, Module, Scan};

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
    words: Vec<audit::Word>,
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
    /// Read the kernel of the set, if there is one, and audit it with `modules` at hand. A
    /// kernel that cannot be read is no error: the patch does not touch it.
    pub(super) fn gather(images: &[Image<'_>], modules: Vec<Module>) -> Self {
        let Some(bytes) = images.iter().find_map(|image| image.section(SectionName::Kernel)) else {
            return Self::default();
        };
        let scanned = Kernel::parse(bytes).and_then(|kernel| Ok((kernel.arch(), kernel.scan()?)));
        match scanned {
            Ok((arch, scan)) => Self::judge(images, arch, &scan, modules),
            Err(error) => {
                KernelFacts { seen: Seen::Unreadable(error.to_string()), ..Self::default() }
            }
        }
    }

    fn judge<'i>(
        images: &'i [Image<'_>],
        arch: Option<Arch>,
        scan: &Scan,
        modules: Vec<Module>,
    ) -> Self {
        let mut facts = Facts::from_scan(scan, arch, "the image");
        let named = |image: &'i Image<'_>| Named { file: image.kind().as_str(), image };
        facts.set_cmdline(sources::of_headers(&images.iter().map(named).collect::<Vec<_>>()));
        facts.modules = (!modules.is_empty()).then_some(modules);
        // Every builtin profile is read by a test.
        let report: Option<Report> =
            Profile::builtin("passthrough").ok().map(|profile| audit::evaluate(&profile, &facts));
        let failed = report.iter().flat_map(|report| report.with(Verdict::Fail));
        let failed =
            failed.filter(|finding| finding.rule.level.decides()).map(|finding| FailedRule {
                id: finding.rule.id.clone(),
                title: finding.rule.title.clone(),
                reason: finding.reason.clone(),
                fix: finding.rule.fix.clone(),
            });
        KernelFacts {
            version: facts.release.clone(),
            arch: facts.arch,
            failed: failed.collect(),
            audit: report.as_ref().map(|report| report.verdict),
            words: report.map(|report| report.words).unwrap_or_default(),
            release_is_whole: scan.banner.is_some(),
            seen: if facts.config.is_some() { Seen::Config } else { Seen::NoConfig },
            facts,
        }
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
                let lines = self.failed.iter().map(|rule| {
                    format!("{}: {}: {}. {}", rule.id, rule.title, rule.reason, rule.fix)
                });
                return lines.chain(self.rockchip_warning()).collect();
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

    /// Whether vfio-pci is in the kernel itself, so that `vfio-pci.ids=` has an effect.
    pub(super) fn vfio_pci_built_in(&self) -> bool {
        self.facts.built("VFIO_PCI") == Built::In
    }

    /// The kernel's release, when the module was built for another one.
    pub(super) fn mismatch(&self, module: &Module) -> Option<&str> {
        let release = self.version.as_deref()?;
        let built_for = module.vermagic.as_deref().unwrap_or_default();
        let matches = match self.release_is_whole {
            true => module.vermagic_matches(release),
            false => built_for.starts_with(release),
        };
        (!matches).then_some(release)
    }

    /// Words that make this kernel fit. Optional ones are for the user to choose.
    pub(super) fn recommended_words(&self) -> Vec<String> {
        let words = self.words.iter().filter(|word| word.level != Level::Optional);
        words.map(|word| word.word.clone()).collect()
    }
}

//! What the kernel of the set says, and whether that allows the patch.

use serde::Serialize;

use super::Error;
use crate::compression::Format;
use crate::image::{Image, SectionName};
use crate::kernel::{Arch, Kernel, KernelConfig, Module};

/// The kernel as far as the images show it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct KernelFacts {
    /// Its release, `6.1.192-android14`; without the local part when only the config told it.
    pub version: Option<String>,
    /// The architecture.
    pub arch: Option<Arch>,
    /// Whether `version` is the whole release.
    #[serde(skip)]
    release_is_whole: bool,
    /// The embedded config.
    #[serde(skip)]
    config: Option<KernelConfig>,
    #[serde(skip)]
    seen: Seen,
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
    /// Read the kernel of the set, if there is one. A kernel that cannot be read is no error:
    /// the patch does not touch it.
    pub(super) fn gather(images: &[Image<'_>]) -> Self {
        let Some(bytes) = images.iter().find_map(|image| image.section(SectionName::Kernel)) else {
            return Self::default();
        };
        let scanned = Kernel::parse(bytes).and_then(|kernel| Ok((kernel.arch(), kernel.scan()?)));
        let (arch, scan) = match scanned {
            Ok(scanned) => scanned,
            Err(error) => {
                return KernelFacts {
                    seen: Seen::Unreadable(error.to_string()),
                    ..Self::default()
                };
            }
        };
        let config = scan.ikconfig.and_then(|found| KernelConfig::parse(&found.text).ok());
        KernelFacts {
            version: scan.version,
            arch: arch.or_else(|| config.as_ref()?.arch()),
            release_is_whole: scan.banner.is_some(),
            seen: if config.is_some() { Seen::Config } else { Seen::NoConfig },
            config,
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
            Seen::Config => return Vec::new(),
        };
        vec![text.to_owned()]
    }

    /// Refuse what the kernel's own config says cannot work.
    pub(super) fn require(&self, format: Option<Format>) -> Result<(), Error> {
        let refuse = |symbol: String, reason| Err(Error::Kernel { symbol, reason });
        if format == Some(Format::Lz4Frame) {
            return Err(Error::Format(
                "an LZ4 frame (lz4_legacy is what the kernel reads)".to_owned(),
            ));
        }
        let Some(config) = &self.config else { return Ok(()) };
        if !config.is_set("BLK_DEV_INITRD") {
            let reason = "it unpacks no ramdisk at all";
            return refuse("CONFIG_BLK_DEV_INITRD unset".to_owned(), reason);
        }
        if config.is_set("CMDLINE_FORCE") {
            let reason = "it ignores the command line that the bootloader passes, and with it \
                          rdinit=, which starts the runtime";
            return refuse("CONFIG_CMDLINE_FORCE=y".to_owned(), reason);
        }
        if let Some(symbol) = format.and_then(Format::rd_symbol)
            && !config.is_set(symbol)
        {
            let reason = "it cannot unpack a ramdisk in this format";
            return refuse(format!("CONFIG_{symbol} unset"), reason);
        }
        Ok(())
    }

    /// Whether vfio-pci is in the kernel itself, so that `vfio-pci.ids=` has an effect.
    pub(super) fn vfio_pci_built_in(&self) -> bool {
        self.config.as_ref().is_some_and(|config| config.is_set("VFIO_PCI"))
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

    /// Words that make this kernel fit.
    pub(super) fn recommended_words(&self) -> Vec<String> {
        Vec::new()
    }
}

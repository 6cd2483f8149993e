//! What the host's own devices have of the IOMMU: the modes, and the words for each architecture and
//! kernel version.
//!
//! Devices on vfio-pci are translated in every mode: VFIO attaches a domain of its own.

use serde::{Serialize, Serializer};

use super::parameter::{Contradiction, PlannedParameter};
use super::x86;
use crate::cmdline::Cmdline;
use crate::kernel::{Arch, KernelVersion};
use crate::patch::contribution::Contribution;
use crate::patch::error::Error;
use crate::patch::kernel_facts::KernelFacts;

/// What the host's own devices have of the IOMMU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum IommuMode {
    /// On x86_64 what VFIO needs and speeds the host up; elsewhere nothing.
    #[default]
    Auto,
    /// Translated.
    Translated,
    /// Not translated.
    Passthrough,
    /// Translated; an unmapped page leaves the IOMMU's cache at once.
    Strict,
    /// Translated; unmapped pages leave the IOMMU's cache in batches.
    Lazy,
    /// No parameter about it is touched.
    Keep,
}

/// A row of [`IommuMode::TABLE`].
#[derive(Clone, Copy, Debug)]
pub struct IommuRow {
    /// The mode.
    pub mode: IommuMode,
    /// Its name in options and reports.
    pub name: &'static str,
    /// An explanation for help texts.
    pub help: &'static str,
    says: &'static str,
    settings: &'static [Setting],
}

/// One thing that a mode decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Setting {
    /// The IOMMU itself.
    On,
    Translated,
    Bypassed,
    Strict,
    Lazy,
}

/// The sentence that follows that of each mode.
const NO_REQUIREMENT: &str = "VFIO works in every mode, because it gives the devices on vfio-pci \
                              domains of their own: it does not require iommu.passthrough=1";

impl IommuMode {
    /// All modes.
    pub const TABLE: &[IommuRow] = &[
        IommuRow {
            mode: IommuMode::Auto,
            name: "auto",
            help: "On x86_64 intel_iommu=on, amd_iommu=on and iommu=pt where they have an effect \
                   and nothing else is set; on arm64 nothing",
            says: "what an IOMMU needs to be on is added, and nothing that is set is changed",
            settings: &[],
        },
        IommuRow {
            mode: IommuMode::Translated,
            name: "translated",
            help: "The host's own devices are translated too",
            says: "the IOMMU translates the host's own devices too, so that each reaches only \
                   the memory that its driver gave it",
            settings: &[Setting::On, Setting::Translated],
        },
        IommuRow {
            mode: IommuMode::Passthrough,
            name: "passthrough",
            help: "The host's own devices bypass the IOMMU: faster, and nothing keeps them from \
                   the host's memory",
            says: "the host's own devices bypass the IOMMU, which is faster, and nothing keeps \
                   them from the host's memory",
            settings: &[Setting::On, Setting::Bypassed],
        },
        IommuRow {
            mode: IommuMode::Strict,
            name: "strict",
            help: "Translated, and a page that is unmapped is out of reach at once: safest",
            says: "the IOMMU translates the host's own devices too, and a page that is unmapped \
                   is out of their reach at once, which costs the most",
            settings: &[Setting::On, Setting::Translated, Setting::Strict],
        },
        IommuRow {
            mode: IommuMode::Lazy,
            name: "lazy",
            help: "Translated, and unmapped pages are taken out of reach in batches: faster",
            says: "the IOMMU translates the host's own devices too, and pages that are unmapped \
                   are taken out of their reach in batches, which is faster and leaves a device a \
                   short time in which it still reaches them",
            settings: &[Setting::On, Setting::Translated, Setting::Lazy],
        },
        IommuRow {
            mode: IommuMode::Keep,
            name: "keep",
            help: "No parameter about the IOMMU is added, changed or removed",
            says: "no parameter about the IOMMU is added, changed or removed",
            settings: &[],
        },
    ];

    /// The mode of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::TABLE.iter().find(|row| row.name == name).map(|row| row.mode)
    }

    /// Its name in options and reports.
    pub fn name(self) -> &'static str {
        self.row().map_or("", |row| row.name)
    }

    /// What it does, in a sentence.
    pub fn says(self) -> String {
        format!("{}. {NO_REQUIREMENT}", self.row().map_or("", |row| row.says))
    }

    fn row(self) -> Option<&'static IommuRow> {
        Self::TABLE.iter().find(|row| row.mode == self)
    }
}

/// As its name and what it does.
impl Serialize for IommuMode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Plain {
            mode: &'static str,
            does: String,
        }
        Plain { mode: self.name(), does: self.says() }.serialize(serializer)
    }
}

/// What a setting needs on the command line.
#[derive(Clone, Copy, Debug)]
enum Word {
    /// `name=value`, the only value of its name.
    Only(&'static str, &'static str),
    /// An element of the list `name=`.
    Element(&'static str, &'static str),
    /// Nothing: these kernels always do that, or do it unless told otherwise.
    None,
    /// These kernels cannot do it.
    Impossible,
}

/// A setting on kernels of one architecture, from version `since` to before `until`.
struct Words {
    arch: Arch,
    setting: Setting,
    since: (u32, u32),
    until: (u32, u32),
    word: Word,
    /// Without this symbol the word has no use.
    needs: Option<&'static str>,
    /// What says otherwise: a parameter, or an element of its list.
    not: &'static [(&'static str, Option<&'static str>)],
    why: &'static str,
}

const FIRST: (u32, u32) = (0, 0);
const EVER: (u32, u32) = (u32::MAX, 0);

const fn words(
    arch: Arch,
    setting: Setting,
    (since, until): ((u32, u32), (u32, u32)),
    word: Word,
    not: &'static [(&'static str, Option<&'static str>)],
    why: &'static str,
) -> Words {
    Words { arch, setting, since, until, word, needs: None, not, why }
}

/// `Documentation/admin-guide/kernel-parameters.txt` of the versions named. On arm64 the parameters
/// are those of `drivers/iommu/iommu.c`: `iommu.passthrough` came with 4.12, `iommu.strict` with
/// 4.20. On x86_64 `iommu=nopt` came with 4.19, and `iommu.strict` replaced the words of the two
/// drivers in 5.15, which still override it.
const WORDS: &[Words] = &[
    words(
        Arch::Arm64,
        Setting::Translated,
        (FIRST, (4, 12)),
        Word::None,
        &[],
        "kernels before 4.12 always translate",
    ),
    words(
        Arch::Arm64,
        Setting::Translated,
        ((4, 12), EVER),
        Word::Only("iommu.passthrough", "0"),
        &[],
        "the IOMMU translates the host's own devices",
    ),
    words(Arch::Arm64, Setting::Bypassed, (FIRST, (4, 12)), Word::Impossible, &[], "4.12"),
    words(
        Arch::Arm64,
        Setting::Bypassed,
        ((4, 12), EVER),
        Word::Only("iommu.passthrough", "1"),
        &[],
        "the host's own devices bypass the IOMMU; VFIO does not require it",
    ),
    words(
        Arch::Arm64,
        Setting::Strict,
        (FIRST, (4, 20)),
        Word::None,
        &[],
        "kernels before 4.20 are always strict",
    ),
    words(
        Arch::Arm64,
        Setting::Strict,
        ((4, 20), EVER),
        Word::Only("iommu.strict", "1"),
        &[],
        "an unmapped page leaves the IOMMU's cache at once",
    ),
    words(Arch::Arm64, Setting::Lazy, (FIRST, (4, 20)), Word::Impossible, &[], "4.20"),
    words(
        Arch::Arm64,
        Setting::Lazy,
        ((4, 20), EVER),
        Word::Only("iommu.strict", "0"),
        &[],
        "unmapped pages leave the IOMMU's cache in batches",
    ),
    Words {
        needs: Some("INTEL_IOMMU"),
        ..words(
            Arch::X86_64,
            Setting::On,
            (FIRST, EVER),
            Word::Element("intel_iommu", "on"),
            &[("intel_iommu", Some("off")), ("iommu", Some("off"))],
            "VT-d may be off without it; no effect on an AMD machine",
        )
    },
    Words {
        needs: Some("AMD_IOMMU"),
        ..words(
            Arch::X86_64,
            Setting::On,
            (FIRST, EVER),
            Word::Element("amd_iommu", "on"),
            &[("amd_iommu", Some("off"))],
            "AMD-Vi is on by default, the parameter only says so; no effect on an Intel machine",
        )
    },
    words(
        Arch::X86_64,
        Setting::Translated,
        (FIRST, (4, 19)),
        Word::None,
        &[("iommu", Some("pt"))],
        "kernels before 4.19 translate unless told otherwise",
    ),
    words(
        Arch::X86_64,
        Setting::Translated,
        ((4, 19), EVER),
        Word::Element("iommu", "nopt"),
        &[("iommu", Some("pt")), ("iommu.passthrough", None)],
        "the IOMMU translates the host's own devices",
    ),
    words(
        Arch::X86_64,
        Setting::Bypassed,
        (FIRST, EVER),
        Word::Element("iommu", "pt"),
        &[("iommu", Some("nopt")), ("iommu.passthrough", None)],
        "the host's own devices bypass the IOMMU; VFIO does not require it",
    ),
    Words {
        needs: Some("INTEL_IOMMU"),
        ..words(
            Arch::X86_64,
            Setting::Strict,
            (FIRST, (5, 15)),
            Word::Element("intel_iommu", "strict"),
            &[],
            "an unmapped page leaves VT-d's cache at once",
        )
    },
    Words {
        needs: Some("AMD_IOMMU"),
        ..words(
            Arch::X86_64,
            Setting::Strict,
            (FIRST, (5, 15)),
            Word::Element("amd_iommu", "fullflush"),
            &[],
            "an unmapped page leaves AMD-Vi's cache at once",
        )
    },
    words(
        Arch::X86_64,
        Setting::Strict,
        ((5, 15), EVER),
        Word::Only("iommu.strict", "1"),
        &[],
        "an unmapped page leaves the IOMMU's cache at once",
    ),
    words(
        Arch::X86_64,
        Setting::Lazy,
        (FIRST, (5, 15)),
        Word::None,
        &[("intel_iommu", Some("strict")), ("amd_iommu", Some("fullflush"))],
        "kernels before 5.15 are lazy unless told otherwise",
    ),
    words(
        Arch::X86_64,
        Setting::Lazy,
        ((5, 15), EVER),
        Word::Only("iommu.strict", "0"),
        &[("intel_iommu", Some("strict")), ("amd_iommu", Some("fullflush"))],
        "unmapped pages leave the IOMMU's cache in batches",
    ),
];

/// The words of a mode for this kernel. Without a kernel it is taken for the newest one for arm64,
/// as the runtime is.
fn words_for(mode: IommuMode, kernel: &KernelFacts<'_>) -> impl Iterator<Item = &'static Words> {
    let arch = kernel.arch().unwrap_or(Arch::Arm64);
    let version = kernel.version().and_then(KernelVersion::parse);
    let version = version.map_or((EVER.0 - 1, 0), |version| (version.major, version.minor));
    let settings = mode.row().map_or(&[][..], |row| row.settings);
    WORDS.iter().filter(move |row| {
        row.arch == arch
            && settings.contains(&row.setting)
            && (row.since..row.until).contains(&version)
    })
}

/// The parameters of a mode. `lines` are those of the images, and what the user asked for.
///
/// # Errors
/// [`Error::Iommu`] when this kernel cannot do it.
pub(crate) fn contribute(
    mode: IommuMode,
    kernel: KernelFacts<'_>,
    lines: &[Cmdline],
) -> Result<Contribution, Error> {
    if mode == IommuMode::Auto {
        return Ok(x86::contribute(kernel, lines));
    }
    let mut contribution = Contribution::default();
    for row in words_for(mode, &kernel) {
        let not = row.not.iter().map(|(name, element)| Contradiction { name, element: *element });
        contribution.contradictions.extend(not);
        if row.needs.and_then(|symbol| kernel.is_set(symbol)) == Some(false) {
            continue;
        }
        contribution.parameters.extend(match row.word {
            Word::Only(name, value) => Some(PlannedParameter::only(name, value, row.why)),
            Word::Element(name, value) => {
                Some(PlannedParameter::merged(name, vec![value.to_owned()], row.why))
            }
            Word::None => None,
            Word::Impossible => {
                let version = kernel.version().unwrap_or_default().to_owned();
                return Err(Error::Iommu { mode: mode.name(), since: row.why, version });
            }
        });
    }
    Ok(contribution)
}

//! What sort of ramdisk this is. A pure function of entry names and, where names do not tell,
//! of what is in a file. The signs are data: `signs.toml`.
//!
//! The tests are those of the root managers' own boot code and of AOSP's first-stage init.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::cpio::FileType;
use super::normalise;
pub use super::signs::RamdiskKind;
use super::signs::{Search, Signs};
use crate::compression::decode_all;
use crate::root_manager::{Manager, Original, patched_ramdisks};

/// One kind and what shows it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// The kind.
    pub kind: RamdiskKind,
    /// The entry that shows it, or for [`RamdiskKind::Empty`] and [`RamdiskKind::Unknown`] what
    /// was not there.
    pub evidence: String,
    /// For [`RamdiskKind::LinuxInitramfs`]: the program that made it, where a sign tells.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maker: Option<&'static str>,
}

/// Everything a ramdisk is, most telling first; never empty.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(transparent)]
pub struct Kinds(Vec<Finding>);

impl Kinds {
    /// The most telling finding.
    pub fn primary(&self) -> &Finding {
        &self.0[0]
    }

    /// All findings.
    pub fn findings(&self) -> &[Finding] {
        &self.0
    }

    /// Is this one of the kinds?
    pub fn has(&self, kind: RamdiskKind) -> bool {
        self.0.iter().any(|finding| finding.kind == kind)
    }
}

/// Classify by entry names (`/` or `./` before them does not matter) and, if known, the bytes of
/// the Android init program: `init`, or for a patched ramdisk the original that was put aside.
pub fn classify<'n>(names: impl IntoIterator<Item = &'n [u8]>, init: Option<&[u8]>) -> Kinds {
    let signs = Signs::builtin();
    let mut classifier = Classifier::default();
    for name in names {
        classifier.name(&signs, &normalise(name), false);
    }
    if let Some(init) = init {
        let mut search = Search::new(&signs, "init");
        search.window(init);
        classifier.texts(&signs, "init", &search);
    }
    classifier.finish(&signs)
}

/// What a ramdisk is, and the entries that say more about how it boots.
#[derive(Clone, Debug)]
pub struct Survey {
    /// What it is.
    pub kinds: Kinds,
    /// The entries at or below the paths that tell how a ramdisk boots, without leading `/`, in order.
    pub telling: Vec<String>,
    /// The data of the small files that say more, as far as it has them, by path.
    pub files: BTreeMap<String, Vec<u8>>,
    /// It has a file of the module vfio-pci, wherever that is.
    pub vfio_pci: bool,
}

/// Paths of which, and below which, a [`Survey`] keeps the names, beside those of root managers.
const TELLING: &[&str] = &["init", "init.rc", "first_stage_ramdisk", "vfioboot"];

/// [`TELLING`] with those of root managers, each once.
static TELLING_TOPS: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let managers = Manager::ALL.iter().flat_map(|manager| manager.tops());
    let mut tops: Vec<&str> = TELLING.iter().copied().chain(managers).collect();
    tops.sort_unstable();
    tops.dedup();
    tops
});
/// Names that a [`Survey`] keeps at most: far more than anybody puts there.
const TELLING_MAX: usize = 4096;
/// The bytes of a root manager's config that a [`Survey`] keeps: far more than it has.
const CONFIG_MAX: u32 = 64 << 10;
/// The bytes of a packed original `init`: far more than it has; and unpacked.
const PACKED_INIT_MAX: u32 = 16 << 20;
/// See [`PACKED_INIT_MAX`].
const INIT_MAX: u64 = 64 << 20;

impl Survey {
    /// Whether it has this entry, which is among [`Survey::telling`].
    pub(crate) fn has(&self, path: &str) -> bool {
        self.telling.iter().any(|name| name == path)
    }
}

/// Whether a root manager keeps its settings at this path.
fn is_config(path: &str) -> bool {
    let mut configs = patched_ramdisks().filter_map(|(_, ramdisk)| ramdisk.config.as_ref());
    configs.any(|config| config.path == path)
}

/// The original `init` that a root manager keeps at this path, compressed.
fn packed_original(path: &str) -> Option<&'static Original> {
    let mut originals = patched_ramdisks().filter_map(|(_, ramdisk)| ramdisk.original(path));
    originals.find(|original| original.compression.is_some())
}

/// A survey under way: shown the entries of a ramdisk in order, and the data it asks for.
#[derive(Clone)]
pub(super) struct Classification {
    signs: Signs,
    classifier: Classifier,
    telling: Vec<String>,
    files: BTreeMap<String, Vec<u8>>,
    vfio_pci: bool,
}

impl Default for Classification {
    fn default() -> Self {
        Classification {
            signs: Signs::builtin(),
            classifier: Classifier::default(),
            telling: Vec::new(),
            files: BTreeMap::new(),
            vfio_pci: false,
        }
    }
}

impl Classification {
    /// An entry that is not a TRAILER, by its normalised name.
    pub(crate) fn name(&mut self, name: &[u8], file_type: FileType) {
        self.classifier.name(&self.signs, name, file_type == FileType::Directory);
        let Ok(name) = str::from_utf8(name) else { return };
        self.vfio_pci |= file_type == FileType::Regular && is_vfio_pci(name);
        let top = name.split('/').next().unwrap_or_default();
        let fits = self.telling.len() < TELLING_MAX;
        if TELLING_TOPS.contains(&top) && fits && !self.telling.iter().any(|known| known == name) {
            self.telling.push(name.to_owned());
        }
    }

    /// Whether the data of this regular file is needed as a whole.
    pub(crate) fn reads_whole(&self, path: &str, size: u32) -> bool {
        is_config(path) && size <= CONFIG_MAX
            || packed_original(path).is_some() && size <= PACKED_INIT_MAX
    }

    /// A search of this regular file; None where there is nothing to look for.
    pub(crate) fn search(&self, path: &str) -> Option<Search> {
        self.signs.look_into(path).then(|| Search::new(&self.signs, path))
    }

    /// A search that has seen all of the file.
    pub(crate) fn searched(&mut self, path: &str, search: &Search) {
        self.classifier.texts(&self.signs, path, search);
    }

    /// All the data of a regular file.
    pub(crate) fn data(&mut self, path: &str, data: &[u8]) {
        if is_config(path) && data.len() <= CONFIG_MAX as usize {
            self.files.insert(path.to_owned(), data.to_vec());
        } else if let Some(format) = packed_original(path).and_then(|own| own.compression) {
            // A damaged one tells nothing.
            if let Ok((init, _)) = decode_all(format, data, INIT_MAX) {
                let mut search = Search::of_original(&self.signs);
                search.window(&init);
                self.searched(path, &search);
            }
        } else if let Some(mut search) = self.search(path) {
            search.window(data);
            self.searched(path, &search);
        }
    }

    pub(crate) fn finish(self) -> Survey {
        Survey {
            kinds: self.classifier.finish(&self.signs),
            telling: self.telling,
            files: self.files,
            vfio_pci: self.vfio_pci,
        }
    }
}

/// Whether a file is the module vfio-pci, by its name; modules may be compressed.
fn is_vfio_pci(path: &str) -> bool {
    let file = path.rsplit('/').next().unwrap_or_default();
    file.split_once(".ko").is_some_and(|(stem, rest)| {
        matches!(stem, "vfio-pci" | "vfio_pci") && (rest.is_empty() || rest.starts_with('.'))
    })
}

/// Collects evidence name by name; holds the first piece for every kind.
#[derive(Clone, Default)]
struct Classifier {
    findings: Vec<Finding>,
    entries: bool,
    init: bool,
    init_rc: bool,
    /// Those signs of root managers that count together.
    joint_signs: Vec<(Manager, &'static str)>,
    /// The sign that named the maker.
    maker: Option<usize>,
    /// The signs that are in `init`.
    init_texts: Vec<usize>,
}

impl Classifier {
    /// Note the first evidence for a kind.
    fn see(&mut self, kind: RamdiskKind, evidence: &str) {
        if !self.findings.iter().any(|finding| finding.kind == kind) {
            self.findings.push(Finding { kind, evidence: evidence.into(), maker: None });
        }
    }

    /// Note the sign of this number in the table. One that names a maker says more than one that
    /// does not, and an earlier one more than a later one.
    fn sign(&mut self, signs: &Signs, number: usize, evidence: &str) {
        let sign = signs.get(number);
        self.see(sign.kind, evidence);
        let finding = self.findings.iter_mut().find(|finding| finding.kind == sign.kind);
        if let (Some(finding), Some(maker)) = (finding, sign.maker())
            && self.maker.is_none_or(|before| number < before)
        {
            self.maker = Some(number);
            (finding.maker, finding.evidence) = (Some(maker), evidence.into());
        }
    }

    /// The texts that were found in a file. Those of `init` count at the end: Magisk's own contains
    /// what two-stage init does.
    fn texts(&mut self, signs: &Signs, name: &str, search: &Search) {
        if name == "init" {
            self.init_texts = search.found().collect();
            return;
        }
        self.found(signs, name, search.found());
    }

    fn found(&mut self, signs: &Signs, name: &str, numbers: impl Iterator<Item = usize>) {
        for number in numbers {
            let text = signs.get(number).text().unwrap_or_default();
            self.sign(signs, number, &format!("{name} contains {text}"));
        }
    }

    /// An entry, by its normalised name.
    fn name(&mut self, signs: &Signs, name: &[u8], directory: bool) {
        let Ok(name) = str::from_utf8(name) else {
            self.entries = true;
            return;
        };
        // `.` is the root directory.
        self.entries |= !name.is_empty();
        self.init |= name == "init";
        self.init_rc |= name == "init.rc";
        for (manager, ramdisk) in patched_ramdisks() {
            if ramdisk.is_shown_by(name) {
                self.see(RamdiskKind::Patched(manager), name);
            }
            let joint = ramdisk.joint_signs.iter().find(|sign| **sign == name);
            if let Some(sign) = joint.filter(|sign| !self.joint_signs.contains(&(manager, sign))) {
                self.joint_signs.push((manager, sign));
            }
        }
        for number in signs.of_path(name, directory) {
            self.sign(signs, number, name);
        }
    }

    fn finish(mut self, signs: &Signs) -> Kinds {
        use RamdiskKind::{Patched, RootfsLegacy, TwoStage, VendorFragment};
        for (manager, ramdisk) in patched_ramdisks() {
            let joint = ramdisk.joint_signs;
            let is_there = |sign: &&'static str| self.joint_signs.contains(&(manager, sign));
            if !joint.is_empty() && joint.iter().all(is_there) {
                self.see(Patched(manager), &joint.join(", "));
            }
        }
        // What a root manager's own init contains tells nothing of the device.
        let init_texts = std::mem::take(&mut self.init_texts);
        if !self.findings.iter().any(|finding| matches!(finding.kind, Patched(_))) {
            self.found(signs, "init", init_texts.into_iter());
        }
        if self.init {
            self.findings.retain(|finding| finding.kind != VendorFragment);
            let two_stage = self.findings.iter().any(|finding| finding.kind == TwoStage);
            if self.init_rc && !two_stage {
                self.see(RootfsLegacy, "init.rc");
            }
        } else {
            // Files for a first stage that another ramdisk brings.
            let staged = self.findings.iter().find(|finding| finding.kind == TwoStage).cloned();
            if let Some(staged) = staged {
                self.findings.retain(|finding| finding.kind != TwoStage);
                self.see(VendorFragment, &staged.evidence);
            }
        }
        if self.findings.is_empty() {
            let (kind, evidence) = match (self.entries, self.init) {
                (false, _) => (RamdiskKind::Empty, "no entries"),
                (true, true) => (RamdiskKind::Unknown, "init, and nothing that tells whose"),
                (true, false) => (RamdiskKind::Unknown, "no init and no modules"),
            };
            self.see(kind, evidence);
        }
        self.findings.sort_by_key(|finding| finding.kind);
        Kinds(self.findings)
    }
}

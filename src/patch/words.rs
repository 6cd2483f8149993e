//! The words that a patch puts on the kernel command line.

use serde::Serialize;

use super::Error;
use super::draft::Draft;
use super::hook::{Hook, HookKind};
use super::kernel_facts::KernelFacts;
use super::plan::Options;
use crate::bootfile::{self, DeviceSpec, RUNTIME};
use crate::cmdline::Cmdline;
use crate::image::{Header, Image};
use crate::kernel::Arch;

/// A word that the patch puts on the command line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedWord {
    /// As it is written.
    pub word: String,
    /// What it is for.
    pub why: String,
}

impl PlannedWord {
    pub(super) fn new(word: impl Into<String>, why: impl Into<String>) -> Self {
        PlannedWord { word: word.into(), why: why.into() }
    }
}

/// A word for x86_64, where the IOMMU is not simply there. Which vendor's machine it will be is in
/// no image; a word for the other one does nothing.
struct X86Word {
    name: &'static str,
    value: &'static str,
    /// Without this symbol the kernel has no use for it.
    needs: &'static str,
    /// With this symbol it is so by itself.
    unless: Option<&'static str>,
    why: &'static str,
}

const X86_WORDS: [X86Word; 3] = [
    X86Word {
        name: "intel_iommu",
        value: "on",
        needs: "INTEL_IOMMU",
        unless: Some("INTEL_IOMMU_DEFAULT_ON"),
        why: "VT-d is off without it; does nothing on an AMD machine",
    },
    X86Word {
        name: "amd_iommu",
        value: "on",
        needs: "AMD_IOMMU",
        unless: None,
        why: "AMD-Vi is on by itself, the word only says so; does nothing on an Intel machine",
    },
    X86Word {
        name: "iommu",
        value: "pt",
        needs: "IOMMU_SUPPORT",
        unless: Some("IOMMU_DEFAULT_PASSTHROUGH"),
        why: "the host's own drivers go without translation, which is faster; what is on vfio-pci \
              is translated all the same",
    },
];

/// The words of the table that fit the kernel and are not on one of the `lines` yet.
fn x86_words(kernel: &KernelFacts, lines: &[Cmdline], draft: &mut Draft) -> Vec<PlannedWord> {
    let mut words = Vec::new();
    if kernel.arch != Some(Arch::X86_64) {
        return words;
    }
    for X86Word { name, value, needs, unless, why } in &X86_WORDS {
        let set = |symbol: &str| kernel.is_set(symbol);
        if set(needs) == Some(false) || unless.and_then(set) == Some(true) {
            continue;
        }
        match lines.iter().rev().find_map(|line| line.value(name)) {
            Some(b"off") => draft.warnings.push(format!(
                "{name}=off is on the command line; {name}={value} comes behind it and wins"
            )),
            Some(_) => continue,
            None => {}
        }
        words.push(PlannedWord::new(format!("{name}={value}"), *why));
    }
    words
}

/// Words for the command line.
pub struct Words {
    rdinit: bool,
    add: Vec<String>,
    ids: Option<String>,
    /// All of them, with the reasons.
    pub planned: Vec<PlannedWord>,
}

impl Words {
    fn is_empty(&self) -> bool {
        !self.rdinit && self.add.is_empty() && self.ids.is_none()
    }

    pub fn apply(&self, line: &mut Cmdline) {
        match line.value("rdinit").is_some() {
            _ if !self.rdinit => {}
            true => line.set("rdinit", RUNTIME),
            // In front, because the kernel forgets the arguments for init that stand before
            // `rdinit=` (`rdinit_setup` in init/main.c).
            false => line.prepend(&format!("rdinit={RUNTIME}")),
        }
        if let Some(ids) = &self.ids {
            let old =
                line.value("vfio-pci.ids").map(|old| String::from_utf8_lossy(old).into_owned());
            // The last one wins, so what is there already goes into ours.
            line.set("vfio-pci.ids", &merge_ids(old.as_deref(), ids));
        }
        self.add.iter().for_each(|word| line.add(word));
    }
}

fn merge_ids(old: Option<&str>, new: &str) -> String {
    let mut ids: Vec<&str> = old.into_iter().flat_map(|ids| ids.split(',')).collect();
    for id in new.split(',') {
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    ids.join(",")
}

/// The words, the image whose line gets them, and those that no image can carry.
pub fn words(
    images: &[Image<'_>],
    line: Option<usize>,
    hook: &Hook,
    kernel: &KernelFacts,
    options: &Options<'_>,
    draft: &mut Draft,
) -> (Words, Option<usize>, Vec<String>) {
    let mut lines: Vec<Cmdline> =
        images.iter().filter_map(Image::header).map(Header::cmdline).map(Cmdline::new).collect();
    lines.extend(options.words.iter().map(|word| Cmdline::new(word.clone().into_bytes())));
    let mut further = kernel.recommended_words();
    // The table knows more ways in which such a word may be there.
    further.retain(|word| {
        let line = Cmdline::new(&word.word);
        X86_WORDS.iter().all(|known| line.value(known.name).is_none())
    });
    further.extend(x86_words(kernel, &lines, draft));
    further.extend(options.words.iter().map(|word| PlannedWord::new(word, "asked for")));
    let add: Vec<String> = further.iter().map(|word| word.word.clone()).collect();
    let ids: Vec<String> = options
        .devices
        .iter()
        .filter(|device| matches!(device, DeviceSpec::Id { .. }))
        .map(DeviceSpec::to_string)
        .collect();
    // A module would get them through libmodprobe only, not from here.
    let ids = (kernel.vfio_pci_built_in() && !ids.is_empty()).then(|| ids.join(","));
    let rdinit = hook.kind == HookKind::Rdinit;
    let mut planned = Vec::new();
    if rdinit {
        let why = "starts the runtime in place of /init, which it executes when it is done";
        planned.push(PlannedWord::new(format!("rdinit={RUNTIME}"), why));
    }
    if let Some(ids) = &ids {
        let why = "vfio-pci is part of the kernel and takes these by itself when they appear";
        planned.push(PlannedWord::new(format!("vfio-pci.ids={ids}"), why));
    }
    planned.extend(further);
    let words = Words { rdinit, add, ids, planned };
    if words.is_empty() {
        return (words, None, Vec::new());
    }
    let mut all = Cmdline::new(Vec::new());
    words.apply(&mut all);
    let all = all.display();
    if kernel.forced_cmdline().is_some() {
        draft.warnings.push(format!(
            "the kernel ignores the command line it is passed: whatever these words do must be \
             built into it with CONFIG_CMDLINE: {all}"
        ));
        return (words, None, vec![all]);
    }
    if line.is_some() {
        return (words, line, Vec::new());
    }
    let needed = match words.rdinit {
        true => "no image of the set has a command line: add this to your bootloader's",
        false => {
            "no image of the set has a command line for these words, without which the devices \
             are bound all the same: add them to your bootloader's, or give vendor_boot.img"
        }
    };
    draft.warnings.push(format!("{needed}: {all}"));
    (words, None, vec![all])
}

/// Words that the patch sets itself, or that would turn it off.
pub fn refuse(words: &[String]) -> Result<(), Error> {
    for text in words {
        let line = Cmdline::new(text);
        let reason = if line.value("rdinit").is_some() {
            "the runtime is started by rdinit=, and the last one wins"
        } else if line.value("vfio-pci.ids").is_some() {
            "ids are given as --device"
        } else if bootfile::is_disabled(&line) {
            "it turns the patch off"
        } else {
            continue;
        };
        return Err(Error::Word { word: text.clone(), reason });
    }
    Ok(())
}

//! The words that a patch puts on the kernel command line.

use super::draft::Draft;
use super::hook::{Hook, HookKind};
use super::kernel_facts::KernelFacts;
use super::plan::Options;
use super::{Cmdline, Error};
use crate::bootfile::{DISABLE_WORD, DeviceSpec, RUNTIME};

/// Words for the command line.
pub struct Words {
    rdinit: bool,
    add: Vec<String>,
    ids: Option<String>,
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
    line: Option<usize>,
    hook: &Hook,
    kernel: &KernelFacts,
    options: &Options<'_>,
    draft: &mut Draft,
) -> (Words, Option<usize>, Vec<String>) {
    let mut add: Vec<String> = kernel.recommended_words();
    add.extend(options.words.iter().cloned());
    let ids: Vec<String> = options
        .devices
        .iter()
        .filter(|device| matches!(device, DeviceSpec::Id { .. }))
        .map(DeviceSpec::to_string)
        .collect();
    // A module would get them through libmodprobe only, not from here.
    let ids = (kernel.vfio_pci_built_in() && !ids.is_empty()).then(|| ids.join(","));
    let words = Words { rdinit: hook.kind == HookKind::Rdinit, add, ids };
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
        let line = Cmdline::new(text.clone().into_bytes());
        let reason = if line.value("rdinit").is_some() {
            "the runtime is started by rdinit=, and the last one wins"
        } else if line.value("vfio-pci.ids").is_some() {
            "ids are given as --device"
        } else if line.has_word(DISABLE_WORD) {
            "it turns the patch off"
        } else {
            continue;
        };
        return Err(Error::Word { word: text.clone(), reason });
    }
    Ok(())
}

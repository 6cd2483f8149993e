//! The kernel parameters from AVB's command line descriptors, collected like
//! `load_and_verify_vbmeta` of libavb's `avb_slot_verify.c`.

use super::named::Named;
use super::note::{Hashtrees, LineNote};
use crate::bootset::avb::leads_to;
use crate::bootset::origin::{CmdlinePart, Origin};
use crate::image::ImageKind;
use crate::image::avb::{Descriptor, Flags, Vbmeta};

/// `AVB_KERNEL_CMDLINE_FLAGS_USE_ONLY_IF_HASHTREE_NOT_DISABLED` and `…_DISABLED` of
/// `avb_kernel_cmdline_descriptor.h`.
const ONLY_WITH_HASHTREES: u32 = 1;
const ONLY_WITHOUT_HASHTREES: u32 = 2;

/// Variables that libavb replaces when the device boots (`avb_sub_cmdline` of `avb_cmdline.c`).
const FILLED_IN: &[&str] = &[
    "$(ANDROID_SYSTEM_PARTUUID)",
    "$(ANDROID_BOOT_PARTUUID)",
    "$(ANDROID_VBMETA_PARTUUID)",
    "$(ANDROID_VERITY_MODE)",
];

/// The kernel parameters from AVB.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AvbLine {
    /// The descriptors that apply, in libavb's order.
    pub parts: Vec<CmdlinePart>,
    /// Descriptors that do not apply, values that are known only at boot, and assumptions.
    pub notes: Vec<LineNote>,
}

/// The kernel command line descriptors of a set of images.
///
/// With a vbmeta.img in the set, these are its descriptors and those in the blobs of the images to
/// which it chains: a device does not read any other blob. Without one, these are the descriptors of
/// every blob. The flags of the vbmeta.img decide whether descriptors for disabled hash trees apply;
/// without it, the flags are assumed to be 0.
pub(crate) fn of_avb(images: &[Named<'_, '_>]) -> AvbLine {
    let mut line = AvbLine::default();
    let is_top = |named: &&Named<'_, '_>| {
        named.image.kind() == ImageKind::Vbmeta
            && !images.iter().any(|other| chains_to(other, named))
    };
    let tops = || images.iter().filter(is_top);
    match tops().count() {
        0 => {
            for named in images {
                line.take(named, images, None);
            }
        }
        1 => tops().for_each(|top| line.top(top, images)),
        _ => {
            let files = tops().map(|named| named.file.to_owned()).collect();
            line.notes.push(LineNote::SeveralVbmetas { files });
        }
    }
    line.name_filled_in();
    line
}

/// Whether one image is a vbmeta image with a chain descriptor for the other.
fn chains_to(above: &Named<'_, '_>, below: &Named<'_, '_>) -> bool {
    if std::ptr::eq(above.image, below.image) || above.image.kind() != ImageKind::Vbmeta {
        return false;
    }
    let vbmeta = above.image.vbmeta().and_then(Result::ok);
    vbmeta.is_some_and(|vbmeta| {
        vbmeta.descriptors.iter().any(|entry| match &entry.descriptor {
            Descriptor::ChainPartition(chain) => leads_to(chain, below.file, below.image),
            Descriptor::Property { .. }
            | Descriptor::Hashtree(_)
            | Descriptor::Hash(_)
            | Descriptor::KernelCmdline { .. }
            | Descriptor::Unknown { .. } => false,
        })
    })
}

impl AvbLine {
    fn top(&mut self, top: &Named<'_, '_>, images: &[Named<'_, '_>]) {
        let Some(Ok(vbmeta)) = top.image.vbmeta() else {
            return self.take(top, images, None);
        };
        self.take(top, images, Some(vbmeta.flags()));
        let chained = |named: &Named<'_, '_>| chains_to(top, named);
        let others = images.iter().filter(|named| named.image.kind() != ImageKind::Vbmeta);
        for named in others.filter(|named| !chained(named)) {
            let Some(Ok(own)) = named.image.vbmeta() else { continue };
            if own.kernel_cmdlines().next().is_some() {
                let (file, top) = (named.file.to_owned(), top.file.to_owned());
                self.notes.push(LineNote::NotChained { file, top });
            }
        }
    }

    /// The descriptors of one image and of those that it chains to. `flags` are those of the
    /// vbmeta.img.
    fn take(&mut self, named: &Named<'_, '_>, images: &[Named<'_, '_>], flags: Option<Flags>) {
        let vbmeta = match named.image.vbmeta() {
            None => return,
            Some(Ok(vbmeta)) => vbmeta,
            Some(Err(problem)) => {
                let file = named.file.to_owned();
                return self.notes.push(LineNote::Vbmeta { file, problem });
            }
        };
        if flags.is_some_and(Flags::verification_disabled) {
            if vbmeta.kernel_cmdlines().next().is_some() {
                let file = named.file.to_owned();
                self.notes.push(LineNote::VerificationDisabled { file });
            }
            return;
        }
        for (index, entry) in vbmeta.descriptors.iter().enumerate() {
            match &entry.descriptor {
                Descriptor::KernelCmdline { flags: when, cmdline } => {
                    let text = String::from_utf8_lossy(cmdline).into_owned();
                    self.descriptor(named.file, index, text, *when, flags);
                }
                // In a chained vbmeta image libavb refuses another chain.
                Descriptor::ChainPartition(chain) if flags.is_some() => {
                    let leads = |named: &&Named<'_, '_>| {
                        leads_to(chain, named.file, named.image) && named.image.vbmeta().is_some()
                    };
                    let next = images.iter().find(leads);
                    if let Some(next) = next {
                        self.take(next, &[], flags);
                    }
                }
                _ => {}
            }
        }
    }

    fn descriptor(
        &mut self,
        file: &str,
        index: usize,
        text: String,
        when: u32,
        flags: Option<Flags>,
    ) {
        let (state, unfit) = match flags.is_some_and(Flags::hashtree_disabled) {
            true => (Hashtrees::Disabled, when & ONLY_WITH_HASHTREES != 0),
            false => (Hashtrees::Enabled, when & ONLY_WITHOUT_HASHTREES != 0),
        };
        let conditional = when & (ONLY_WITH_HASHTREES | ONLY_WITHOUT_HASHTREES) != 0;
        if unfit {
            let (file, known) = (file.to_owned(), flags.is_some());
            self.notes.push(LineNote::OtherHashtrees { file, index, text, state, known });
            return;
        }
        if conditional && flags.is_none() {
            self.notes.push(LineNote::HashtreesUnknown { file: file.to_owned(), index, state });
        }
        self.parts.push(CmdlinePart { origin: Origin::Avb(file.to_owned()), text });
    }

    fn name_filled_in(&mut self) {
        for variable in FILLED_IN {
            if self.parts.iter().any(|part| part.text.contains(variable)) {
                self.notes.push(LineNote::FilledIn(variable));
            }
        }
    }
}

impl<'a> Vbmeta<'a> {
    /// The texts of the kernel command line descriptors, with any flags.
    fn kernel_cmdlines(&self) -> impl Iterator<Item = &'a [u8]> {
        self.descriptors.iter().filter_map(|entry| match entry.descriptor {
            Descriptor::KernelCmdline { cmdline, .. } => Some(cmdline),
            _ => None,
        })
    }
}

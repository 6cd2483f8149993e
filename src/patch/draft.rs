//! What a plan tells: its edits and warnings, in words.

use super::avb;
use super::hook::{Hook, Original};
use super::modules::ModulePlan;
use super::place::Place;
use super::plan::PlannedEdit;
use super::target::Targets;
use crate::cmdline::{COMMAND_LINE_SIZE, Cmdline};
use crate::compression::Format;
use crate::image::{Header, Image, ImageKind, Rebuilt, SectionName};

/// Edits and warnings of a plan, as they come up.
pub struct Draft {
    pub edits: Vec<PlannedEdit>,
    pub warnings: Vec<String>,
}

impl Draft {
    pub fn edit(
        &mut self,
        image: usize,
        what: &'static str,
        why: &str,
        before: String,
        after: String,
    ) {
        self.edits.push(PlannedEdit { image, what, why: why.to_owned(), before, after });
    }

    pub fn segment(
        &mut self,
        targets: &Targets,
        place: &Place<'_>,
        size: usize,
        hook: &Hook,
        original: Option<&Original>,
    ) {
        let packed = place.point.format.map_or("raw cpio", Format::name);
        let old = place.ramdisk.len();
        let name = match targets.fragment {
            Some(index) => format!("vendor ramdisk fragment {index}"),
            None => "ramdisk".to_owned(),
        };
        let before = format!("{name}, {old} bytes");
        let (why, files) = match original {
            None => (
                "the kernel unpacks it behind the original, which stays byte-identical, and \
                 starts /vfioboot/init from it"
                    .to_owned(),
                "/vfioboot/{init,boot.toml,undo}".to_owned(),
            ),
            Some(original) => (
                format!(
                    "{}. So the runtime stands at {init}: the kernel unpacks it over the original, \
                     of which the segment carries a copy; it rebinds the devices, puts the \
                     original back at {init} and executes it. The ramdisk in the image stays \
                     byte-identical below",
                    hook.reason,
                    init = hook.init
                ),
                format!(
                    "{}, /vfioboot/{{boot.toml,undo}} and the original {} ({} bytes unpacked)",
                    hook.init,
                    hook.init,
                    original.cost()
                ),
            ),
        };
        let after = format!("the same and a {packed} segment of {size} bytes with {files}");
        self.edit(targets.carrier, "ramdisk", &why, before, after);
    }

    /// The lists that the segment shadows.
    pub fn modules(&mut self, carrier: usize, modules: &ModulePlan) {
        for list in &modules.lists {
            self.edit(
                carrier,
                "modules",
                "the segment shadows the list, the original stays below it and is put back in \
                 recovery, in charger mode and with vfioboot.disable",
                match list.removed.as_slice() {
                    [] => list.path.clone(),
                    removed => format!("{}: {}", list.path, removed.join("; ")),
                },
                match list.added.as_slice() {
                    [] => "without that".to_owned(),
                    added => added.join("; "),
                },
            );
        }
    }

    /// Which of two generic ramdisks is loaded is the bootloader's choice.
    pub fn two_generic_ramdisks(&mut self, images: &[Image<'_>]) {
        let has = |kind| {
            let image = images.iter().find(|image| image.kind() == kind);
            image.is_some_and(|image| image.section(SectionName::Ramdisk).is_some())
        };
        if has(ImageKind::Boot) && has(ImageKind::InitBoot) {
            self.warnings.push(
                "boot has a ramdisk as well as init_boot. Devices launched with Android 13 or later \
                 load init_boot's, which is patched here; those with an android12 kernel load \
                 boot's: for such a one patch boot.img (with vendor_boot.img) without init_boot.img, \
                 or the device does not find /vfioboot/init and does not boot"
                    .to_owned(),
            );
        }
    }

    /// The kernel cuts a longer line without a word.
    pub fn line_length(&mut self, images: &[Image<'_>], index: usize, line: &Cmdline) {
        let others = images.iter().enumerate().filter(|(i, image)| {
            *i != index && matches!(image.kind(), ImageKind::Boot | ImageKind::VendorBoot)
        });
        let others = others.filter_map(|(_, image)| image.header());
        let others: usize = others.map(|header| header.cmdline().len() + 1).sum();
        let total = others + line.as_bytes().len();
        if total >= COMMAND_LINE_SIZE {
            self.warnings.push(format!(
                "the command lines of the images come to {total} bytes; the kernel cuts off what is behind the first {}, and bootloaders add to it",
                COMMAND_LINE_SIZE - 1
            ));
        }
    }

    /// What follows from the change of an image: AVB, the id, its size.
    pub fn consequences(&mut self, index: usize, image: &Image<'_>, rebuilt: &Rebuilt<'_>) {
        let ids = (image.header().and_then(Header::id), rebuilt.header.id());
        if let (Some(before), Some(after)) = ids
            && before != after
        {
            let why = "SHA-1 over the sections, computed as AOSP's mkbootimg does";
            let (before, after) = (hex::encode(&before[..20]), hex::encode(&after[..20]));
            self.edit(index, "id", why, before, after);
        }
        self.edits.extend(avb::edits(index, image, rebuilt));
        let grown = rebuilt.output.size().saturating_sub(image.file().len() as u64);
        if grown > 0 && rebuilt.avb.is_none() {
            self.warnings.push(format!(
                "{}: the file grows by {grown} bytes to {}: its partition must be that large",
                image.kind(),
                rebuilt.output.size()
            ));
        }
    }
}

//! A set with other bytes in some of its images: what is known about the rest stays known.

use super::cmdline::EffectiveCmdline;
use super::members::Members;
use super::ramdisks::Spot;
use super::set::BootSet;
use super::sources::CommandLines;
use crate::image::Image;

impl BootSet<'_> {
    /// A set of these images under the names that they have here.
    pub(crate) fn successor<'b>(&self, images: Vec<Image<'b>>) -> BootSet<'b> {
        let names = (0..images.len()).map(|image| self.name(image).to_owned()).collect();
        let given = (0..images.len()).collect();
        BootSet::of(Members::of(names, images, given))
    }

    /// Take over what is known about the ramdisks of an image from a set with the same image.
    pub(crate) fn share(&self, image: usize, other: &BootSet<'_>) {
        for own in self.ramdisks().iter().filter(|own| own.spot.image == image) {
            if let Some(same) = other.ramdisk(own.spot) {
                own.share(same);
            }
        }
    }

    /// The command line for a kernel of which `known` knows everything but the line: the kernel is not
    /// read.
    pub(crate) fn cmdline_for(&self, known: &BootSet<'_>) -> EffectiveCmdline {
        let mut facts = known.facts().clone();
        (facts.cmdline, facts.cmdline_parts) = (None, Vec::new());
        let lines = CommandLines::of_loader(self.own_members());
        if !lines.parts.is_empty() {
            facts.set_cmdline(lines.parts);
        }
        EffectiveCmdline::new(&facts).unwrap_or_default()
    }

    /// For the entries of [`BootSet::tree`], which are numbered over all ramdisks: each ramdisk in
    /// memory order with the number of its entries.
    pub(crate) fn numbering(&self) -> Vec<(Spot, usize)> {
        self.inventories().into_iter().map(|(ramdisk, _, count)| (ramdisk.spot, count)).collect()
    }
}

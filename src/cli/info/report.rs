//! Everything about one image, computed once for both forms of output.

use std::collections::HashMap;
use std::ops::Range;

use sha2::{Digest, Sha256};
use vfioboot::bootset::{BootSet, Spot};
use vfioboot::compression::{Budget, Exhausted, Format};
use vfioboot::container::Form;
use vfioboot::image::{DtTable, Image, ImageKind, Region, RegionKind, SectionName, Wrapper};
use vfioboot::kernel::config_file;
use vfioboot::patch;
use vfioboot::text;

use crate::cli::input::Input;

use super::detail::{Detail, config_detail, kernel_detail, ramdisk_detail, table_detail};

/// Everything about one image, computed once for both forms of output.
pub(super) struct Report<'i> {
    pub name: String,
    /// What is around the image in its file, outermost first.
    pub forms: &'i [Form],
    pub image: &'i Image<'i>,
    pub sections: Vec<Section>,
    pub patched: Option<Patched>,
}

/// The patch that an image has.
pub(super) struct Patched {
    /// None where only its words are.
    pub tool: Option<String>,
    pub state: PatchState,
}

/// What became of a patched image.
#[derive(Clone, Copy)]
pub(super) enum PatchState {
    /// Its original can be had from it.
    Exact,
    /// It was changed since.
    Changed,
    /// The whole ramdisk was rebuilt since.
    Rebuilt,
    /// It starts the runtime, which is in another image or nowhere.
    Words,
}

impl PatchState {
    /// As it is written in JSON.
    pub fn name(self) -> &'static str {
        match self {
            PatchState::Exact => "exact",
            PatchState::Changed => "changed",
            PatchState::Rebuilt => "rebuilt",
            PatchState::Words => "words",
        }
    }
}

impl Patched {
    fn of(set: &BootSet<'_>, index: usize) -> Option<Self> {
        let mut ramdisks = set.ramdisks().iter().filter(|own| own.spot.image == index);
        let Some(mark) = ramdisks.find_map(vfioboot::bootset::Ramdisk::mark) else {
            let words = patch::names_our_runtime(&set.images()[index]);
            return words.then_some(Patched { tool: None, state: PatchState::Words });
        };
        let state = match (mark.in_own_segment, patch::has_original(set, index)) {
            (false, _) => PatchState::Rebuilt,
            (true, Ok(Some(true))) => PatchState::Exact,
            (true, _) => PatchState::Changed,
        };
        Some(Patched { tool: Some(mark.tool.clone()), state })
    }
}

pub(super) struct Section {
    pub name: String,
    pub region: Region,
    pub compression: Option<Format>,
    pub detail: Option<Detail>,
    /// In hex, unless the budget ended before it.
    pub sha256: Result<String, Exhausted>,
}

/// The digests of what was hashed already: table entries may name the same bytes many times.
type Hashed = HashMap<Range<*const u8>, Result<String, Exhausted>>;

impl<'i> Report<'i> {
    pub fn of(set: &'i BootSet<'i>, index: usize, input: &'i Input) -> Self {
        let image = &set.images()[index];
        let (mut sections, mut hashed) = (Vec::new(), Hashed::new());
        for region in image.regions() {
            let RegionKind::Section(name) = region.kind else { continue };
            let bytes = image.region_bytes(region);
            let (place, bytes) = match image.section_wrapper(name) {
                Some(wrapper) => {
                    let payload = wrapper.payload_range();
                    let offset = region.offset + payload.start;
                    (Region { offset, size: payload.len(), ..*region }, wrapper.payload())
                }
                None => (*region, bytes),
            };
            let own = set.ramdisk(Spot { image: index, fragment: None });
            let detail = match name {
                SectionName::Kernel => Some(kernel_detail(set, index, bytes)),
                SectionName::Ramdisk => own.map(ramdisk_detail),
                SectionName::Config => config_file::read(bytes).ok().map(config_detail),
                SectionName::Dt | SectionName::Extra => DtTable::parse(bytes).map(table_detail),
                _ => None,
            };
            sections.push(Section::of(name.as_str().to_owned(), place, bytes, detail, &mut hashed));
            if let (SectionName::DtEntries, Some(section)) = (name, sections.last_mut()) {
                section.detail = DtTable::parse(image.bytes()).map(table_detail);
            }
            if name != SectionName::VendorRamdisk || image.kind() != ImageKind::VendorBoot {
                continue;
            }
            for (i, fragment) in image.fragments().into_iter().enumerate() {
                let offset = place.offset + fragment.offset;
                let place = Region { kind: region.kind, offset, size: fragment.bytes.len() };
                let label = match fragment.name {
                    b"" => format!("  fragment {i} ({})", fragment.kind),
                    name => {
                        format!("  fragment {i} ({}, {})", fragment.kind, text::visible_bytes(name))
                    }
                };
                let own = set.ramdisk(Spot { image: index, fragment: Some(i) });
                let detail = own.map(ramdisk_detail);
                sections.push(Section::of(label, place, fragment.bytes, detail, &mut hashed));
            }
        }
        sections.iter_mut().for_each(|section| section.region.offset += image.start());
        let patched = Patched::of(set, index);
        Report { name: set.name(index).to_owned(), forms: input.forms(), image, sections, patched }
    }

    /// Each vendor's wrapper with the name of its payload, outermost first.
    pub fn wrappers(&self) -> Vec<(&'static str, Wrapper<'i>)> {
        let outer = self.image.wrapper().map(|wrapper| ("image", wrapper.clone()));
        let sections = [SectionName::Kernel, SectionName::Ramdisk, SectionName::VendorRamdisk];
        let sections = sections.into_iter();
        let section = |name| Some((SectionName::as_str(name), self.image.section_wrapper(name)?));
        let all = outer.into_iter().chain(sections.filter_map(section));
        all.flat_map(|(around, own)| own.layers().into_iter().map(move |layer| (around, layer)))
            .collect()
    }
}

impl Section {
    fn of(
        name: String,
        region: Region,
        bytes: &[u8],
        detail: Option<Detail>,
        hashed: &mut Hashed,
    ) -> Self {
        let digest = || {
            Budget::take(bytes.len() as u64)?;
            Ok(base16ct::lower::encode_string(&Sha256::digest(bytes)))
        };
        let sha256 = hashed.entry(bytes.as_ptr_range()).or_insert_with(digest).clone();
        Section { name, region, compression: Format::detect(bytes), detail, sha256 }
    }
}

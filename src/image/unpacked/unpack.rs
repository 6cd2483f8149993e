//! Splits an image into files and a manifest that describes how to put them together.

use std::fmt::Write;
use std::ops::Range;

use super::header::header_table;
use super::{FORMAT, Unpacked};
use crate::image::{DtTable, Image, Region, RegionKind, SectionName, Wrapper};

/// Unpack an image.
pub fn unpack<'a>(image: &Image<'a>) -> Unpacked<'a> {
    let mut manifest = format!(
        "# Edit [header] or the files in this directory, then: vfioboot repack DIR -o IMAGE\n\
         format = {FORMAT}\nkind = \"{}\"\n",
        image.kind()
    );
    if let Some(right) = image.id_is_right() {
        manifest += "# true: id is recomputed as in AOSP's mkbootimg. false: it is kept.\n";
        let _ = writeln!(manifest, "compute_id = {right}");
    }
    if let Some(right) = image.unsigned_digest_is_right() {
        manifest += "# true: the digest in the unsigned vbmeta image is recomputed. false: it does not\n\
                     # match the image, and is kept unless a section changes its size.\n";
        let _ = writeln!(manifest, "avb_rehash = {right}");
    }
    let wrappers = wrappers(image);
    if !wrappers.is_empty() {
        let right = wrappers.iter().flat_map(Wrapper::fields).all(|field| field.right);
        manifest += "# true: sizes and checksums in vendor headers are recomputed. false: wrong ones are kept.\n";
        let _ = writeln!(manifest, "compute_wrappers = {right}");
    }
    if let Some(header) = image.header() {
        manifest += &header_table(header);
    }
    let mut files = Vec::new();
    for region in &image.file_regions() {
        let bytes = &image.file()[region.offset..region.offset + region.size];
        let parts = fragment_parts(image, region)
            .or_else(|| wrapped_parts(image, region))
            .or_else(|| dt_parts(image, region))
            .unwrap_or_else(|| vec![(String::new(), bytes)]);
        for (suffix, part) in parts {
            let kind = region.kind.as_str();
            let _ = write!(manifest, "\n[[region]]\nkind = \"{kind}\"\nsize = {}\n", part.len());
            if region.kind == RegionKind::Padding && part.iter().all(|byte| *byte == 0) {
                continue;
            }
            let file = match region.kind {
                RegionKind::Section(_) => format!("{kind}{suffix}"),
                RegionKind::Padding | RegionKind::Trailing | RegionKind::Wrapper => {
                    format!("{kind}-{}.bin", region.offset)
                }
                _ => format!("{kind}.bin"),
            };
            let _ = writeln!(manifest, "file = \"{file}\"");
            files.push((file, part));
        }
    }
    Unpacked { manifest, files }
}

/// The fragments of the vendor ramdisk (`vendor_ramdisk00` and so on, as in AOSP's unpack_bootimg),
/// if the table describes all of it.
fn fragment_parts<'a>(image: &Image<'a>, region: &Region) -> Option<Vec<(String, &'a [u8])>> {
    let wanted = region.kind == RegionKind::Section(SectionName::VendorRamdisk);
    let fragments = wanted.then(|| tiling_fragments(image))??;
    let part = |(i, bytes)| (format!("{i:02}"), bytes);
    Some(fragments.into_iter().enumerate().map(part).collect())
}

/// The parts of a section with a vendor wrapper: header, payload and trailer.
fn wrapped_parts<'a>(image: &Image<'a>, region: &Region) -> Option<Vec<(String, &'a [u8])>> {
    let RegionKind::Section(name) = region.kind else { return None };
    let wrapper = image.section_wrapper(name)?;
    let (whole, payload) = (wrapper.whole(), wrapper.payload_range());
    let parts = [
        ("-wrapper.bin", &whole[..payload.start]),
        ("", &whole[payload.clone()]),
        ("-wrapper-end.bin", &whole[payload.end..]),
    ];
    let parts = parts.into_iter().filter(|(_, bytes)| !bytes.is_empty());
    Some(parts.map(|(suffix, bytes)| (suffix.to_owned(), bytes)).collect())
}

/// The device trees of a dtbo image, numbered by table entry.
fn dt_parts<'a>(image: &Image<'a>, region: &Region) -> Option<Vec<(String, &'a [u8])>> {
    if region.kind != RegionKind::Section(SectionName::DtEntries) {
        return None;
    }
    let part = |(entry, range): (Option<usize>, Range<usize>)| {
        let suffix = match entry {
            Some(entry) => format!("{entry:02}.dtb"),
            None => format!("-gap-{}.bin", range.start),
        };
        Some((suffix, image.bytes().get(range)?))
    };
    DtTable::parse(image.bytes())?.parts()?.into_iter().map(part).collect()
}

/// All vendor wrappers of the image, each by itself.
fn wrappers<'a>(image: &Image<'a>) -> Vec<Wrapper<'a>> {
    let sections = [SectionName::Kernel, SectionName::Ramdisk, SectionName::VendorRamdisk];
    let sections = sections.into_iter().filter_map(|name| image.section_wrapper(name));
    let all = image.wrapper().cloned().into_iter().chain(sections);
    all.flat_map(|wrapper| wrapper.layers()).collect()
}

/// The fragments of the vendor ramdisk, if its table describes it without gap or overlap.
pub(super) fn tiling_fragments<'a>(image: &Image<'a>) -> Option<Vec<&'a [u8]>> {
    image.section(SectionName::VendorRamdiskTable)?;
    let section = image.section(SectionName::VendorRamdisk)?;
    let fragments = image.fragments();
    let mut end = 0;
    for fragment in &fragments {
        if fragment.offset != end {
            return None;
        }
        end += fragment.bytes.len();
    }
    (end == section.len() && image.problems().is_empty())
        .then(|| fragments.into_iter().map(|fragment| fragment.bytes).collect())
}

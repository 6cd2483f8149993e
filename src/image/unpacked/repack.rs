//! Builds an image from a manifest and its files.

use std::io;
use std::ops::Range;

use serde::Deserialize;

use super::header::apply_header;
use super::unpack::tiling_fragments;
use super::{FORMAT, RepackError};
use crate::image::header::vendor::TABLE_ENTRY_SIZE;
use crate::image::{
    Chunk, DerivedPolicy, Edit, Error, Image, ImageKind, Output, RegionKind, SectionName, Wrapper,
    resize_fragment,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    format: u32,
    #[allow(dead_code, reason = "informational; the header determines the kind")]
    kind: String,
    compute_id: Option<bool>,
    avb_rehash: Option<bool>,
    compute_wrappers: Option<bool>,
    #[serde(default)]
    header: toml::Table,
    region: Vec<ManifestRegion>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ManifestRegion {
    kind: String,
    size: usize,
    file: Option<String>,
}

/// Build the image from the text of `image.toml` and its files, which `read` returns by name.
///
/// # Errors
/// [`RepackError`]; every message names the file.
pub fn repack<B: AsRef<[u8]>>(
    manifest: &str,
    mut read: impl FnMut(&str) -> io::Result<B>,
) -> Result<Vec<u8>, RepackError> {
    let manifest: Manifest = toml::from_str(manifest).map_err(RepackError::Toml)?;
    if manifest.format != FORMAT {
        let message = format!("format is {}, expected {FORMAT}", manifest.format);
        return Err(RepackError::Manifest(message));
    }
    // The base for rebuild: the image as if no section had changed its size.
    let mut base = Vec::new();
    let size = require_sizes(&manifest)?;
    // Only an optimization: it avoids repeated copies while the buffer grows.
    let _ = base.try_reserve_exact(size);
    let mut sections: Vec<(String, Vec<Part>)> = Vec::new();
    // An AVB footer contains offsets in the file, so regions before it cannot change their size.
    let has_footer = manifest.region.iter().any(|region| region.kind == "avb_footer");
    for region in &manifest.region {
        let Some(name) = &region.file else {
            base.resize(base.len() + region.size, 0);
            continue;
        };
        if name.contains('/') || name == ".." {
            let message = format!("file \"{name}\" is not a plain file name");
            return Err(RepackError::Manifest(message));
        }
        let bytes = read(name).map_err(|error| RepackError::File { file: name.clone(), error })?;
        let bytes = bytes.as_ref();
        if !is_section(&region.kind) {
            let fixed = has_footer || region.kind != "trailing";
            if fixed && bytes.len() != region.size {
                let (found, expected) = (bytes.len(), region.size);
                return Err(RepackError::FixedSize { file: name.clone(), found, expected });
            }
            base.extend_from_slice(bytes);
            continue;
        }
        let start = base.len();
        base.extend_from_slice(&bytes[..bytes.len().min(region.size)]);
        base.resize(start + region.size, 0);
        let resized = (bytes.len() != region.size).then(|| bytes.to_vec());
        let part = Part { old: start..base.len(), resized };
        match sections.last_mut().filter(|(kind, _)| *kind == region.kind) {
            Some((_, parts)) => parts.push(part),
            None => sections.push((region.kind.clone(), vec![part])),
        }
    }
    rebuild(&manifest, base, sections)
}

/// Limits for the sizes in `image.toml`, which a file of a few bytes can set to anything: all of them
/// together, as no partition that a bootloader reads is larger; and those of zeros, which no file
/// stands for.
const MAX_SIZE: usize = 4 << 30;
const MAX_ZEROS: usize = 256 << 20;

/// The sum of the sizes.
fn require_sizes(manifest: &Manifest) -> Result<usize, RepackError> {
    let (mut total, mut zeros) = (0usize, 0usize);
    for region in &manifest.region {
        total = total.saturating_add(region.size);
        if region.file.is_none() {
            zeros = zeros.saturating_add(region.size);
        }
        let (what, limit) = match (total > MAX_SIZE, zeros > MAX_ZEROS) {
            (true, _) => ("the image", MAX_SIZE),
            (_, true) => ("what is zero in the image", MAX_ZEROS),
            (false, false) => continue,
        };
        return Err(RepackError::Manifest(format!(
            "region {}: with its size of {} {what} exceeds the limit of {limit} bytes",
            region.kind, region.size
        )));
    }
    Ok(total)
}

/// Check that the sizes in `image.toml` are those in the header: they describe the layout before the
/// edit. To change the size of a region, edit its file.
fn check_sizes(manifest: &Manifest, image: &Image<'_>) -> Result<(), RepackError> {
    let mut stated: Vec<(&str, usize)> = Vec::new();
    for region in manifest.region.iter().filter(|region| is_section(&region.kind)) {
        match stated.last_mut().filter(|(kind, _)| *kind == region.kind) {
            Some((_, size)) => *size += region.size,
            None => stated.push((&region.kind, region.size)),
        }
    }
    if image.header().is_none() && image.bytes().len() >= stated.iter().map(|(_, size)| size).sum()
    {
        // Without a header, the kind depends on the payload, which may have been edited.
        return Ok(());
    }
    let sections = image.regions().iter().filter_map(|region| match region.kind {
        RegionKind::Section(name) => Some((name.as_str(), region.size)),
        _ => None,
    });
    let sections: Vec<_> = sections.collect();
    if sections == stated {
        return Ok(());
    }
    let list = |sections: &[(&str, usize)]| {
        let words: Vec<_> = sections.iter().map(|(kind, size)| format!("{kind} {size}")).collect();
        if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
    };
    let message = format!(
        "the regions do not match the header: they are {} (bytes), it has {}; keep the sizes here, \
         which describe the image before the edit, and change only the files",
        list(&stated),
        list(&sections)
    );
    Err(RepackError::Manifest(message))
}

/// The file of a section or of a vendor ramdisk fragment.
struct Part {
    /// Its range in the base.
    old: Range<usize>,
    /// Its bytes, if their number differs from the range.
    resized: Option<Vec<u8>>,
}

impl Part {
    fn into_chunk(self, base: &[u8]) -> Chunk<'_> {
        self.resized.map_or_else(|| Chunk::borrowed(&base[self.old]), Chunk::owned)
    }

    fn len(&self) -> usize {
        self.resized.as_ref().map_or(self.old.len(), Vec::len)
    }
}

fn is_section(kind: &str) -> bool {
    section_name(kind).is_some()
}

fn section_name(kind: &str) -> Option<SectionName> {
    use serde::de::IntoDeserializer;
    let name: serde::de::value::StrDeserializer<'_, serde::de::value::Error> =
        kind.into_deserializer();
    SectionName::deserialize(name).ok()
}

fn is_resized(parts: &[Part]) -> bool {
    parts.iter().any(|part| part.resized.is_some())
}

fn rebuild(
    manifest: &Manifest,
    mut base: Vec<u8>,
    sections: Vec<(String, Vec<Part>)>,
) -> Result<Vec<u8>, RepackError> {
    let image = Image::parse(&base)?;
    check_sizes(manifest, &image)?;
    let resized = sections.iter().any(|(_, parts)| is_resized(parts));
    if image.kind() == ImageKind::Dtbo {
        return match resized {
            false => Ok(base),
            true => Err(RepackError::Manifest(
                "a device tree of a dtbo image has another size: keep the size, or build the \
                 image with mkdtboimg"
                    .to_owned(),
            )),
        };
    }
    // A size that was right follows in any case: it bounds what a loader reads.
    let wrapper = match manifest.compute_wrappers {
        Some(true) => DerivedPolicy::Recompute,
        Some(false) | None => DerivedPolicy::KeepRight,
    };
    let Some(mut edit) = image.edit() else {
        if image.kind() == ImageKind::Vbmeta {
            return Ok(base);
        }
        // The only section of a bare payload is the whole file.
        let parts = sections.into_iter().flat_map(|(_, parts)| parts);
        let output = Output::from_chunks(parts.map(|part| part.into_chunk(&base)).collect());
        return Ok(image.wrap(output, wrapper)?.to_vec());
    };
    apply_header(&mut edit.header, &manifest.header)?;
    let edited = Some(&edit.header) != image.header();
    if !edited && !resized && !image.problems().is_empty() {
        return Ok(base);
    }
    edit.id = match manifest.compute_id {
        Some(true) => DerivedPolicy::Recompute,
        Some(false) | None => DerivedPolicy::Keep,
    };
    edit.wrapper = wrapper;
    for (kind, parts) in sections {
        edit_section(&image, &mut edit, &kind, parts, &base)?;
    }
    if edit.sections.is_empty() && image.wrapper().is_none() {
        // No size changed, so nothing moves: only the header, whose size depends on its version,
        // and the digest may differ.
        let rebuilt = image.rebuild(edit)?;
        if manifest.avb_rehash == Some(true) {
            return Ok(rebuilt.output.to_vec());
        }
        let header = rebuilt.header.to_bytes();
        base[..header.len()].copy_from_slice(&header);
        return Ok(base);
    }
    let bytes = image.rebuild(edit)?.output.to_vec();
    match Image::parse(&bytes)?.problems() {
        [problem, ..] if image.problems().is_empty() => {
            Err(Error::Inconsistent(problem.clone()).into())
        }
        _ => Ok(bytes),
    }
}

/// Add the files of one section to the edit, if they change it.
fn edit_section<'a>(
    image: &Image<'a>,
    edit: &mut Edit<'a>,
    kind: &str,
    mut parts: Vec<Part>,
    base: &'a [u8],
) -> Result<(), RepackError> {
    let Some(name) = section_name(kind) else { return Ok(()) };
    if let Some(wrapper) = image.section_wrapper(name) {
        let payload = payload_range(&wrapper, parts[0].old.start);
        if parts.iter().any(|part| part.old != payload && part.resized.is_some()) {
            let message = format!("{kind}: the files of its wrapper must keep their sizes");
            return Err(RepackError::Manifest(message));
        }
        parts.retain(|part| part.old == payload);
    } else if !is_resized(&parts) {
        return Ok(());
    } else if name == SectionName::VendorRamdisk
        && image.section(SectionName::VendorRamdiskTable).is_some()
    {
        resize_table(image, edit, &parts)?;
    }
    let chunks = parts.into_iter().map(|part| part.into_chunk(base)).collect();
    edit.sections.push((name, chunks));
    Ok(())
}

/// The range in the base of the payload of a wrapper that starts at `start`.
fn payload_range(wrapper: &Wrapper<'_>, start: usize) -> Range<usize> {
    let payload = wrapper.payload_range();
    start + payload.start..start + payload.end
}

/// Update the vendor ramdisk table with the sizes of edited fragments.
fn resize_table<'a>(
    image: &Image<'a>,
    edit: &mut Edit<'a>,
    parts: &[Part],
) -> Result<(), RepackError> {
    if tiling_fragments(image).is_none_or(|fragments| fragments.len() != parts.len()) {
        let message =
            "vendor_ramdisk has another size, but vendor_ramdisk_table does not describe \
                       it fragment by fragment, so it cannot follow: keep the size"
                .to_owned();
        return Err(RepackError::Manifest(message));
    }
    let (_, entry_size) = edit.header.ramdisk_table().unwrap_or((0, TABLE_ENTRY_SIZE as u32));
    let mut table = image.section(SectionName::VendorRamdiskTable).unwrap_or_default().to_vec();
    for (i, part) in parts.iter().enumerate() {
        let size = u32::try_from(part.len()).ok();
        table = size.and_then(|size| resize_fragment(&table, entry_size, i, size)).ok_or_else(
            || {
                let message = "the vendor ramdisk fragments do not match their table".to_owned();
                RepackError::Manifest(message)
            },
        )?;
    }
    edit.sections.push((SectionName::VendorRamdiskTable, vec![Chunk::owned(table)]));
    Ok(())
}

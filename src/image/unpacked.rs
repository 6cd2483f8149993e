//! An image taken apart: a directory of sections and `image.toml`, editable, from which the
//! image is built again. Without an edit the same bytes come out.

use std::fmt::Write;
use std::io;
use std::ops::Range;

use serde::Deserialize;

use super::header::vendor::TABLE_ENTRY_SIZE;
use super::{
    Chunk, DerivedPolicy, DtTable, Edit, Error, Header, Image, ImageKind, OsVersion, Output,
    Region, RegionKind, SectionName, Value, Wrapper, resize_fragment, text_of,
};

/// The manifest's name in the directory.
pub const MANIFEST: &str = "image.toml";
const FORMAT: u32 = 1;

/// The files of an unpacked image.
#[derive(Clone, Debug)]
pub struct Unpacked<'a> {
    /// The text of `image.toml`.
    pub manifest: String,
    /// All other files: plain names and bytes.
    pub files: Vec<(String, &'a [u8])>,
}

/// A directory from which no image can be built.
#[derive(Debug, thiserror::Error)]
pub enum RepackError {
    /// `image.toml` is no TOML, lacks a key or has one too many.
    #[error("image.toml: {0}")]
    Manifest(String),
    /// A file that `image.toml` names cannot be read.
    #[error("{file}: {error}")]
    File {
        /// Its name.
        file: String,
        /// What the system says.
        error: io::Error,
    },
    /// A file whose size cannot change has another one.
    #[error("{file} has {found} bytes, expected {expected}: this region cannot change its size")]
    FixedSize {
        /// Its name.
        file: String,
        /// Its size in bytes.
        found: usize,
        /// The size it must have.
        expected: usize,
    },
    /// The edited image cannot be written.
    #[error(transparent)]
    Image(#[from] Error),
}

/// Take an image apart.
pub fn unpack<'a>(image: &Image<'a>) -> Unpacked<'a> {
    let mut manifest = format!(
        "# Edit [header] or the files beside this one, then: vfioboot repack DIR -o IMAGE\n\
         format = {FORMAT}\nkind = \"{}\"\n",
        image.kind()
    );
    if let Some(right) = image.id_is_right() {
        manifest += "# true: id is computed anew, as AOSP's mkbootimg does. false: it is kept.\n";
        let _ = writeln!(manifest, "compute_id = {right}");
    }
    if let Some(right) = image.unsigned_digest_is_right() {
        manifest += "# true: the digest in the unsigned vbmeta image is computed anew. false: it is\n\
                     # not that of the image, and is kept while no section changes its size.\n";
        let _ = writeln!(manifest, "avb_rehash = {right}");
    }
    let wrappers = wrappers(image);
    if !wrappers.is_empty() {
        let right = wrappers.iter().flat_map(Wrapper::fields).all(|field| field.right);
        manifest +=
            "# true: sizes and checksums in vendors' headers follow the files. false: kept.\n";
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

/// The vendor ramdisk as one part a fragment (`vendor_ramdisk00` and so on, as AOSP's
/// unpack_bootimg names them), when the table describes it so.
fn fragment_parts<'a>(image: &Image<'a>, region: &Region) -> Option<Vec<(String, &'a [u8])>> {
    let wanted = region.kind == RegionKind::Section(SectionName::VendorRamdisk);
    let fragments = wanted.then(|| tiling_fragments(image))??;
    let part = |(i, bytes)| (format!("{i:02}"), bytes);
    Some(fragments.into_iter().enumerate().map(part).collect())
}

/// A section in a vendor's wrapper as that in front, the payload and that behind.
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

/// Every vendor's wrapper there is.
fn wrappers<'a>(image: &Image<'a>) -> Vec<Wrapper<'a>> {
    let sections = [SectionName::Kernel, SectionName::Ramdisk];
    let sections = sections.into_iter().filter_map(|name| image.section_wrapper(name));
    image.wrapper().cloned().into_iter().chain(sections).collect()
}

/// The fragments of the vendor ramdisk, when its table describes it without gap or overlap.
fn tiling_fragments<'a>(image: &Image<'a>) -> Option<Vec<&'a [u8]>> {
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

fn header_table(header: &Header) -> String {
    let mut table = format!("\n[header] # version {}\n", header.version());
    // Where it is a section it has a file.
    if !header.cmdline_is_section() {
        table += &text_entry("cmdline", &header.cmdline());
    }
    for field in header.fields() {
        match field.value {
            _ if field.name == "os_version" => {
                let Some(version) = header.os_version() else { continue };
                let _ = writeln!(
                    table,
                    "os_version = \"{}\"\nos_patch_level = \"{}\"",
                    version.version().unwrap_or_default(),
                    version.patch_level().unwrap_or_default()
                );
            }
            Value::Text(text) if field.name == "name" => {
                table += &text_entry("name", text_of(text));
            }
            Value::U32(number) if field.name.ends_with("_addr") => {
                let _ = writeln!(table, "{} = {number:#010x}", field.name);
            }
            // TOML's integers end at 2^63.
            Value::U64(number)
                if field.name.ends_with("_addr") && i64::try_from(number).is_ok() =>
            {
                let _ = writeln!(table, "{} = {number:#018x}", field.name);
            }
            _ => {}
        }
    }
    table
}

/// A text as TOML, or in hex under another key where it is no UTF-8.
fn text_entry(key: &str, text: &[u8]) -> String {
    match std::str::from_utf8(text) {
        Ok(text) => format!("{key} = {}\n", toml::Value::from(text)),
        Err(_) => format!("{key}_hex = \"{}\"\n", hex::encode(text)),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    format: u32,
    #[allow(dead_code, reason = "for people; what the image is stands in its header")]
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

/// Build the image from the text of `image.toml` and its files, which `read` gives by name.
///
/// # Errors
/// [`RepackError`]; every message names the file.
pub fn repack<B: AsRef<[u8]>>(
    manifest: &str,
    mut read: impl FnMut(&str) -> io::Result<B>,
) -> Result<Vec<u8>, RepackError> {
    let manifest: Manifest =
        toml::from_str(manifest).map_err(|error| RepackError::Manifest(error.to_string()))?;
    if manifest.format != FORMAT {
        let message = format!("format is {}, expected {FORMAT}", manifest.format);
        return Err(RepackError::Manifest(message));
    }
    // The image as it would be had no section changed its size: what rebuild starts from.
    let mut base = Vec::new();
    let size = manifest.region.iter().fold(0, |sum: usize, region| sum.saturating_add(region.size));
    // Only a hint: growing it as it goes would copy it again and again.
    let _ = base.try_reserve_exact(size);
    let mut sections: Vec<(String, Vec<Part>)> = Vec::new();
    // An AVB footer names places in the file: nothing in front of it may move by itself.
    let has_footer = manifest.region.iter().any(|region| region.kind == "avb_footer");
    let mut total = 0u64;
    for region in &manifest.region {
        total = total.saturating_add(region.size as u64);
        if total > MAX_SIZE {
            let message = format!(
                "region {}: size {} makes the image larger than {MAX_SIZE} bytes, the limit",
                region.kind, region.size
            );
            return Err(RepackError::Manifest(message));
        }
        let Some(name) = &region.file else {
            base.resize(base.len() + region.size, 0);
            continue;
        };
        if name.contains('/') || name == ".." {
            let message = format!("file \"{name}\" is no plain file name");
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

/// No partition that a bootloader reads is as large; what `image.toml` says is not believed
/// beyond it.
const MAX_SIZE: u64 = 4 << 30;

/// The sizes of `image.toml` must be those that the header has: they tell where things were
/// before the edit. What is to change its size is the file.
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
        // What a payload without a header is may be told by the bytes that were edited.
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
        "the regions do not fit the header: they are {} (bytes), it says {}; sizes here are those \
         before the edit, only the files change theirs",
        list(&stated),
        list(&sections)
    );
    Err(RepackError::Manifest(message))
}

/// The file of a section or of a vendor ramdisk fragment.
struct Part {
    /// Where it stands in the base.
    old: Range<usize>,
    /// Its bytes, when they are more or fewer than that.
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

fn rebuild(
    manifest: &Manifest,
    mut base: Vec<u8>,
    sections: Vec<(String, Vec<Part>)>,
) -> Result<Vec<u8>, RepackError> {
    let image = Image::parse(&base)?;
    check_sizes(manifest, &image)?;
    let resized = |parts: &Vec<Part>| parts.iter().any(|part| part.resized.is_some());
    if image.kind() == ImageKind::Dtbo {
        return match sections.iter().any(|(_, parts)| resized(parts)) {
            false => Ok(base),
            true => Err(RepackError::Manifest(
                "a device tree of a dtbo image has another size: keep the size, or make the \
                 image anew with mkdtboimg"
                    .to_owned(),
            )),
        };
    }
    let wrapper = match manifest.compute_wrappers {
        Some(true) => DerivedPolicy::Recompute,
        _ => DerivedPolicy::Keep,
    };
    let Some(mut edit) = image.edit() else {
        if image.kind() == ImageKind::Vbmeta {
            return Ok(base);
        }
        // A bare payload is its section.
        let parts = sections.into_iter().flat_map(|(_, parts)| parts);
        let output = Output::from_chunks(parts.map(|part| part.into_chunk(&base)).collect());
        return Ok(image.wrap(output, wrapper)?.to_vec());
    };
    apply_header(&mut edit.header, &manifest.header)?;
    let edited = Some(&edit.header) != image.header();
    if !edited && !image.problems().is_empty() && !sections.iter().any(|(_, parts)| resized(parts))
    {
        return Ok(base);
    }
    edit.id = match manifest.compute_id {
        Some(true) => DerivedPolicy::Recompute,
        _ => DerivedPolicy::Keep,
    };
    edit.wrapper = wrapper;
    for (kind, mut parts) in sections {
        let Some(name) = section_name(&kind) else { continue };
        if let Some(wrapper) = image.section_wrapper(name) {
            let fixed =
                parts.iter().filter(|part| part.old != payload_place(&wrapper, parts[0].old.start));
            if fixed.into_iter().any(|part| part.resized.is_some()) {
                let message = format!("{kind}: the files of its wrapper cannot change their sizes");
                return Err(RepackError::Manifest(message));
            }
            let place = payload_place(&wrapper, parts[0].old.start);
            parts.retain(|part| part.old == place);
            let chunks = parts.into_iter().map(|part| part.into_chunk(&base)).collect();
            edit.sections.push((name, chunks));
            continue;
        }
        if !resized(&parts) {
            continue;
        }
        if name == SectionName::VendorRamdisk
            && image.section(SectionName::VendorRamdiskTable).is_some()
        {
            resize_table(&image, &mut edit, &parts)?;
        }
        let chunks = parts.into_iter().map(|part| part.into_chunk(&base)).collect();
        edit.sections.push((name, chunks));
    }
    if edit.sections.is_empty() && image.wrapper().is_none() {
        // Nothing moves: only the header, whose size is that of its version, may differ, and
        // the digest of what may have been edited without changing its size.
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
        [problem, ..] if image.problems().is_empty() => Err(Error::Lies(problem.clone()).into()),
        _ => Ok(bytes),
    }
}

/// Where in the base the payload of a wrapper stands that starts at `start`.
fn payload_place(wrapper: &Wrapper<'_>, start: usize) -> Range<usize> {
    let payload = wrapper.payload_range();
    start + payload.start..start + payload.end
}

/// Give the vendor ramdisk table the sizes of edited fragments.
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
                let message = "the vendor ramdisk fragments do not fit their table".to_owned();
                RepackError::Manifest(message)
            },
        )?;
    }
    edit.sections.push((SectionName::VendorRamdiskTable, vec![Chunk::owned(table)]));
    Ok(())
}

fn apply_header(header: &mut Header, table: &toml::Table) -> Result<(), RepackError> {
    let wrong = |key: &str, expected: &str| {
        RepackError::Manifest(format!("header.{key}: expected {expected}"))
    };
    let text = |key: &str| match table.get(key) {
        None => Ok(None),
        Some(value) => value.as_str().map(Some).ok_or_else(|| wrong(key, "a string")),
    };
    for (key, value) in table {
        match key.as_str() {
            "cmdline" => header.set_cmdline(text(key)?.unwrap_or_default().as_bytes())?,
            "name" => header.set_name(text(key)?.unwrap_or_default().as_bytes())?,
            "cmdline_hex" | "name_hex" => {
                let bytes = text(key)?.and_then(|text| hex::decode(text).ok());
                let bytes = bytes.ok_or_else(|| wrong(key, "bytes in hex"))?;
                if key == "name_hex" {
                    header.set_name(&bytes)?;
                } else {
                    header.set_cmdline(&bytes)?;
                }
            }
            "os_version" | "os_patch_level" => {}
            _ => {
                let number = value.as_integer().and_then(|number| u64::try_from(number).ok());
                header.set_number(key, number.ok_or_else(|| wrong(key, "a number"))?)?;
            }
        }
    }
    let Some(old) = header.os_version() else { return Ok(()) };
    let (old_version, old_level) =
        (old.version().unwrap_or_default(), old.patch_level().unwrap_or_default());
    let version = text("os_version")?.unwrap_or(&old_version);
    let level = text("os_patch_level")?.unwrap_or(&old_level);
    // What is odd but unedited stays.
    if (version, level) != (old_version.as_str(), old_level.as_str()) {
        let expected = "os_version as \"A.B.C\", each below 128, and os_patch_level as \"YYYY-MM\"";
        let bits =
            OsVersion::from_parts(version, level).ok_or_else(|| wrong("os_version", expected))?;
        header.set_number("os_version", u64::from(bits.0))?;
    }
    Ok(())
}

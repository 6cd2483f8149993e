//! An image for people.

use std::fmt::Write;

use vfioboot::compression::Format;
use vfioboot::image::{
    Header, Image, ImageKind, RegionKind, Value, Wrapper, text_of, trailer_name,
};
use vfioboot::text;

use super::report::{PatchState, Patched, Report, Section};
use crate::cli::print::{Page, line};
use crate::cli::style::{DIM, HEAD, NOTE};

impl Report<'_> {
    pub fn page(&self) -> Page {
        let mut page = Page::default();
        let image = self.image;
        line!(page, "{HEAD}{}{HEAD:#}: {}", self.name, describe(image));
        pair(&mut page, "size", &format!("{} bytes", image.file().len()));
        if !self.forms.is_empty() {
            let forms: Vec<_> = self.forms.iter().map(ToString::to_string).collect();
            pair(&mut page, "out of", &forms.join(", "));
        }
        for (around, wrapper) in self.wrappers() {
            let text = format!("{} around the {around}{}", wrapper.name(), state(&wrapper));
            pair(&mut page, "wrapper", &text);
        }
        if let Some(header) = image.header() {
            header_lines(&mut page, header, image.id_is_right());
        }
        avb_lines(&mut page, image);
        if let Some(Patched { tool, state }) = &self.patched {
            /// Exact undo is no longer possible.
            const SINCE: &str =
                "vfioboot patch starts over, vfioboot unpatch --remove takes it out";
            let tool = tool.as_deref().unwrap_or("vfioboot");
            let text = match state {
                PatchState::Exact => format!("by {tool} (undo: vfioboot unpatch)"),
                PatchState::Changed => format!("by {tool}, then changed ({SINCE})"),
                PatchState::Rebuilt => format!("by {tool}, then rebuilt by another tool ({SINCE})"),
                PatchState::Words => {
                    format!("rdinit= starts {tool}, whose files are not in this image")
                }
            };
            pair(&mut page, "patched", &text);
        }
        for section in &self.sections {
            section.append_to(&mut page);
        }
        for region in image.regions().iter().filter(|r| r.kind == RegionKind::Trailing) {
            let bytes = image.region_bytes(region);
            let what = match trailer_name(bytes) {
                Some(name) => name.to_owned(),
                None => format!("\"{}\"…", bytes[..bytes.len().min(16)].escape_ascii()),
            };
            line!(
                page,
                "  {HEAD}{:<20}{HEAD:#} {} bytes at {}: {what}",
                "trailing",
                region.size,
                image.start() + region.offset
            );
        }
        for problem in image.problems() {
            line!(page, "  {NOTE}warning:{NOTE:#} {problem}");
        }
        page
    }
}

impl Section {
    fn append_to(&self, page: &mut Page) {
        let compression = self.compression.map_or("", Format::name);
        let digest = match &self.sha256 {
            Ok(digest) => digest.clone(),
            Err(exhausted) => format!("unknown: {exhausted}"),
        };
        line!(
            page,
            "  {HEAD}{:<20}{HEAD:#} {} bytes at {} {compression} {DIM}sha256 {}{DIM:#}",
            self.name,
            self.region.size,
            self.region.offset,
            digest
        );
        for line in self.detail.iter().flat_map(|detail| &detail.lines) {
            line!(page, "  {:<20} {line}", "");
        }
    }
}

/// A label and its value.
fn pair(page: &mut Page, key: &str, value: &str) {
    line!(page, "  {key:<20} {value}");
}

fn header_lines(page: &mut Page, header: &Header, id_is_right: Option<bool>) {
    let mut line = |key: &str, value: &str| pair(page, key, value);
    line("page size", &header.page_size().to_string());
    for field in header.fields() {
        match field.value {
            Value::U32(number) if field.name.ends_with("_addr") => {
                line(field.name, &format!("{number:#010x}"));
            }
            Value::U64(number) if field.name.ends_with("_addr") => {
                line(field.name, &format!("{number:#018x}"));
            }
            Value::Text(text) if field.name == "name" && !text_of(text).is_empty() => {
                line("name", &text::visible_bytes(text_of(text)));
            }
            _ => {}
        }
    }
    if let Some(version) = header.os_version() {
        version.version().inspect(|text| line("os_version", text));
        version.patch_level().inspect(|text| line("os_patch_level", text));
    }
    if let (Some(id), Some(right)) = (header.id(), id_is_right) {
        let verdict = if right { "SHA-1 of the sections" } else { "not mkbootimg's SHA-1" };
        line("id", &format!("{} ({verdict})", base16ct::lower::encode_string(&id[..20])));
    }
    line("cmdline", &text::visible_bytes(&header.cmdline()));
}

/// AVB, and the signatures that preceded it.
fn avb_lines(page: &mut Page, image: &Image<'_>) {
    let mut line = |key: &str, value: &str| pair(page, key, value);
    if let Some(footer) = image.avb() {
        let text = format!(
            "footer: image {} bytes, vbmeta {} bytes at {}",
            footer.original_image_size, footer.vbmeta_size, footer.vbmeta_offset
        );
        line("AVB", &text);
    } else if image.header().is_some() {
        line("AVB", "no footer");
    }
    match image.vbmeta() {
        Some(Ok(vbmeta)) => {
            crate::cli::avb::lines(&vbmeta).iter().for_each(|(label, text)| line(label, text));
        }
        // A bare one has it among its problems.
        Some(Err(problem)) if image.avb().is_some() => {
            line("vbmeta", &format!("not readable: {problem}"));
        }
        _ => {}
    }
    if let Some(signature) = image.avb1_signature() {
        let text = format!(
            "signature of {} bytes at {} for {}, over {} bytes",
            signature.size, signature.offset, signature.target, signature.length
        );
        line("AVB 1.0", &text);
    }
    for certificate in image.gki_certificates() {
        line("boot signature", &certificate.describe());
    }
}

/// The values of a wrapper, and which of them are wrong.
fn state(wrapper: &Wrapper<'_>) -> String {
    let mut text = wrapper.label().map(|label| format!(" \"{label}\"")).unwrap_or_default();
    if let Some(offset) = wrapper.after_loader() {
        let _ = write!(text, " at offset {offset:#x}");
    }
    let (right, wrong): (Vec<_>, Vec<_>) = wrapper.fields().into_iter().partition(|f| f.right);
    for (fields, verdict) in [(right, "right"), (wrong, "WRONG")] {
        let names: Vec<_> = fields.iter().map(|field| field.name).collect();
        if !names.is_empty() {
            let _ = write!(text, ", {} {verdict}", names.join(" and "));
        }
    }
    text
}

fn describe(image: &Image<'_>) -> String {
    match image.header() {
        Some(header) => {
            let form = header.form().map(|form| format!(", {form}")).unwrap_or_default();
            format!("{} image, header version {}{form}", image.kind(), header.version())
        }
        None if image.kind() == ImageKind::Dtbo => "dtbo image".to_owned(),
        None if image.kind() == ImageKind::Vbmeta => "a vbmeta image".to_owned(),
        None if image.kind() == ImageKind::Config => "a kernel config".to_owned(),
        None => format!("a bare {}", image.kind()),
    }
}

//! `vfioboot info`: what an image is and what is in it.

mod initramfs;
mod modules;

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use vfioboot::bootset::{BootSet, KernelState, Ramdisk, Spot};
use vfioboot::compression::Format;
use vfioboot::image::{
    DtTable, Image, ImageKind, Region, RegionKind, SectionName, Value, Wrapper, text_of,
    trailer_name,
};
use vfioboot::kernel::{Arch, Kernel, KernelConfig, config_file};
use vfioboot::modules::ModuleRequest;
use vfioboot::text;

use super::image_set;
use super::print::{self, Page, line, say};
use super::style::{DIM, HEAD, NOTE};

/// Show what an image is: header, sections, command line, kernel, ramdisk, AVB
#[derive(clap::Args)]
pub struct Args {
    /// The images; `-` is standard input
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// Print JSON, with the tiling of every byte
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let opened = image_set::open(&args.images)?;
    let (set, inputs) = image_set::any_set(&opened)?;
    set.request_modules(ModuleRequest::default());
    let reports: Vec<Report<'_>> =
        (0..set.images().len()).map(|image| Report::of(&set, image)).collect();
    let flow = super::flow::of(&set);
    if args.json {
        let images: Vec<Json> = reports.iter().map(Report::to_json).collect();
        let initramfs = flow.map(|_| initramfs::to_json(&set));
        print::json(
            &json!({ "format": 1, "images": images, "initramfs": initramfs, "flow": flow }),
        )?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut pages: Vec<Page> = reports.iter().map(Report::page).collect();
    if let Some(flow) = flow {
        pages.extend(initramfs::page(&set, &inputs));
        pages.push(super::flow::page(flow, &inputs));
    }
    for (index, page) in pages.iter().enumerate() {
        if index > 0 {
            say!("")?;
        }
        page.print()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Everything about one image, computed once for both forms of output.
struct Report<'i> {
    name: String,
    image: &'i Image<'i>,
    sections: Vec<Section<'i>>,
    patched: Option<String>,
}

struct Section<'i> {
    name: String,
    region: Region,
    bytes: &'i [u8],
    compression: Option<Format>,
    detail: Option<Detail>,
}

/// What is known of a payload: for people, and as data.
struct Detail {
    lines: Vec<String>,
    json: Json,
}

impl<'i> Report<'i> {
    fn of(set: &'i BootSet<'i>, index: usize) -> Self {
        let image = &set.images()[index];
        let mut sections = Vec::new();
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
            sections.push(Section::of(name.as_str().to_owned(), place, bytes, detail));
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
                sections.push(Section::of(label, place, fragment.bytes, detail));
            }
        }
        sections.iter_mut().for_each(|section| section.region.offset += image.start());
        let mut ramdisks = set.ramdisks().iter().filter(|own| own.spot.image == index);
        let patched = ramdisks.find_map(|own| Some(own.mark()?.tool.clone()));
        Report { name: set.name(index).to_owned(), image, sections, patched }
    }

    fn page(&self) -> Page {
        let mut page = Page::default();
        let image = self.image;
        line!(page, "{HEAD}{}{HEAD:#}: {}", self.name, describe(image));
        let mut line = |key: &str, value: &str| line!(page, "  {key:<20} {value}");
        line("size", &format!("{} bytes", image.file().len()));
        for (around, wrapper) in self.wrappers() {
            line("wrapper", &format!("{} around the {around}{}", wrapper.name(), state(&wrapper)));
        }
        if let Some(header) = image.header() {
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
            if let (Some(id), Some(right)) = (header.id(), image.id_is_right()) {
                let verdict = if right { "SHA-1 of the sections" } else { "not mkbootimg's SHA-1" };
                line("id", &format!("{} ({verdict})", base16ct::lower::encode_string(&id[..20])));
            }
            line("cmdline", &text::visible_bytes(&header.cmdline()));
        }
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
                super::avb::lines(&vbmeta).iter().for_each(|(label, text)| line(label, text));
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
        if let Some(tool) = &self.patched {
            line("patched", &format!("by {tool} (undo: vfioboot unpatch)"));
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

    /// Each vendor's wrapper with the name of what it is around.
    fn wrappers(&self) -> Vec<(&'static str, Wrapper<'i>)> {
        let outer = self.image.wrapper().map(|wrapper| ("image", wrapper.clone()));
        let sections = [SectionName::Kernel, SectionName::Ramdisk, SectionName::VendorRamdisk];
        let sections = sections.into_iter();
        let section = |name| Some((SectionName::as_str(name), self.image.section_wrapper(name)?));
        outer.into_iter().chain(sections.filter_map(section)).collect()
    }

    fn to_json(&self) -> Json {
        let image = self.image;
        let header = image.header().map(|header| {
            let fields: serde_json::Map<String, Json> = header
                .fields()
                .into_iter()
                .map(|field| (field.name.to_owned(), field_json(field.value)))
                .collect();
            json!({
                "version": header.version(),
                "form": header.form(),
                "page_size": header.page_size(),
                "fields": fields,
                "cmdline": String::from_utf8_lossy(&header.cmdline()),
                "os_version": header.os_version().and_then(|version| version.version()),
                "os_patch_level": header.os_version().and_then(|version| version.patch_level()),
                "id_is_right": image.id_is_right(),
            })
        });
        let wrappers: Vec<Json> =
            self.wrappers().iter().map(|(around, wrapper)| wrapper_json(around, wrapper)).collect();
        let regions: Vec<Json> = image
            .file_regions()
            .iter()
            .map(|r| json!({ "kind": r.kind.as_str(), "offset": r.offset, "size": r.size }))
            .collect();
        let avb = image.avb().map(|footer| {
            json!({
                "original_image_size": footer.original_image_size,
                "vbmeta_offset": footer.vbmeta_offset,
                "vbmeta_size": footer.vbmeta_size,
            })
        });
        let avb1 = image.avb1_signature().map(|signature| {
            json!({
                "offset": signature.offset,
                "size": signature.size,
                "target": signature.target,
                "length": signature.length,
            })
        });
        let certificates: Vec<Json> = image
            .gki_certificates()
            .iter()
            .map(|certificate| {
                let vbmeta = super::avb::json(&certificate.vbmeta);
                json!({ "offset": certificate.offset, "vbmeta": vbmeta })
            })
            .collect();
        let problems: Vec<Json> = image
            .problems()
            .iter()
            .map(|p| json!({ "field": p.field, "offset": p.offset, "message": p.message }))
            .collect();
        json!({
            "file": self.name,
            "kind": image.kind(),
            "size": image.file().len(),
            "wrappers": wrappers,
            "header": header,
            "sections": self.sections.iter().map(Section::to_json).collect::<Vec<_>>(),
            "avb_footer": avb,
            "vbmeta": image.vbmeta().and_then(Result::ok).as_ref().map(super::avb::json),
            "avb1_signature": avb1,
            "gki_certificates": certificates,
            "patched_by": self.patched,
            "problems": problems,
            "regions": regions,
        })
    }
}

/// What a wrapper says, and which of its values are wrong.
fn state(wrapper: &Wrapper<'_>) -> String {
    let mut text = wrapper.label().map(|label| format!(" \"{label}\"")).unwrap_or_default();
    let (right, wrong): (Vec<_>, Vec<_>) = wrapper.fields().into_iter().partition(|f| f.right);
    for (fields, verdict) in [(right, "right"), (wrong, "WRONG")] {
        let names: Vec<_> = fields.iter().map(|field| field.name).collect();
        if !names.is_empty() {
            let _ = write!(text, ", {} {verdict}", names.join(" and "));
        }
    }
    text
}

fn wrapper_json(around: &str, wrapper: &Wrapper<'_>) -> Json {
    let fields: Vec<Json> = wrapper
        .fields()
        .iter()
        .map(|f| json!({ "name": f.name, "offset": f.offset, "right": f.right }))
        .collect();
    json!({
        "name": wrapper.name(),
        "around": around,
        "label": wrapper.label(),
        "size": wrapper.whole().len(),
        "payload": { "offset": wrapper.payload_range().start, "size": wrapper.payload().len() },
        "fields": fields,
        "refusal": wrapper.refusal(),
    })
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

fn field_json(value: Value<'_>) -> Json {
    match value {
        Value::U32(number) => json!(number),
        Value::U64(number) => json!(number),
        Value::Text(text) => json!(String::from_utf8_lossy(text_of(text))),
        Value::Bytes(bytes) => json!(base16ct::lower::encode_string(bytes)),
    }
}

impl<'i> Section<'i> {
    fn of(name: String, region: Region, bytes: &'i [u8], detail: Option<Detail>) -> Self {
        Section { name, region, bytes, compression: Format::detect(bytes), detail }
    }

    fn sha256(&self) -> String {
        base16ct::lower::encode_string(&Sha256::digest(self.bytes))
    }

    fn append_to(&self, page: &mut Page) {
        let compression = self.compression.map_or("", Format::name);
        line!(
            page,
            "  {HEAD}{:<20}{HEAD:#} {} bytes at {} {compression} {DIM}sha256 {}{DIM:#}",
            self.name,
            self.region.size,
            self.region.offset,
            self.sha256()
        );
        for line in self.detail.iter().flat_map(|detail| &detail.lines) {
            line!(page, "  {:<20} {line}", "");
        }
    }

    fn to_json(&self) -> Json {
        json!({
            "name": self.name.trim_start(),
            "offset": self.region.offset,
            "size": self.region.size,
            "compression": self.compression,
            "sha256": self.sha256(),
            "detail": self.detail.as_ref().map(|detail| &detail.json),
        })
    }
}

/// The entries of a table of device trees, one a line.
fn table_detail(table: DtTable) -> Detail {
    let mut lines =
        vec![format!("{} version {}, {} entries", table.form, table.version, table.count)];
    for entry in &table.entries {
        let ids = entry.ids.iter().filter(|(_, value)| *value != 0);
        let ids: String = ids.map(|(name, value)| format!(" {name} {value:#x}")).collect();
        lines.push(format!("{} bytes at {}{ids}", entry.size, entry.offset));
    }
    let outside = (table.count as usize).saturating_sub(table.entries.len());
    if outside > 0 {
        lines.push(format!("{outside} point outside of the table"));
    }
    Detail { lines, json: json!({ "table": table }) }
}

/// The kernel of the image of this index; that of a normal boot is known already.
fn kernel_detail(set: &BootSet<'_>, image: usize, bytes: &[u8]) -> Detail {
    let scan = |kernel: &Kernel<'_>| match &set.kernel().state {
        KernelState::NoConfig | KernelState::Config if set.kernel().image == Some(image) => {
            let facts = set.facts();
            Ok((facts.release.clone(), facts.config.is_some()))
        }
        _ => kernel.scan().map(|scan| (scan.version, scan.ikconfig.is_some())),
    };
    let scanned = Kernel::parse(bytes).and_then(|kernel| Ok((kernel.describe(), scan(&kernel)?)));
    match scanned {
        Ok((container, (version, config))) => {
            let text = format!(
                "{container}, {}, {}",
                version.as_deref().unwrap_or("no version found"),
                if config { "embedded config" } else { "no embedded config" }
            );
            let json = json!({ "container": container, "version": version, "config": config });
            Detail { lines: vec![text], json }
        }
        Err(error) => unreadable("kernel", &error),
    }
}

fn config_detail(config: KernelConfig) -> Detail {
    let (version, arch) = (config.release(), config.arch().map(Arch::name));
    let text = format!(
        "{}, {}",
        version.unwrap_or("no version in it"),
        arch.unwrap_or("architecture not known")
    );
    Detail { lines: vec![text], json: json!({ "version": version, "arch": arch }) }
}

fn ramdisk_detail(ramdisk: &Ramdisk<'_>) -> Detail {
    match ramdisk.survey() {
        Ok(survey) => {
            let found = survey.kinds.findings().iter().map(|f| match f.maker {
                Some(maker) => format!("{}, {maker} ({})", f.kind, f.evidence),
                None => format!("{} ({})", f.kind, f.evidence),
            });
            let mut lines = vec![found.collect::<Vec<_>>().join(", ")];
            let mut json = json!({ "kinds": survey.kinds });
            if let Some((text, data)) = modules::describe(ramdisk) {
                lines.push(text);
                json["modules"] = data;
            }
            Detail { lines, json }
        }
        Err(error) => unreadable("ramdisk", error),
    }
}

fn unreadable(what: &str, error: &dyn std::error::Error) -> Detail {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let _ = write!(message, ": {cause}");
        source = cause.source();
    }
    let text = format!("not readable as a {what}: {message}");
    Detail { lines: vec![text], json: json!({ "error": message }) }
}

//! `info --svg`: where the bytes are, to scale, with what each part is.

use std::fmt::{self, Write};
use std::ops::Range;

use vfioboot::image::{ImageKind, RegionKind, SectionName};
use vfioboot::ramdisk;
use vfioboot::text::{visible_bytes, xml};

use super::report::Report;

/// Pixels.
const WIDTH: usize = 920;
const BAR: usize = 36;
const ROW: usize = 20;
/// The least that a part is wide, so that a header can be seen beside a kernel.
const NARROWEST: usize = 3;
/// Parts of an image with a row each; damaged tables may have thousands.
const MOST: usize = 64;

const STYLE: &str = "\
text{font:13px system-ui,sans-serif;fill:#1f2328}.title{font-weight:600;font-size:15px}\
.number{font-family:ui-monospace,monospace;text-anchor:end}\
.header{fill:#8250df}.kernel{fill:#0969da}.ramdisk{fill:#bf8700}.ours{fill:#1a7f37}.tree{fill:#57606a}\
.avb{fill:#cf222e}.other{fill:#8c959f}.padding{fill:#d0d7de}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.padding{fill:#30363d}}";

/// A part of a file.
struct Part {
    /// Of [`STYLE`].
    class: &'static str,
    name: String,
    range: Range<usize>,
}

/// The picture of these images, one below the other.
pub(super) fn svg(reports: &[Report<'_>]) -> String {
    let mut body = String::new();
    let mut y = 0;
    for report in reports {
        // Writing to a String does not fail.
        let _ = image(&mut body, report, &mut y);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y}\" role=\"img\" \
         aria-label=\"Where the bytes are\">\n<style>{STYLE}</style>\n{body}</svg>\n"
    )
}

fn image(out: &mut String, report: &Report<'_>, y: &mut usize) -> fmt::Result {
    let parts = parts(report);
    let size = report.image.file().len();
    writeln!(
        out,
        "<text class=\"title\" x=\"0\" y=\"{}\">{}</text><text class=\"number\" x=\"{WIDTH}\" y=\"{}\">{}</text>",
        *y + 18,
        xml(&report.name),
        *y + 18,
        bytes(size)
    )?;
    *y += 28;
    let narrowest = NARROWEST.min(WIDTH / parts.len().max(1));
    let rest = WIDTH - narrowest * parts.len().min(WIDTH);
    let mut x = 0.0;
    for Part { class, name, range } in &parts {
        let width = narrowest as f64 + rest as f64 * range.len() as f64 / size.max(1) as f64;
        writeln!(
            out,
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"{BAR}\"><title>{}</title></rect>",
            xml(name)
        )?;
        x += width;
    }
    *y += BAR + 8;
    for Part { class, name, range } in parts.iter().take(MOST) {
        writeln!(
            out,
            "<rect class=\"{class}\" x=\"0\" y=\"{}\" width=\"12\" height=\"12\" rx=\"2\"/>\
             <text x=\"22\" y=\"{}\">{}</text>\
             <text class=\"number\" x=\"640\" y=\"{}\">{:#x}</text>\
             <text class=\"number\" x=\"{WIDTH}\" y=\"{}\">{}</text>",
            *y + 3,
            *y + 14,
            xml(name),
            *y + 14,
            range.start,
            *y + 14,
            bytes(range.len())
        )?;
        *y += ROW;
    }
    if let more @ 1.. = parts.len().saturating_sub(MOST) {
        writeln!(out, "<text x=\"22\" y=\"{}\">and {more} more</text>", *y + 14)?;
        *y += ROW;
    }
    *y += 12;
    Ok(())
}

/// The parts of a file in order: its regions, and within ramdisks the fragments and our segment.
fn parts(report: &Report<'_>) -> Vec<Part> {
    let image = report.image;
    let mut parts = Vec::new();
    for region in image.file_regions() {
        let range = region.offset..region.offset + region.size;
        match region.kind {
            RegionKind::Section(SectionName::Ramdisk) => {
                ramdisk_parts(&mut parts, "ramdisk", range, image.file());
            }
            RegionKind::Section(name @ SectionName::VendorRamdisk) => {
                let mut at = range.start;
                let bare = image.section_wrapper(name).is_none();
                let fragments = image.fragments().into_iter();
                for fragment in fragments.filter(|_| bare && image.kind() == ImageKind::VendorBoot)
                {
                    let start = range.start + fragment.offset;
                    let own = start..start + fragment.bytes.len();
                    // Damaged tables name bytes twice.
                    if start == at && own.end <= range.end && !own.is_empty() {
                        at = own.end;
                        let what = match fragment.name {
                            b"" => format!("vendor ramdisk, {}", fragment.kind),
                            name => format!(
                                "vendor ramdisk, {} ({})",
                                fragment.kind,
                                visible_bytes(name)
                            ),
                        };
                        ramdisk_parts(&mut parts, &what, own, image.file());
                    }
                }
                if at < range.end {
                    ramdisk_parts(&mut parts, "vendor ramdisk", at..range.end, image.file());
                }
            }
            kind => parts.push(Part {
                class: class(kind),
                name: kind.as_str().replace('_', " "),
                range,
            }),
        }
    }
    parts
}

fn ramdisk_parts(parts: &mut Vec<Part>, name: &str, range: Range<usize>, file: &[u8]) {
    let mut push = |class, name: &str, range: Range<usize>| {
        if !range.is_empty() {
            parts.push(Part { class, name: name.to_owned(), range });
        }
    };
    match ramdisk::find_ours(&file[range.clone()]) {
        Some(ours) => {
            let (start, end) = (range.start + ours.start, range.start + ours.end);
            push("ramdisk", name, range.start..start);
            push("ours", &format!("{name}: what vfioboot added"), start..end);
            push("ramdisk", &format!("{name}: after that"), end..range.end);
        }
        None => push("ramdisk", name, range),
    }
}

fn class(kind: RegionKind) -> &'static str {
    match kind {
        RegionKind::Header | RegionKind::Wrapper => "header",
        RegionKind::Section(SectionName::Kernel) => "kernel",
        RegionKind::Section(SectionName::Dtb | SectionName::Dt | SectionName::RecoveryDtbo) => {
            "tree"
        }
        RegionKind::Vbmeta | RegionKind::AvbFooter => "avb",
        RegionKind::Padding => "padding",
        RegionKind::Section(_) | RegionKind::Trailing => "other",
    }
}

fn bytes(count: usize) -> String {
    match count {
        0..1024 => format!("{count} bytes"),
        1024..1_048_576 => format!("{:.1} KiB", count as f64 / 1024.0),
        _ => format!("{:.2} MiB", count as f64 / 1_048_576.0),
    }
}

//! The initramfs of a set: its ramdisks in memory order, and where the kernel stops.

use serde_json::{Value as Json, json};
use vfioboot::bootset::{BootSet, Part, Step};

use crate::cli::input::Input;
use crate::cli::print::{Page, line};
use crate::cli::style::{DIM, HEAD, NOTE};

/// The parts in memory order, with what the kernel does at each segment.
pub fn to_json(set: &BootSet<'_>) -> Json {
    let initramfs = set.initramfs();
    let step = |step: &Step| {
        json!({
            "offset": step.range.start,
            "size": step.range.len(),
            "compression": step.compression.map(|format| format.name()),
            "padding": step.padding,
            "reach": step.reach,
        })
    };
    let part = |part: &Part| {
        json!({
            "image": part.spot.image,
            "fragment": part.spot.fragment,
            "offset": part.range.start,
            "size": part.range.len(),
            "segments": part.segments.iter().map(step).collect::<Vec<_>>(),
            "stops": part.stops.map(|stop| {
                json!({ "reason": stop.name(), "offset": stop.offset(), "text": stop.to_string() })
            }),
        })
    };
    json!({
        "parts": initramfs.parts.iter().map(part).collect::<Vec<_>>(),
        "bootconfig": initramfs.bootconfig,
    })
}

/// The same for people; None for one ramdisk that the kernel unpacks to its end.
pub fn page(set: &BootSet<'_>, inputs: &[&Input]) -> Option<Page> {
    let initramfs = set.initramfs();
    let stops = initramfs.parts.iter().any(|part| part.stops.is_some());
    if initramfs.parts.len() < 2 && !stops {
        return None;
    }
    let name = |image: usize| inputs.get(image).map(|input| input.name()).unwrap_or_default();
    let mut page = Page::default();
    line!(page, "{HEAD}initramfs{HEAD:#}: {} ramdisks in memory order", initramfs.parts.len());
    let mut reached = true;
    for part in &initramfs.parts {
        let (start, size) = (part.range.start, part.range.len());
        let place = format!("{}, {}", name(part.spot.image), part.spot);
        line!(page, "  {start:#010x}  {place}  {DIM}{size} bytes{DIM:#}");
        if let Some(stop) = part.stops.filter(|_| reached) {
            line!(
                page,
                "    {NOTE}the kernel stops here:{NOTE:#} {stop}; nothing after is unpacked"
            );
            reached = false;
        }
    }
    if let Some(image) = initramfs.bootconfig {
        line!(page, "  then the bootconfig of {}", name(image));
    }
    Some(page)
}

//! `devices --svg`: each IOMMU group as a box, with the devices that go to a guest together.

use vfioboot::device::bus::pci::PciDevice;
use vfioboot::text::xml;

/// Pixels.
const WIDTH: usize = 720;
const ROW: usize = 22;

const STYLE: &str = "text{font:13px system-ui,sans-serif;fill:#1f2328}.h{font-weight:600}\
                     .d{font-family:ui-monospace,monospace}.r{text-anchor:end}\
                     rect{fill:none;stroke:#8c959f}.yes{fill:#1a7f37}.no{fill:#cf222e}\
                     @media(prefers-color-scheme:dark){text{fill:#e6edf3}.yes{fill:#3fb950}.no{fill:#ff7b72}}";

/// A device in the picture.
pub(super) struct Row<'d> {
    pub device: &'d PciDevice,
    /// What it is called.
    pub name: String,
    /// Whether a guest can have it; None for a bridge, which stays with the host.
    pub passthrough: Option<bool>,
}

/// The picture of these groups; None is for the devices in no group.
pub(super) fn svg(groups: &[(Option<u32>, Vec<Row<'_>>)]) -> String {
    let (mut body, mut y) = (String::new(), 4);
    for (number, rows) in groups {
        let title = number.map_or("in no IOMMU group".to_owned(), |n| format!("IOMMU group {n}"));
        let height = ROW * (rows.len() + 1) + 14;
        body += &format!(
            "<rect x=\"4\" y=\"{y}\" width=\"{}\" height=\"{height}\" rx=\"8\"/>\
             <text class=\"h\" x=\"16\" y=\"{}\">{title}</text>\n",
            WIDTH - 8,
            y + 20
        );
        for (row, Row { device, name, passthrough }) in rows.iter().enumerate() {
            let (mark, driver) = match passthrough {
                None => ("", ""),
                Some(true) => ("yes", device.driver.as_deref().unwrap_or("no driver")),
                Some(false) => ("no", device.driver.as_deref().unwrap_or("no driver")),
            };
            body += &format!(
                "<text class=\"d {mark}\" x=\"16\" y=\"{0}\">{1} {2:04x}:{3:04x}</text>\
                 <text x=\"200\" y=\"{0}\">{4}</text><text class=\"r {mark}\" x=\"{5}\" y=\"{0}\">{6}</text>\n",
                y + 20 + ROW * (row + 1),
                device.address,
                device.vendor,
                device.device,
                xml(&shortened(name)),
                WIDTH - 16,
                xml(driver)
            );
        }
        y += height + 8;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y}\" role=\"img\" \
         aria-label=\"IOMMU groups\"><style>{STYLE}</style>\n{body}</svg>\n"
    )
}

/// What has room beside the driver.
fn shortened(text: &str) -> String {
    const MOST: usize = 52;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

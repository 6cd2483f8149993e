//! The sections of a file as its header describes them.

use super::{AvbFooter, Header, Problem, SectionName};

/// The position of a section in the file, clipped to the end of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    pub section: SectionName,
    pub offset: usize,
    /// Bytes of payload.
    pub size: usize,
    /// Bytes of padding to the next page that the file has.
    pub padding: usize,
}

/// No bootloader reads an image whose page size is outside this range.
const PAGE_SIZES: std::ops::RangeInclusive<u32> = 512..=1 << 20;

/// Place the sections that are not empty, one after the other, each starting on a page.
///
/// Also returns where the header and the file of `file_size` bytes disagree; every section returned
/// is inside the file.
pub(crate) fn place(header: &Header, file_size: usize) -> (Vec<Placed>, Vec<Problem>) {
    let page = header.page_size();
    if let Some(offset) = header.page_size_offset().filter(|_| !PAGE_SIZES.contains(&page)) {
        let message = format!("is {page}, expected a page size of 512 to 1048576 bytes");
        return (Vec::new(), vec![Problem { field: "page_size", offset, message }]);
    }
    let mut placed = Vec::new();
    let mut problems = Vec::new();
    let page = u64::from(page);
    let end = file_size as u64;
    let mut offset = header.sections_start() as u64;
    for field in header.sections().into_iter().filter(|field| field.size > 0) {
        let next = offset + u64::from(field.size);
        if next > end {
            let message = format!(
                "says that {} takes {} bytes from offset {offset}, but the file ends at {end}",
                field.section, field.size
            );
            problems.push(Problem { field: field.field, offset: field.offset, message });
            if offset >= end {
                break;
            }
        }
        let size = next.min(end) - offset;
        let padded = next.next_multiple_of(page);
        let padding = padded.min(end).saturating_sub(next);
        // All are below the file's size, which is a usize.
        placed.push(Placed {
            section: field.section,
            offset: offset as usize,
            size: size as usize,
            padding: padding as usize,
        });
        offset = padded;
    }
    (placed, problems)
}

/// A vbmeta blob that starts before the last section's page ends: sections could not grow.
pub(crate) fn covers_blob(
    header: &Header,
    placed: &[Placed],
    footer: &AvbFooter,
) -> Option<Problem> {
    let page = (header.page_size().max(1)) as usize;
    let end = placed.last().map_or(header.size(), |last| last.offset + last.size);
    let end = end.checked_next_multiple_of(page)? as u64;
    (footer.vbmeta_offset < end).then(|| Problem {
        field: "avb_footer.vbmeta_offset",
        offset: 0,
        message: format!(
            "is {}, inside the sections and their padding, which end at {end}",
            footer.vbmeta_offset
        ),
    })
}

/// The offset of a section according to the header, even if the file is shorter.
pub(crate) fn offset_of(header: &Header, section: SectionName) -> Option<u64> {
    let page = u64::from(header.page_size());
    if page == 0 {
        return None;
    }
    let mut offset = header.sections_start() as u64;
    for field in header.sections() {
        if field.section == section {
            return Some(offset);
        }
        offset += u64::from(field.size).next_multiple_of(page);
    }
    None
}

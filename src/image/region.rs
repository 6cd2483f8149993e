//! The tiling: every byte of the file belongs to exactly one region.

use std::ops::Range;

use super::layout::Placed;
use super::{AvbFooter, Header, SectionName};

/// What a region holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RegionKind {
    /// The header's fields.
    Header,
    /// A section's payload.
    Section(SectionName),
    /// Padding: zeros, unless the image was tampered with.
    Padding,
    /// Bytes after the last section that no header describes (vendor trailers, GKI certificates).
    Trailing,
    /// A vbmeta image: the blob that the AVB footer points to, or the file itself.
    Vbmeta,
    /// The 64-byte AVB footer.
    AvbFooter,
    /// A vendor header or trailer around the image.
    Wrapper,
}

impl RegionKind {
    /// The name in messages and in `image.toml`.
    pub fn as_str(self) -> &'static str {
        match self {
            RegionKind::Header => "header",
            RegionKind::Section(name) => name.as_str(),
            RegionKind::Padding => "padding",
            RegionKind::Trailing => "trailing",
            RegionKind::Vbmeta => "vbmeta",
            RegionKind::AvbFooter => "avb_footer",
            RegionKind::Wrapper => "wrapper",
        }
    }
}

/// A contiguous part of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// What it holds.
    pub kind: RegionKind,
    /// Offset in the file, in bytes.
    pub offset: usize,
    /// Size in bytes, never 0.
    pub size: usize,
}

impl Region {
    pub(super) fn new(kind: RegionKind, offset: usize, size: usize) -> Self {
        Region { kind, offset, size }
    }
}

/// Tile the file. Sections take precedence; AVB regions are in the bytes after them.
pub(super) fn tile(
    bytes: &[u8],
    header: &Header,
    placed: &[Placed],
    avb: Option<&AvbFooter>,
) -> Vec<Region> {
    let mut tiles = Tiles { bytes, regions: Vec::new(), end: 0 };
    tiles.push(RegionKind::Header, header.size());
    let first = placed.first().map_or_else(|| header.sections_start(), |section| section.offset);
    tiles.pad_to(first);
    for section in placed {
        tiles.pad_to(section.offset);
        tiles.push(RegionKind::Section(section.section), section.size);
        tiles.pad_to(tiles.end + section.padding);
    }
    tiles.finish(avb);
    tiles.regions
}

/// Tile a dtbo image with its device trees at `span`.
pub(super) fn tile_dtbo(bytes: &[u8], span: &Range<usize>, avb: Option<&AvbFooter>) -> Vec<Region> {
    let mut tiles = Tiles { bytes, regions: Vec::new(), end: 0 };
    tiles.push(RegionKind::Header, span.start);
    tiles.push(RegionKind::Section(SectionName::DtEntries), span.len());
    tiles.finish(avb);
    tiles.regions
}

/// Tile a file with a wrapper around the image at `payload`, whose own tiles are `inner`.
pub(super) fn tile_wrapped(file: &[u8], payload: &Range<usize>, inner: &[Region]) -> Vec<Region> {
    let mut tiles = Tiles { bytes: file, regions: Vec::new(), end: 0 };
    tiles.push(RegionKind::Wrapper, payload.start);
    inner.iter().for_each(|region| tiles.push(region.kind, region.size));
    let rest = &file[payload.end..];
    let zeros = rest.iter().position(|byte| *byte != 0).unwrap_or(rest.len());
    tiles.pad_to(payload.end + zeros);
    tiles.push(RegionKind::Wrapper, rest.len() - zeros - trailing_zeros(&rest[zeros..]));
    tiles.pad_to(file.len());
    tiles.regions
}

/// Tile a file that is a vbmeta image of `size` bytes and what follows it.
pub(super) fn tile_vbmeta(bytes: &[u8], size: usize) -> Vec<Region> {
    let mut tiles = Tiles { bytes, regions: Vec::new(), end: 0 };
    tiles.push(RegionKind::Vbmeta, size);
    tiles.unknown_to(bytes.len());
    tiles.regions
}

struct Tiles<'a> {
    bytes: &'a [u8],
    regions: Vec<Region>,
    end: usize,
}

impl Tiles<'_> {
    fn push(&mut self, kind: RegionKind, size: usize) {
        let size = size.min(self.bytes.len() - self.end);
        if size > 0 {
            self.regions.push(Region::new(kind, self.end, size));
            self.end += size;
        }
    }

    fn pad_to(&mut self, offset: usize) {
        self.push(RegionKind::Padding, offset.saturating_sub(self.end));
    }

    /// Tile the bytes after the sections.
    fn finish(&mut self, avb: Option<&AvbFooter>) {
        let end = self.bytes.len();
        if let Some(footer) = avb {
            let blob = footer.vbmeta_range();
            if blob.start >= self.end {
                self.unknown_to(blob.start);
                self.push(RegionKind::Vbmeta, blob.len());
            }
            self.unknown_to(end - AvbFooter::SIZE);
            self.push(RegionKind::AvbFooter, AvbFooter::SIZE);
        }
        self.unknown_to(end);
    }

    /// Tile unknown bytes up to `offset`: the zeros at their end are padding.
    fn unknown_to(&mut self, offset: usize) {
        let Some(unknown) = self.bytes.get(self.end..offset) else { return };
        let used = unknown.len() - trailing_zeros(unknown);
        self.push(RegionKind::Trailing, used);
        self.pad_to(offset);
    }
}

/// How many zero bytes `bytes` end with.
pub(super) fn trailing_zeros(bytes: &[u8]) -> usize {
    // Partition dumps end in megabytes of zeros: whole words first.
    let mut left = bytes;
    while let Some((rest, word)) = left.split_last_chunk::<16>() {
        if u128::from_ne_bytes(*word) != 0 {
            break;
        }
        left = rest;
    }
    let used = left.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    bytes.len() - used
}

//! The on-disk formats of boot partitions.
//!
//! [`Image::parse`] reads a boot, init_boot, recovery or vendor_boot image, a bare ramdisk, a bare
//! kernel or a vbmeta image, into *regions* that tile the file exactly. Writing an unmodified image copies
//! its regions, so identity holds by construction; [`Image::rebuild`] writes an edited one.
//!
//! | file | subject |
//! |---|---|
//! | `header/` | the headers of all versions as one model |
//! | `layout` | where the header says the sections are |
//! | `region` | the tiling |
//! | `fragment` | the vendor ramdisk table |
//! | `avb/` | AVB: footer, vbmeta image, keys, signatures |
//! | [`bootconfig`] | the bootconfig of vendor_boot v4: read, judged, edited |
//! | `id` | the SHA-1 `id` of v0–v2 |
//! | `rebuild`, `output` | an edited image as chunks to write |
//! | `unpacked` | a directory of sections and `image.toml` |
//! | `identify` | bare payloads, and files that are no boot image |

pub mod avb;
pub mod bootconfig;
mod error;
mod fragment;
mod header;
mod id;
mod identify;
pub(crate) mod layout;
mod output;
mod rebuild;
mod region;
pub mod unpacked;

pub use avb::AvbFooter;
use avb::Vbmeta;
pub use error::{Error, Problem};
pub use fragment::{Fragment, FragmentType, resize_fragment};
pub use header::{Field, Header, OsVersion, SectionName, SizeField, Value, text_of};
pub use output::{Chunk, Output};
pub use rebuild::{AvbChange, AvbPolicy, Edit, IdPolicy, Rebuilt};
pub use region::{Region, RegionKind};

/// What kind of image a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageKind {
    /// A boot or recovery image.
    Boot,
    /// A boot image of header v3 or v4 with a ramdisk and no kernel.
    InitBoot,
    /// A vendor_boot (or vendor_kernel_boot) image.
    VendorBoot,
    /// A ramdisk and nothing else.
    Ramdisk,
    /// A kernel and nothing else.
    Kernel,
    /// The vbmeta image that describes other partitions.
    Vbmeta,
}

impl ImageKind {
    /// The partition's name.
    pub fn as_str(self) -> &'static str {
        match self {
            ImageKind::Boot => "boot",
            ImageKind::InitBoot => "init_boot",
            ImageKind::VendorBoot => "vendor_boot",
            ImageKind::Ramdisk => "ramdisk",
            ImageKind::Kernel => "kernel",
            ImageKind::Vbmeta => "vbmeta",
        }
    }
}

impl std::fmt::Display for ImageKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// An image over borrowed bytes.
#[derive(Clone, Debug)]
pub struct Image<'a> {
    bytes: &'a [u8],
    kind: ImageKind,
    header: Option<Header>,
    regions: Vec<Region>,
    avb: Option<AvbFooter>,
    problems: Vec<Problem>,
}

impl<'a> Image<'a> {
    /// Read an image. Nothing is copied but the header.
    ///
    /// A header whose sizes the file does not bear out is read as far as it can be; what is
    /// wrong stands in [`Image::problems`] and [`Image::rebuild`] refuses it.
    ///
    /// # Errors
    /// [`Error::UnknownMagic`], [`Error::TruncatedHeader`], [`Error::UnknownVersion`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        if let Some((kind, section)) = identify::bare(bytes) {
            let regions = vec![Region::new(RegionKind::Section(section), 0, bytes.len())];
            let problems = Vec::new();
            return Ok(Image { bytes, kind, header: None, regions, avb: None, problems });
        }
        if bytes.starts_with(b"AVB0") {
            let (size, problems) = match Vbmeta::parse(bytes, 0) {
                Ok(vbmeta) => (vbmeta.bytes().len(), Vec::new()),
                Err(problem) => (bytes.len(), vec![problem]),
            };
            let (kind, regions) = (ImageKind::Vbmeta, region::tile_vbmeta(bytes, size));
            return Ok(Image { bytes, kind, header: None, regions, avb: None, problems });
        }
        let header = Header::parse(bytes)?;
        let mut problems = Vec::new();
        for (field, offset, length) in header.unterminated() {
            let message = format!("all {length} bytes are used, expected a NUL within them");
            problems.push(Problem { field, offset, message });
        }
        let (avb, avb_problems) = AvbFooter::find(bytes);
        problems.extend(avb_problems);
        let (placed, layout_problems) = layout::place(&header, bytes.len());
        problems.extend(layout_problems);
        problems
            .extend(avb.as_ref().and_then(|footer| layout::covers_blob(&header, &placed, footer)));
        let kind = kind_of(&header);
        let regions = region::tile(bytes, &header, &placed, avb.as_ref());
        let mut image = Image { bytes, kind, header: Some(header), regions, avb, problems };
        image.problems.extend(image.table_problems());
        Ok(image)
    }

    /// The whole file.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// What kind of image it is.
    pub fn kind(&self) -> ImageKind {
        self.kind
    }

    /// The header; bare ramdisks and kernels have none.
    pub fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// The regions, in file order, without gap or overlap from 0 to the end of the file.
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// Where the header and the file disagree.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The AVB footer, when the file ends with one.
    pub fn avb(&self) -> Option<&AvbFooter> {
        self.avb.as_ref()
    }

    /// The bytes of a region of this image.
    pub fn region_bytes(&self, region: &Region) -> &'a [u8] {
        &self.bytes[region.offset..region.offset + region.size]
    }

    /// The payload of a section; None when the image has no such section or it is empty.
    pub fn section(&self, name: SectionName) -> Option<&'a [u8]> {
        let region = self.regions.iter().find(|region| region.kind == RegionKind::Section(name))?;
        Some(self.region_bytes(region))
    }

    /// Whether the `id` of a v0–v2 header is the one AOSP's mkbootimg computes. None where the
    /// header has no id.
    pub fn id_is_right(&self) -> Option<bool> {
        let stated = self.header.as_ref()?.id()?;
        Some(*stated == id::of(self))
    }
}

fn kind_of(header: &Header) -> ImageKind {
    if header.is_vendor() {
        return ImageKind::VendorBoot;
    }
    let empty = |name| header.sections().iter().any(|s| s.section == name && s.size == 0);
    if header.version() >= 3 && empty(SectionName::Kernel) && !empty(SectionName::Ramdisk) {
        ImageKind::InitBoot
    } else {
        ImageKind::Boot
    }
}

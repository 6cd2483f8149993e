//! The on-disk formats of boot partitions.
//!
//! [`Image::parse`] reads a boot, init_boot, recovery or vendor_boot image, a bare ramdisk, a bare
//! kernel or a vbmeta image, into *regions* that tile the file exactly. Writing an unmodified image copies
//! its regions, so identity holds by construction; [`Image::rebuild`] writes an edited one.
//!
//! | file | subject |
//! |---|---|
//! | `wire` | structs that know where their fields are |
//! | `header/` | the headers of all versions as one model |
//! | `layout` | where the header says the sections are |
//! | `region` | the tiling |
//! | `fragment` | the vendor ramdisk table |
//! | `dt_table` | QCDT, DTBH and dtbo tables |
//! | `wrapper/` | vendors' headers around an image or a section |
//! | `avb/` | AVB: footer, vbmeta image, keys, signatures |
//! | [`bootconfig`] | the bootconfig of vendor_boot v4: read, judged, edited |
//! | `id` | the SHA-1 `id` of v0–v2 |
//! | `rebuild`, `output` | an edited image as chunks to write |
//! | `unpacked` | a directory of sections and `image.toml` |
//! | `identify` | bare payloads, and files that are no boot image |

pub mod avb;
pub mod bootconfig;
mod dt_table;
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
mod wire;
mod wrapper;

pub use avb::AvbFooter;
use avb::Vbmeta;
pub use dt_table::{DtEntry, DtTable};
pub use error::{Error, Problem};
pub use fragment::{Fragment, FragmentType, resize_fragment};
pub use header::{Field, Header, OsVersion, SectionName, SizeField, Value, text_of};
pub use output::{Chunk, Output};
pub use rebuild::{AvbChange, AvbPolicy, DerivedPolicy, Edit, Rebuilt};
pub use region::{Region, RegionKind};
pub use wrapper::{Wrapper, WrapperField, trailer_name};

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
    /// A dtbo image: a table of device trees.
    Dtbo,
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
            ImageKind::Dtbo => "dtbo",
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
    file: &'a [u8],
    wrapper: Option<Wrapper<'a>>,
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
    /// A vendor's [`Wrapper`] around the image is taken off first.
    ///
    /// A header whose sizes the file does not bear out is read as far as it can be; what is
    /// wrong stands in [`Image::problems`] and [`Image::rebuild`] refuses it.
    ///
    /// # Errors
    /// [`Error::UnknownMagic`], [`Error::TruncatedHeader`], [`Error::UnknownVersion`].
    pub fn parse(file: &'a [u8]) -> Result<Self, Error> {
        let Some(wrapper) = Wrapper::around_image(file) else {
            return Self::parse_inner(file, None);
        };
        let mut image = Self::parse_inner(wrapper.payload(), wrapper.payload_kind())?;
        for problem in &mut image.problems {
            problem.offset += wrapper.payload_range().start;
        }
        if let (Some(_), _) = AvbFooter::find(file)
            && wrapper.payload_range().end < file.len()
        {
            image.problems.push(footer_around(&wrapper));
        }
        image.file = file;
        image.wrapper = Some(wrapper);
        Ok(image)
    }

    /// `kind` is what a wrapper says the bytes are.
    fn parse_inner(bytes: &'a [u8], kind: Option<(ImageKind, SectionName)>) -> Result<Self, Error> {
        if let Some(span) = DtTable::parse(bytes)
            .filter(|table| table.form == "dtbo")
            .and_then(|table| table.span())
        {
            let (avb, problems) = AvbFooter::find(bytes);
            let regions = region::tile_dtbo(bytes, &span, avb.as_ref());
            let (file, header, wrapper, kind) = (bytes, None, None, ImageKind::Dtbo);
            return Ok(Image { file, wrapper, bytes, kind, header, regions, avb, problems });
        }
        let known = || kind.filter(|_| !Header::starts(bytes));
        if let Some((kind, section)) = identify::bare(bytes).or_else(known) {
            let regions = vec![Region::new(RegionKind::Section(section), 0, bytes.len())];
            let problems = Vec::new();
            let (file, header, wrapper, avb) = (bytes, None, None, None);
            return Ok(Image { file, wrapper, bytes, kind, header, regions, avb, problems });
        }
        if bytes.starts_with(b"AVB0") {
            let (size, problems) = match Vbmeta::parse(bytes, 0) {
                Ok(vbmeta) => (vbmeta.bytes().len(), Vec::new()),
                Err(problem) => (bytes.len(), vec![problem]),
            };
            let (kind, regions) = (ImageKind::Vbmeta, region::tile_vbmeta(bytes, size));
            let (file, header, wrapper, avb) = (bytes, None, None, None);
            return Ok(Image { file, wrapper, bytes, kind, header, regions, avb, problems });
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
        let (file, header, wrapper) = (bytes, Some(header), None);
        let mut image = Image { file, wrapper, bytes, kind, header, regions, avb, problems };
        image.problems.extend(image.table_problems());
        Ok(image)
    }

    /// The whole file, the vendor's wrapper included.
    pub fn file(&self) -> &'a [u8] {
        self.file
    }

    /// The image proper: the file, or what the vendor's wrapper is around. Offsets of regions
    /// count from its start.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The vendor's wrapper around the image.
    pub fn wrapper(&self) -> Option<&Wrapper<'a>> {
        self.wrapper.as_ref()
    }

    /// The regions of the whole file, the wrapper's in front and behind, without gap or overlap.
    pub fn file_regions(&self) -> Vec<Region> {
        let Some(wrapper) = &self.wrapper else { return self.regions.clone() };
        region::around(self.file, &wrapper.payload_range(), &self.regions)
    }

    /// Where in the file the image proper starts, in bytes.
    pub fn start(&self) -> usize {
        self.wrapper.as_ref().map_or(0, |wrapper| wrapper.payload_range().start)
    }

    /// A changed image in the wrapper that this one has.
    ///
    /// # Errors
    /// [`Error::Sealed`], [`Error::WrapperTooLarge`]; [`Error::Lies`] where an AVB footer stands
    /// behind the wrapper.
    pub fn wrap(&self, output: Output<'a>, policy: DerivedPolicy) -> Result<Output<'a>, Error> {
        let Some(wrapper) = &self.wrapper else { return Ok(output) };
        let footer = self.problems.iter().find(|problem| **problem == footer_around(wrapper));
        match footer.filter(|_| !output.is(wrapper.payload())) {
            Some(problem) => Err(Error::Lies(problem.clone())),
            None => wrapper.wrap_file(output, policy),
        }
    }

    /// That the wrapper around this image lets it be changed.
    ///
    /// # Errors
    /// [`Error::Sealed`].
    pub fn require_unsealed(&self) -> Result<(), Error> {
        match self.wrapper.as_ref().and_then(|wrapper| Some((wrapper, wrapper.refusal()?))) {
            Some((wrapper, reason)) => Err(Error::Sealed { form: wrapper.name(), reason }),
            None => Ok(()),
        }
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

    /// The payload of a section, without the vendor's wrapper around it; None when the image has no
    /// such section or it is empty.
    pub fn section(&self, name: SectionName) -> Option<&'a [u8]> {
        let raw = self.raw_section(name)?;
        Some(self.section_wrapper(name).map_or(raw, |wrapper| wrapper.payload()))
    }

    /// The vendor's wrapper around a kernel or ramdisk section.
    pub fn section_wrapper(&self, name: SectionName) -> Option<Wrapper<'a>> {
        let wrapped = match name {
            SectionName::Kernel | SectionName::Ramdisk => true,
            // Of several fragments none is the whole section.
            SectionName::VendorRamdisk => {
                self.raw_section(SectionName::VendorRamdiskTable).is_none()
            }
            _ => false,
        };
        // A bare payload has its wrapper, if any, around the image.
        let raw = self.raw_section(name).filter(|_| wrapped && self.header.is_some())?;
        Wrapper::around_section(raw)
    }

    /// The section with the vendor's wrapper: what the header's size field counts.
    pub(crate) fn raw_section(&self, name: SectionName) -> Option<&'a [u8]> {
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

/// AVB's metadata around a wrapper: an edit inside would leave it behind.
fn footer_around(wrapper: &Wrapper<'_>) -> Problem {
    Problem {
        field: "avb_footer",
        offset: wrapper.whole().len() - AvbFooter::SIZE,
        message: format!(
            "stands behind what the {} is around, and would not follow an edit: edit the image \
             without its wrapper",
            wrapper.name()
        ),
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

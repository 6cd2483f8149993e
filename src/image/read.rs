//! An image over borrowed bytes, read into regions.

use std::sync::OnceLock;

use sha2::{Digest, Sha256};

use super::avb::{AvbFooter, Vbmeta};
use super::dt_table::DtTable;
use super::error::Error;
use super::header::Header;
use super::kind::ImageKind;
use super::output::Output;
use super::policy::DerivedPolicy;
use super::problem::Problem;
use super::region::{Region, RegionKind};
use super::section::SectionName;
use super::wrapper::Wrapper;
use super::{identify, layout, region};

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
    sha256: OnceLock<[u8; 32]>,
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

    /// A kernel without an image around it, whatever its first bytes are.
    pub fn bare_kernel(bytes: &'a [u8]) -> Self {
        Self::bare(bytes, ImageKind::Kernel, SectionName::Kernel)
    }

    /// A kernel config, plain or compressed.
    pub(crate) fn bare_config(bytes: &'a [u8]) -> Self {
        Self::bare(bytes, ImageKind::Config, SectionName::Config)
    }

    fn bare(bytes: &'a [u8], kind: ImageKind, section: SectionName) -> Self {
        Image {
            file: bytes,
            wrapper: None,
            bytes,
            kind,
            header: None,
            regions: vec![Region::new(RegionKind::Section(section), 0, bytes.len())],
            avb: None,
            problems: Vec::new(),
            sha256: OnceLock::new(),
        }
    }

    /// `kind` is what a wrapper says the bytes are.
    fn parse_inner(bytes: &'a [u8], kind: Option<(ImageKind, SectionName)>) -> Result<Self, Error> {
        let sha256 = OnceLock::new();
        if let Some(span) = DtTable::parse(bytes)
            .filter(|table| table.form == "dtbo")
            .and_then(|table| table.span())
        {
            let (avb, problems) = AvbFooter::find(bytes);
            let regions = region::tile_dtbo(bytes, &span, avb.as_ref());
            let (file, header, wrapper, kind) = (bytes, None, None, ImageKind::Dtbo);
            return Ok(Image {
                file,
                wrapper,
                bytes,
                kind,
                header,
                regions,
                avb,
                problems,
                sha256,
            });
        }
        let known = || kind.filter(|_| !Header::starts(bytes));
        if let Some((kind, section)) = identify::bare(bytes).or_else(known) {
            return Ok(Self::bare(bytes, kind, section));
        }
        if bytes.starts_with(b"AVB0") {
            let (size, problems) = match Vbmeta::parse(bytes, 0) {
                Ok(vbmeta) => (vbmeta.bytes().len(), Vec::new()),
                Err(problem) => (bytes.len(), vec![problem]),
            };
            let (kind, regions) = (ImageKind::Vbmeta, region::tile_vbmeta(bytes, size));
            let (file, header, wrapper, avb) = (bytes, None, None, None);
            return Ok(Image {
                file,
                wrapper,
                bytes,
                kind,
                header,
                regions,
                avb,
                problems,
                sha256,
            });
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
        let mut image =
            Image { file, wrapper, bytes, kind, header, regions, avb, problems, sha256 };
        image.problems.extend(image.table_problems());
        Ok(image)
    }

    /// The whole file, the vendor's wrapper included.
    pub fn file(&self) -> &'a [u8] {
        self.file
    }

    /// SHA-256 of the file, computed once.
    pub fn sha256(&self) -> [u8; 32] {
        *self.sha256.get_or_init(|| Sha256::digest(self.file).into())
    }

    /// Say what [`Image::sha256`] is, where somebody has computed it already.
    pub(crate) fn know_sha256(&self, digest: [u8; 32]) {
        self.sha256.get_or_init(|| digest);
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

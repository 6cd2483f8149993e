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
use super::wrapper::{Wrapper, is_samsung};
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
    /// A vendor [`Wrapper`] around the image is stripped first.
    ///
    /// When the sizes in the header disagree with the file, the image is read as far as possible;
    /// [`Image::problems`] reports the disagreements and [`Image::rebuild`] refuses the image.
    ///
    /// # Errors
    /// [`Error::UnknownMagic`], [`Error::UnknownPayload`], [`Error::TruncatedHeader`],
    /// [`Error::UnknownVersion`].
    pub fn parse(file: &'a [u8]) -> Result<Self, Error> {
        let Some(wrapper) = Wrapper::around_image(file) else {
            return Self::parse_inner(file, None);
        };
        let parsed = Self::parse_inner(wrapper.payload(), wrapper.payload_kind());
        let mut image = parsed.map_err(|error| match error {
            Error::UnknownMagic { .. } => {
                let label = wrapper.label().unwrap_or_default();
                Error::UnknownPayload { form: wrapper.name(), label }
            }
            error => error,
        })?;
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

    /// A kernel without an image around it. Its first bytes are not checked.
    pub(crate) fn bare_kernel(bytes: &'a [u8]) -> Self {
        Self::bare(bytes, ImageKind::Kernel, SectionName::Kernel)
    }

    /// A kernel config, plain or compressed.
    pub(crate) fn bare_config(bytes: &'a [u8]) -> Self {
        Self::bare(bytes, ImageKind::Config, SectionName::Config)
    }

    fn bare(bytes: &'a [u8], kind: ImageKind, section: SectionName) -> Self {
        let section = RegionKind::Section(section);
        Self::of_regions(bytes, kind, vec![Region::new(section, 0, bytes.len())])
    }

    /// An image without a wrapper, a header and an AVB footer.
    fn of_regions(bytes: &'a [u8], kind: ImageKind, regions: Vec<Region>) -> Self {
        Image {
            file: bytes,
            wrapper: None,
            bytes,
            kind,
            header: None,
            regions,
            avb: None,
            problems: Vec::new(),
            sha256: OnceLock::new(),
        }
    }

    /// `kind` is the kind of the bytes according to a wrapper.
    fn parse_inner(bytes: &'a [u8], kind: Option<(ImageKind, SectionName)>) -> Result<Self, Error> {
        let table = DtTable::parse(bytes).filter(|table| table.form == "dtbo");
        if let Some(span) = table.and_then(|table| table.span()) {
            let (avb, problems) = AvbFooter::find(bytes);
            let regions = region::tile_dtbo(bytes, &span, avb.as_ref());
            let image = Self::of_regions(bytes, ImageKind::Dtbo, regions);
            return Ok(Image { avb, problems, ..image });
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
            let regions = region::tile_vbmeta(bytes, size);
            let image = Self::of_regions(bytes, ImageKind::Vbmeta, regions);
            return Ok(Image { problems, ..image });
        }
        Self::with_header(bytes)
    }

    fn with_header(bytes: &'a [u8]) -> Result<Self, Error> {
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
        let image = Self::of_regions(bytes, kind, regions);
        let mut image = Image { header: Some(header), avb, problems, ..image };
        image.problems.extend(image.table_problems());
        Ok(image)
    }

    /// The whole file, including the vendor wrapper.
    pub fn file(&self) -> &'a [u8] {
        self.file
    }

    /// SHA-256 of the file, computed once.
    pub(crate) fn sha256(&self) -> [u8; 32] {
        *self.sha256.get_or_init(|| Sha256::digest(self.file).into())
    }

    /// Set the result of [`Image::sha256`] when it is known already.
    pub(crate) fn set_sha256(&self, digest: [u8; 32]) {
        self.sha256.get_or_init(|| digest);
    }

    /// The image itself: the file, or the payload of the vendor wrapper. Offsets of regions are
    /// relative to its start.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The vendor wrapper around the image.
    pub fn wrapper(&self) -> Option<&Wrapper<'a>> {
        self.wrapper.as_ref()
    }

    /// The regions of the whole file, including those of the wrapper, without gap or overlap.
    pub fn file_regions(&self) -> Vec<Region> {
        let Some(wrapper) = &self.wrapper else { return self.regions.clone() };
        region::tile_wrapped(self.file, &wrapper.payload_range(), &self.regions)
    }

    /// The offset of the image itself in the file, in bytes.
    pub fn start(&self) -> usize {
        self.wrapper.as_ref().map_or(0, |wrapper| wrapper.payload_range().start)
    }

    /// Put the wrapper of this image around `output`, a changed image.
    ///
    /// # Errors
    /// [`Error::Sealed`], [`Error::WrapperTooLarge`]; [`Error::Inconsistent`] if an AVB footer
    /// follows the wrapped image.
    pub fn wrap(&self, output: Output<'a>, policy: DerivedPolicy) -> Result<Output<'a>, Error> {
        let Some(wrapper) = &self.wrapper else { return Ok(output) };
        let footer = self.problems.iter().find(|problem| **problem == footer_around(wrapper));
        match footer.filter(|_| !output.equals(wrapper.payload())) {
            Some(problem) => Err(Error::Inconsistent(problem.clone())),
            None => wrapper.wrap_file(output, policy),
        }
    }

    /// Require that the wrappers of this image allow changes.
    ///
    /// # Errors
    /// [`Error::Sealed`].
    pub fn require_unsealed(&self) -> Result<(), Error> {
        let layers = self.wrapper.iter().flat_map(Wrapper::layers);
        let mut sealed = layers.filter_map(|layer| Some((layer.name(), layer.refusal()?)));
        match sealed.next() {
            Some((form, reason)) => Err(Error::Sealed { form, reason }),
            None => Ok(()),
        }
    }

    /// The kind of the image.
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

    /// Bytes that header and sections take, from the start of the image.
    pub(crate) fn described_size(&self) -> usize {
        let described = |kind| matches!(kind, RegionKind::Header | RegionKind::Section(_));
        let regions = self.regions.iter().filter(|region| described(region.kind));
        regions.map(|region| region.offset + region.size).max().unwrap_or(0)
    }

    /// The disagreements between the header and the file.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The AVB footer, if the file ends with one.
    pub fn avb(&self) -> Option<&AvbFooter> {
        self.avb.as_ref()
    }

    /// Whether Samsung's tools made the file, whose bootloaders do not speak fastboot.
    pub(crate) fn is_samsung(&self) -> bool {
        let trailing = self.regions.iter().filter(|region| region.kind == RegionKind::Trailing);
        trailing.map(|region| self.region_bytes(region)).any(is_samsung)
            || self.header.as_ref().is_some_and(Header::is_samsung)
    }

    /// The bytes of a region of this image.
    pub fn region_bytes(&self, region: &Region) -> &'a [u8] {
        &self.bytes[region.offset..region.offset + region.size]
    }

    /// The payload of a section, without the vendor wrapper around it; None if the image has no such
    /// section or the section is empty.
    pub fn section(&self, name: SectionName) -> Option<&'a [u8]> {
        let raw = self.raw_section(name)?;
        Some(self.section_wrapper(name).map_or(raw, |wrapper| wrapper.payload()))
    }

    /// The vendor wrapper around a kernel or ramdisk section.
    pub fn section_wrapper(&self, name: SectionName) -> Option<Wrapper<'a>> {
        let wrapped = match name {
            SectionName::Kernel | SectionName::Ramdisk => true,
            // With several fragments, no fragment is the whole section.
            SectionName::VendorRamdisk => {
                self.raw_section(SectionName::VendorRamdiskTable).is_none()
            }
            _ => false,
        };
        // The wrapper of a bare payload, if any, is around the image.
        let raw = self.raw_section(name).filter(|_| wrapped && self.header.is_some())?;
        Wrapper::around_section(raw)
    }

    /// The bootconfig behind the ramdisk. The kernel reads it if no other ramdisk and no other bootconfig
    /// comes after it.
    pub fn trailing_bootconfig(&self) -> Option<&'a [u8]> {
        let sections = [SectionName::Ramdisk, SectionName::VendorRamdisk];
        let mut around = sections.into_iter().filter_map(|name| self.section_wrapper(name));
        let own = self.wrapper.as_ref().and_then(Wrapper::bootconfig);
        own.or_else(|| around.find_map(|wrapper| wrapper.bootconfig()))
    }

    /// The section including the vendor wrapper: the header's size field covers both.
    pub(crate) fn raw_section(&self, name: SectionName) -> Option<&'a [u8]> {
        let region = self.regions.iter().find(|region| region.kind == RegionKind::Section(name))?;
        Some(self.region_bytes(region))
    }
}

/// An AVB footer outside a wrapper: it would not be updated by an edit inside.
fn footer_around(wrapper: &Wrapper<'_>) -> Problem {
    Problem {
        field: "avb_footer",
        offset: wrapper.whole().len() - AvbFooter::SIZE,
        message: format!(
            "is after the payload of the {}, and an edit would not update it: edit the image without \
             its wrapper",
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

//! The header of an image: one model over the wire structs of all versions.

mod amonet;
pub(crate) mod boot;
mod field;
mod head;
pub(crate) mod legacy;
mod name20;
mod pxa;
mod sony;
mod text;
pub(crate) mod vendor;

use std::io::Cursor;

use binrw::{BinRead, BinWrite};

use super::error::Error;
use super::lookalike;
use super::section::SectionName;
pub use field::Value;
pub(crate) use field::{Field, SizeField};
use field::{NumberMut, number_at};
pub use text::OsVersion;
pub use text::text_of;

/// The header of a boot, init_boot, recovery or vendor_boot image. Keeps every byte of the
/// header, known and unknown, so that [`Header::to_bytes`] gives back what was parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The bytes before the header within its page.
    prelude: Vec<u8>,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Legacy(Box<legacy::Wire>),
    Pxa(Box<pxa::Wire>),
    Name20(Box<name20::Wire>),
    Boot(Box<boot::Wire>),
    Vendor(Box<vendor::Wire>),
    Sony(Box<sony::Wire>),
}

/// Call a method of the wire struct.
macro_rules! each {
    ($header:expr, $wire:ident => $call:expr) => {
        match $header {
            Kind::Legacy($wire) => $call,
            Kind::Pxa($wire) => $call,
            Kind::Name20($wire) => $call,
            Kind::Boot($wire) => $call,
            Kind::Vendor($wire) => $call,
            Kind::Sony($wire) => $call,
        }
    };
}

/// Above this, `header_version` of a v0 image is the size of a QCDT: no table is smaller.
const MAX_PLAUSIBLE_VERSION: u32 = 31;

impl Header {
    /// Parse the header that `bytes` start with.
    ///
    /// # Errors
    /// [`Error::UnknownMagic`], [`Error::TruncatedHeader`], [`Error::UnknownVersion`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.starts_with(vendor::MAGIC) {
            return match number_at(bytes, vendor::VERSION_AT) {
                Some(3 | 4) => {
                    read(bytes, "vendor_boot").map(|wire| Header::plain(Kind::Vendor(wire)))
                }
                Some(found) => {
                    let offset = vendor::VERSION_AT;
                    Err(Error::UnknownVersion { offset, found, expected: "3 or 4" })
                }
                None => Err(truncated("vendor_boot", vendor::VERSION_AT + 4, bytes)),
            };
        }
        if let Some(wire) = sony::Wire::parse(bytes) {
            return Ok(Header::plain(Kind::Sony(Box::new(wire))));
        }
        if !bytes.starts_with(head::MAGIC) {
            return Err(lookalike::unknown_magic(bytes));
        }
        if let Some(rest) = amonet::behind_microloader(bytes) {
            // Bytes beyond the page are taken as zeros.
            let page = number_at(rest, legacy::PAGE_SIZE_AT).unwrap_or(0) as usize;
            let room = page
                .saturating_sub(amonet::MICROLOADER_SIZE)
                .clamp(amonet::LEAST_HEADER, rest.len());
            let mut whole = rest[..room].to_vec();
            whole.resize(whole.len().max(amonet::MAX_HEADER), 0);
            let Header { kind, .. } = Header::parse(&whole)?;
            return Ok(Header { prelude: bytes[..amonet::MICROLOADER_SIZE].to_vec(), kind });
        }
        if pxa::Wire::is(bytes) {
            return read(bytes, "PXA boot image").map(|wire| Header::plain(Kind::Pxa(wire)));
        }
        match number_at(bytes, legacy::VERSION_AT) {
            None => Err(truncated("boot image", legacy::VERSION_AT + 4, bytes)),
            Some(3 | 4) => read(bytes, "boot image").map(|wire| Header::plain(Kind::Boot(wire))),
            Some(found @ 5..=MAX_PLAUSIBLE_VERSION) => {
                let offset = legacy::VERSION_AT;
                Err(Error::UnknownVersion { offset, found, expected: "0 to 4" })
            }
            Some(found) if !matches!(found, 1 | 2) && name20::Wire::is(bytes) => {
                read(bytes, "boot image").map(|wire| Header::plain(Kind::Name20(wire)))
            }
            Some(_) => read(bytes, "boot image").map(|wire| Header::plain(Kind::Legacy(wire))),
        }
    }

    fn plain(kind: Kind) -> Self {
        Header { prelude: Vec::new(), kind }
    }

    /// Whether `bytes` start as a header does.
    pub(crate) fn starts(bytes: &[u8]) -> bool {
        bytes.starts_with(head::MAGIC)
            || bytes.starts_with(vendor::MAGIC)
            || sony::Wire::parse(bytes).is_some()
    }

    /// The bytes of the header, `Header::size` of them.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Cursor::new(self.prelude.clone());
        bytes.set_position(self.prelude.len() as u64);
        let written = each!(&self.kind, wire => wire.write(&mut bytes));
        // Writing fixed-size fields into memory does not fail.
        debug_assert!(written.is_ok());
        let mut bytes = bytes.into_inner();
        bytes.truncate(self.size());
        bytes
    }

    /// Whether this is a vendor_boot header.
    pub(crate) fn is_vendor(&self) -> bool {
        matches!(self.kind, Kind::Vendor(_))
    }

    /// The header version, 0 to 4.
    pub fn version(&self) -> u32 {
        match &self.kind {
            Kind::Legacy(wire) => wire.version(),
            Kind::Pxa(_) | Kind::Name20(_) | Kind::Sony(_) => 0,
            Kind::Boot(wire) => wire.header_version,
            Kind::Vendor(wire) => wire.header_version,
        }
    }

    /// The name of a vendor variant; None for AOSP's headers.
    pub fn form(&self) -> Option<&'static str> {
        match &self.kind {
            Kind::Pxa(_) => Some("PXA header"),
            Kind::Name20(_) => Some("header with a name of 20 bytes (Samsung)"),
            Kind::Sony(_) => Some("Sony ELF"),
            _ if !self.prelude.is_empty() => Some("Amonet microloader before the header"),
            _ => None,
        }
    }

    /// Whether it is a variant that only Samsung's tools write.
    pub(crate) fn is_samsung(&self) -> bool {
        matches!(self.kind, Kind::Name20(_))
    }

    /// Size of the header without the padding to the page, in bytes.
    pub(crate) fn size(&self) -> usize {
        let size = each!(&self.kind, wire => wire.size());
        if self.prelude.is_empty() {
            return size;
        }
        // After a microloader, the header has only the rest of the first page.
        let least = self.prelude.len() + amonet::LEAST_HEADER;
        (self.prelude.len() + size).min((self.page_size() as usize).max(least))
    }

    /// Alignment of sections in bytes, according to the header.
    pub fn page_size(&self) -> u32 {
        match &self.kind {
            Kind::Legacy(wire) => wire.page_size,
            Kind::Pxa(wire) => wire.page_size,
            Kind::Name20(wire) => wire.page_size,
            Kind::Boot(_) => boot::PAGE_SIZE,
            Kind::Vendor(wire) => wire.page_size,
            Kind::Sony(wire) => wire.alignment(),
        }
    }

    /// Offset of the first section in bytes.
    pub(crate) fn sections_start(&self) -> usize {
        match &self.kind {
            Kind::Sony(wire) => wire.start(),
            _ => self.size().next_multiple_of(self.page_size().max(1) as usize),
        }
    }

    /// Offset of the page size field; None where the version fixes the page size.
    pub(crate) fn page_size_offset(&self) -> Option<usize> {
        match &self.kind {
            Kind::Legacy(_) => Some(self.prelude.len() + legacy::PAGE_SIZE_AT),
            Kind::Pxa(_) => Some(pxa::PAGE_SIZE_AT),
            Kind::Name20(_) => Some(name20::PAGE_SIZE_AT),
            Kind::Boot(_) | Kind::Sony(_) => None,
            Kind::Vendor(_) => Some(vendor::PAGE_SIZE_AT),
        }
    }

    /// The size fields in file order of their sections, including empty sections.
    pub fn sections(&self) -> Vec<SizeField> {
        let mut sections = each!(&self.kind, wire => wire.sections());
        sections.iter_mut().for_each(|field| field.offset += self.prelude.len());
        sections
    }

    /// Set the size of a section in bytes; ignored if the header has no such section.
    pub(crate) fn set_section_size(&mut self, name: SectionName, size: u32) {
        each!(&mut self.kind, wire => wire.set_section_size(name, size));
    }

    /// All fields in file order, without reserved ones.
    pub fn fields(&self) -> Vec<Field<'_>> {
        let mut fields = each!(&self.kind, wire => wire.fields());
        fields.iter_mut().for_each(|field| field.offset += self.prelude.len());
        fields
    }

    /// Set a number that does not affect the layout (addresses, `os_version`, `header_size`).
    ///
    /// # Errors
    /// [`Error::Field`] if the field does not exist, depends on the sections, or is too small for
    /// the value.
    pub(crate) fn set_number(&mut self, name: &str, value: u64) -> Result<(), Error> {
        let fail = |reason| Error::Field { field: name.to_owned(), reason };
        let place = each!(&mut self.kind, wire => wire.number_mut(name));
        match place.ok_or_else(|| fail("is not a number that can be set"))? {
            NumberMut::U32(place) => {
                *place = u32::try_from(value).map_err(|_| fail("does not fit in 32 bits"))?;
            }
            NumberMut::U64(place) => *place = value,
        }
        Ok(())
    }

    /// Set the product name of v0–v2 and vendor headers: no NUL, and no longer than its field.
    ///
    /// # Errors
    /// [`Error::TextTooLong`], [`Error::NulInText`], [`Error::Field`] if there is no name field.
    pub(crate) fn set_name(&mut self, name: &[u8]) -> Result<(), Error> {
        let place: &mut [u8] = match &mut self.kind {
            Kind::Legacy(wire) => &mut wire.name,
            Kind::Pxa(wire) => &mut wire.name,
            Kind::Name20(wire) => &mut wire.name,
            Kind::Vendor(wire) => &mut wire.name,
            Kind::Boot(_) => {
                let reason = "boot image headers v3 and v4 have no such field";
                return Err(Error::Field { field: "name".to_owned(), reason });
            }
            Kind::Sony(_) => {
                let reason = "a Sony ELF has no such field";
                return Err(Error::Field { field: "name".to_owned(), reason });
            }
        };
        let capacity = place.len();
        text::fill(place, name, "name", capacity)
    }

    /// The kernel command line: the field up to its NUL, for v0–v2 followed by
    /// `extra_cmdline`. It may not be UTF-8.
    pub fn cmdline(&self) -> Vec<u8> {
        match &self.kind {
            Kind::Legacy(wire) => [text_of(&wire.cmdline), text_of(&wire.extra_cmdline)].concat(),
            Kind::Pxa(wire) => [text_of(&wire.cmdline), text_of(&wire.extra_cmdline)].concat(),
            Kind::Name20(wire) => [text_of(&wire.cmdline), text_of(&wire.extra_cmdline)].concat(),
            Kind::Boot(wire) => text_of(&wire.cmdline).to_vec(),
            Kind::Vendor(wire) => text_of(&wire.cmdline).to_vec(),
            Kind::Sony(wire) => wire.cmdline().to_vec(),
        }
    }

    /// The command line segment of a Sony ELF, if it differs from that of `old`. It is a section and
    /// is written as one.
    pub(crate) fn new_cmdline_segment(&self, old: &Header) -> Option<Vec<u8>> {
        match (&self.kind, &old.kind) {
            (Kind::Sony(new), Kind::Sony(old))
                if new.cmdline_segment() != old.cmdline_segment() =>
            {
                new.cmdline_segment().map(<[u8]>::to_vec)
            }
            _ => None,
        }
    }

    /// Whether the command line is a section instead of a header field.
    pub(crate) fn cmdline_is_section(&self) -> bool {
        matches!(self.kind, Kind::Sony(_))
    }

    /// Set the kernel command line, always NUL-terminated. In v0–v2 the first field has at most 511
    /// bytes and the line is split at a space, because some bootloaders read only the first field.
    ///
    /// # Errors
    /// [`Error::CmdlineTooLong`], [`Error::NulInText`].
    pub fn set_cmdline(&mut self, line: &[u8]) -> Result<(), Error> {
        let room = self.extra_cmdline_room();
        match &mut self.kind {
            Kind::Legacy(wire) if room < 2 => text::fill_cmdline(&mut wire.cmdline, line),
            Kind::Legacy(wire) => {
                text::fill_split(&mut wire.cmdline, &mut wire.extra_cmdline[..room], line)
            }
            Kind::Pxa(wire) => text::fill_split(&mut wire.cmdline, &mut wire.extra_cmdline, line),
            Kind::Name20(wire) => {
                text::fill_split(&mut wire.cmdline, &mut wire.extra_cmdline, line)
            }
            Kind::Boot(wire) => text::fill_cmdline(&mut wire.cmdline, line),
            Kind::Vendor(wire) => text::fill_cmdline(&mut wire.cmdline, line),
            Kind::Sony(wire) => wire.set_cmdline(line),
        }
    }

    /// Maximum size of the command line in bytes, without the NUL. In v0–v2, where the line is split
    /// at a space, the maximum may be lower.
    pub fn cmdline_capacity(&self) -> usize {
        match &self.kind {
            Kind::Legacy(_) | Kind::Pxa(_) | Kind::Name20(_) => {
                511 + self.extra_cmdline_room().saturating_sub(1)
            }
            Kind::Boot(_) => 1535,
            Kind::Vendor(_) => 2047,
            Kind::Sony(_) => sony::CMDLINE_CAPACITY,
        }
    }

    /// Usable bytes of `extra_cmdline`: all, unless a microloader takes a part of the page.
    fn extra_cmdline_room(&self) -> usize {
        let header = self.size() - self.prelude.len();
        header.saturating_sub(legacy::EXTRA_CMDLINE_AT).min(1024)
    }

    /// The `id` of v0–v2: SHA-1 over the sections, zero-padded to 32 bytes.
    pub fn id(&self) -> Option<&[u8; 32]> {
        match &self.kind {
            Kind::Legacy(wire) => Some(&wire.id),
            Kind::Pxa(wire) => Some(&wire.id),
            Kind::Name20(wire) => Some(&wire.id),
            _ => None,
        }
    }

    pub(crate) fn set_id(&mut self, id: [u8; 32]) {
        match &mut self.kind {
            Kind::Legacy(wire) => wire.id = id,
            Kind::Pxa(wire) => wire.id = id,
            Kind::Name20(wire) => wire.id = id,
            Kind::Boot(_) | Kind::Vendor(_) | Kind::Sony(_) => {}
        }
    }

    /// The Android version and patch level; only boot headers have them.
    pub fn os_version(&self) -> Option<OsVersion> {
        match &self.kind {
            Kind::Legacy(wire) => Some(OsVersion(wire.os_version)),
            Kind::Boot(wire) => Some(OsVersion(wire.os_version)),
            Kind::Name20(wire) => Some(OsVersion(wire.os_version)),
            Kind::Vendor(_) | Kind::Pxa(_) | Kind::Sony(_) => None,
        }
    }

    /// `recovery_dtbo_offset` of v1 and v2: the offset of the recovery DTBO in the file.
    pub fn recovery_dtbo_offset(&self) -> Option<u64> {
        match &self.kind {
            Kind::Legacy(wire) => wire.v1.as_ref().map(|v1| v1.recovery_dtbo_offset),
            _ => None,
        }
    }

    pub(crate) fn set_recovery_dtbo_offset(&mut self, offset: u64) {
        if let Kind::Legacy(wire) = &mut self.kind
            && let Some(v1) = &mut wire.v1
        {
            v1.recovery_dtbo_offset = offset;
        }
    }

    /// Number of entries in the vendor ramdisk table and size of an entry in bytes, vendor_boot v4.
    pub fn ramdisk_table(&self) -> Option<(u32, u32)> {
        let Kind::Vendor(wire) = &self.kind else { return None };
        let v4 = wire.v4.as_ref()?;
        Some((v4.vendor_ramdisk_table_entry_num, v4.vendor_ramdisk_table_entry_size))
    }

    /// Text fields without a terminating NUL, with their offset and length.
    pub(crate) fn unterminated(&self) -> Vec<(&'static str, usize, usize)> {
        let cmdlines = self.fields().into_iter().filter(|field| field.name.ends_with("cmdline"));
        cmdlines
            .filter_map(|field| match field.value {
                Value::Text(text) if !text.contains(&0) => {
                    Some((field.name, field.offset, text.len()))
                }
                _ => None,
            })
            .collect()
    }
}

fn truncated(header: &'static str, needed: usize, bytes: &[u8]) -> Error {
    Error::TruncatedHeader { header, needed, available: bytes.len() }
}

fn read<T>(bytes: &[u8], header: &'static str) -> Result<Box<T>, Error>
where
    T: BinRead + binrw::meta::ReadEndian,
    for<'a> T::Args<'a>: Default,
{
    // Pad to the largest header. Magic and version were checked, so only missing bytes can fail.
    T::read(&mut Cursor::new(bytes)).map(Box::new).map_err(|_| truncated(header, 2128, bytes))
}

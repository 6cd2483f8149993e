//! The header of Marvell PXA devices (including Samsung's): v0 with an extra section, which shifts
//! the following fields. `boot_img_hdr_pxa` of magiskboot's bootimg, after Samsung's `mkbootimg`.
//! All integers little-endian.

use binrw::binrw;

use super::super::wire::wire;
use super::head::{Head, MAGIC};
use super::{Field, SectionName, SizeField, Value};

wire! {
    #[binrw]
    #[brw(little)]
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) struct Wire, WireAt from MAGIC.len() => {
        pub head: Head,
        pub extra_size: u32,
        pub unknown: u32,
        pub tags_addr: u32,
        pub page_size: u32,
        pub name: [u8; 24],
        pub cmdline: [u8; 512],
        pub id: [u8; 32],
        pub extra_cmdline: [u8; 1024],
    }
}

pub(crate) const PAGE_SIZE_AT: usize = Wire::AT.page_size;
/// Minimum of `unknown`; the page size, which v0 has at this offset, is always smaller.
const LEAST_UNKNOWN: u32 = 0x0200_0000;

impl Wire {
    /// Whether a header that starts with "ANDROID!" is one of these.
    pub(crate) fn is(bytes: &[u8]) -> bool {
        let unknown = super::number_at(bytes, Wire::AT.unknown);
        let page = super::number_at(bytes, PAGE_SIZE_AT);
        unknown.is_some_and(|number| number >= LEAST_UNKNOWN)
            && page.is_some_and(|page| page.is_power_of_two() && (2048..=1 << 18).contains(&page))
    }

    pub(crate) fn size(&self) -> usize {
        Self::AT.end
    }

    pub(crate) fn sections(&self) -> Vec<SizeField> {
        let mut sections = self.head.sections();
        sections.push(SizeField::new(
            SectionName::Extra,
            "extra_size",
            Self::AT.extra_size,
            self.extra_size,
        ));
        sections
    }

    pub(crate) fn set_section_size(&mut self, name: SectionName, size: u32) {
        match name {
            SectionName::Extra => self.extra_size = size,
            _ => self.head.set_section_size(name, size),
        }
    }

    pub(crate) fn fields(&self) -> Vec<Field<'_>> {
        let at = Self::AT;
        let number = |name, offset, value| Field::new(name, offset, Value::U32(value));
        let mut fields = self.head.fields();
        fields.extend([
            number("extra_size", at.extra_size, self.extra_size),
            number("unknown", at.unknown, self.unknown),
            number("tags_addr", at.tags_addr, self.tags_addr),
            number("page_size", at.page_size, self.page_size),
            Field::new("name", at.name, Value::Text(&self.name)),
            Field::new("cmdline", at.cmdline, Value::Text(&self.cmdline)),
            Field::new("id", at.id, Value::Bytes(&self.id)),
            Field::new("extra_cmdline", at.extra_cmdline, Value::Text(&self.extra_cmdline)),
        ]);
        fields
    }

    pub(crate) fn number_mut(&mut self, name: &str) -> Option<super::NumberMut<'_>> {
        match name {
            "tags_addr" => Some(super::NumberMut::U32(&mut self.tags_addr)),
            _ => self.head.number_mut(name),
        }
    }
}

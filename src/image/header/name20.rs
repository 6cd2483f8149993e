//! The header of Samsung's v0 images with a name of 20 bytes, which shifts the following fields by
//! four (topjohnwu/Magisk#2083). All integers little-endian.

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
        pub tags_addr: u32,
        pub page_size: u32,
        /// 0 without a QCDT.
        pub dt_size: u32,
        pub os_version: u32,
        pub name: [u8; 20],
        pub cmdline: [u8; 512],
        pub id: [u8; 32],
        pub extra_cmdline: [u8; 1024],
    }
}

pub(crate) const PAGE_SIZE_AT: usize = Wire::AT.page_size;
/// Bytes of SHA-1 in `id`; the others are zero.
const SHA1_SIZE: usize = 20;

impl Wire {
    /// Whether a v0 header that starts with "ANDROID!" is one of these: its SHA-1 ends four bytes
    /// later.
    pub(crate) fn is(bytes: &[u8]) -> bool {
        let id = Self::AT.id;
        let part = |from: usize, to: usize| bytes.get(from..to).unwrap_or_default();
        let zero = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
        let end = id + SHA1_SIZE;
        bytes.len() >= Self::AT.end
            && zero(part(id - 4, id))
            && !zero(part(id, id + 4))
            && !zero(part(end - 4, end))
            && zero(part(end, Self::AT.extra_cmdline))
    }

    pub(crate) fn size(&self) -> usize {
        Self::AT.end
    }

    pub(crate) fn sections(&self) -> Vec<SizeField> {
        let mut sections = self.head.sections();
        if self.dt_size > 0 {
            let at = Self::AT.dt_size;
            sections.push(SizeField::new(SectionName::Dt, "dt_size", at, self.dt_size));
        }
        sections
    }

    pub(crate) fn set_section_size(&mut self, name: SectionName, size: u32) {
        match name {
            SectionName::Dt => self.dt_size = size,
            _ => self.head.set_section_size(name, size),
        }
    }

    pub(crate) fn fields(&self) -> Vec<Field<'_>> {
        let at = Self::AT;
        let number = |name, offset, value| Field::new(name, offset, Value::U32(value));
        let mut fields = self.head.fields();
        fields.extend([
            number("tags_addr", at.tags_addr, self.tags_addr),
            number("page_size", at.page_size, self.page_size),
            number("dt_size", at.dt_size, self.dt_size),
            number("os_version", at.os_version, self.os_version),
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
            "os_version" => Some(super::NumberMut::U32(&mut self.os_version)),
            _ => self.head.number_mut(name),
        }
    }
}

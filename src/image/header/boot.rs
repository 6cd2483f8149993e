//! Boot image header versions 3 and 4 (also init_boot): `boot_img_hdr_v3` and `v4` of
//! AOSP's `bootimg.h`. All integers little-endian; the page size is always 4096.

use binrw::binrw;

use super::super::wire::wire;
use super::head::MAGIC;
use super::{Field, SectionName, SizeField, Value};

wire! {
    #[binrw]
    #[brw(little, magic = b"ANDROID!")]
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) struct Wire, WireAt from MAGIC.len() => {
        pub kernel_size: u32,
        pub ramdisk_size: u32,
        pub os_version: u32,
        pub header_size: u32,
        pub reserved: [u32; 4],
        pub header_version: u32,
        pub cmdline: [u8; 1536],
        ;
        #[br(if(header_version == 4))]
        pub signature_size: Option<u32>,
    }
}

/// Versions 3 and 4 have no page size field; bootloaders use this.
pub(crate) const PAGE_SIZE: u32 = 4096;

impl Wire {
    pub(crate) fn size(&self) -> usize {
        Self::AT.end + self.signature_size.map_or(0, |_| size_of::<u32>())
    }

    pub(crate) fn sections(&self) -> Vec<SizeField> {
        let at = Self::AT;
        let mut sections = vec![
            SizeField::new(SectionName::Kernel, "kernel_size", at.kernel_size, self.kernel_size),
            SizeField::new(
                SectionName::Ramdisk,
                "ramdisk_size",
                at.ramdisk_size,
                self.ramdisk_size,
            ),
        ];
        if let Some(size) = self.signature_size {
            sections.push(SizeField::new(
                SectionName::BootSignature,
                "signature_size",
                at.end,
                size,
            ));
        }
        sections
    }

    pub(crate) fn set_section_size(&mut self, name: SectionName, size: u32) {
        match (name, &mut self.signature_size) {
            (SectionName::Kernel, _) => self.kernel_size = size,
            (SectionName::Ramdisk, _) => self.ramdisk_size = size,
            (SectionName::BootSignature, Some(signature_size)) => *signature_size = size,
            _ => {}
        }
    }

    pub(crate) fn fields(&self) -> Vec<Field<'_>> {
        let at = Self::AT;
        let mut fields = vec![
            Field::new("kernel_size", at.kernel_size, Value::U32(self.kernel_size)),
            Field::new("ramdisk_size", at.ramdisk_size, Value::U32(self.ramdisk_size)),
            Field::new("os_version", at.os_version, Value::U32(self.os_version)),
            Field::new("header_size", at.header_size, Value::U32(self.header_size)),
            Field::new("header_version", at.header_version, Value::U32(self.header_version)),
            Field::new("cmdline", at.cmdline, Value::Text(&self.cmdline)),
        ];
        if let Some(size) = self.signature_size {
            fields.push(Field::new("signature_size", at.end, Value::U32(size)));
        }
        fields
    }

    pub(crate) fn number_mut(&mut self, name: &str) -> Option<super::NumberMut<'_>> {
        use super::NumberMut::U32;
        Some(match name {
            "os_version" => U32(&mut self.os_version),
            "header_size" => U32(&mut self.header_size),
            _ => return None,
        })
    }
}

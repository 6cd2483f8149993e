//! Boot image header versions 3 and 4 (also init_boot): `boot_img_hdr_v3` and `v4` of
//! AOSP's `bootimg.h`. All integers little-endian; the page size is always 4096.

use binrw::binrw;

use super::{Field, SectionName, SizeField, Value};

#[binrw]
#[brw(little, magic = b"ANDROID!")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wire {
    pub kernel_size: u32,
    pub ramdisk_size: u32,
    pub os_version: u32,
    pub header_size: u32,
    pub reserved: [u32; 4],
    pub header_version: u32,
    pub cmdline: [u8; 1536],
    #[br(if(header_version == 4))]
    pub signature_size: Option<u32>,
}

/// Versions 3 and 4 have no page size field; bootloaders use this.
pub(crate) const PAGE_SIZE: u32 = 4096;
pub(crate) const CMDLINE_AT: usize = 44;

impl Wire {
    pub fn size(&self) -> usize {
        if self.signature_size.is_some() { 1584 } else { 1580 }
    }

    pub fn sections(&self) -> Vec<SizeField> {
        let mut sections = vec![
            SizeField::new(SectionName::Kernel, "kernel_size", 8, self.kernel_size),
            SizeField::new(SectionName::Ramdisk, "ramdisk_size", 12, self.ramdisk_size),
        ];
        if let Some(size) = self.signature_size {
            sections.push(SizeField::new(SectionName::BootSignature, "signature_size", 1580, size));
        }
        sections
    }

    pub fn set_section_size(&mut self, name: SectionName, size: u32) {
        match (name, &mut self.signature_size) {
            (SectionName::Kernel, _) => self.kernel_size = size,
            (SectionName::Ramdisk, _) => self.ramdisk_size = size,
            (SectionName::BootSignature, Some(signature_size)) => *signature_size = size,
            _ => {}
        }
    }

    pub fn fields(&self) -> Vec<Field<'_>> {
        let mut fields = vec![
            Field::new("kernel_size", 8, Value::U32(self.kernel_size)),
            Field::new("ramdisk_size", 12, Value::U32(self.ramdisk_size)),
            Field::new("os_version", 16, Value::U32(self.os_version)),
            Field::new("header_size", 20, Value::U32(self.header_size)),
            Field::new("header_version", 40, Value::U32(self.header_version)),
            Field::new("cmdline", CMDLINE_AT, Value::Text(&self.cmdline)),
        ];
        if let Some(size) = self.signature_size {
            fields.push(Field::new("signature_size", 1580, Value::U32(size)));
        }
        fields
    }

    pub fn number_mut(&mut self, name: &str) -> Option<super::NumberMut<'_>> {
        use super::NumberMut::U32;
        Some(match name {
            "os_version" => U32(&mut self.os_version),
            "header_size" => U32(&mut self.header_size),
            _ => return None,
        })
    }
}

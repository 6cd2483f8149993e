//! Vendor boot image header versions 3 and 4: `vendor_boot_img_hdr_v3` and `v4` of AOSP's
//! `bootimg.h`, and the vendor ramdisk table's entries. All integers little-endian.

use binrw::binrw;

use super::{Field, SectionName, SizeField, Value};

#[binrw]
#[brw(little, magic = b"VNDRBOOT")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wire {
    pub header_version: u32,
    pub page_size: u32,
    pub kernel_addr: u32,
    pub ramdisk_addr: u32,
    pub vendor_ramdisk_size: u32,
    pub cmdline: [u8; 2048],
    pub tags_addr: u32,
    pub name: [u8; 16],
    pub header_size: u32,
    pub dtb_size: u32,
    pub dtb_addr: u64,
    #[br(if(header_version == 4))]
    pub v4: Option<V4>,
}

#[binrw]
#[brw(little)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct V4 {
    pub vendor_ramdisk_table_size: u32,
    pub vendor_ramdisk_table_entry_num: u32,
    pub vendor_ramdisk_table_entry_size: u32,
    pub bootconfig_size: u32,
}

/// `vendor_ramdisk_table_entry_v4`.
#[binrw]
#[brw(little)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TableEntry {
    pub ramdisk_size: u32,
    pub ramdisk_offset: u32,
    pub ramdisk_type: u32,
    pub ramdisk_name: [u8; 32],
    pub board_id: [u32; 16],
}

/// Bytes of one table entry as version 4 defines it.
pub(crate) const TABLE_ENTRY_SIZE: usize = 108;
pub(crate) const VERSION_AT: usize = 8;
pub(crate) const PAGE_SIZE_AT: usize = 12;
pub(crate) const CMDLINE_AT: usize = 28;

impl Wire {
    pub fn size(&self) -> usize {
        if self.v4.is_some() { 2128 } else { 2112 }
    }

    pub fn sections(&self) -> Vec<SizeField> {
        let field = SizeField::new;
        let ramdisk = self.vendor_ramdisk_size;
        let mut sections = vec![
            field(SectionName::VendorRamdisk, "vendor_ramdisk_size", 24, ramdisk),
            field(SectionName::Dtb, "dtb_size", 2100, self.dtb_size),
        ];
        if let Some(v4) = &self.v4 {
            let table = v4.vendor_ramdisk_table_size;
            let name = SectionName::VendorRamdiskTable;
            sections.push(field(name, "vendor_ramdisk_table_size", 2112, table));
            let bootconfig = v4.bootconfig_size;
            sections.push(field(SectionName::Bootconfig, "bootconfig_size", 2124, bootconfig));
        }
        sections
    }

    pub fn set_section_size(&mut self, name: SectionName, size: u32) {
        match (name, &mut self.v4) {
            (SectionName::VendorRamdisk, _) => self.vendor_ramdisk_size = size,
            (SectionName::Dtb, _) => self.dtb_size = size,
            (SectionName::VendorRamdiskTable, Some(v4)) => v4.vendor_ramdisk_table_size = size,
            (SectionName::Bootconfig, Some(v4)) => v4.bootconfig_size = size,
            _ => {}
        }
    }

    pub fn fields(&self) -> Vec<Field<'_>> {
        let mut fields = vec![
            Field::new("header_version", VERSION_AT, Value::U32(self.header_version)),
            Field::new("page_size", PAGE_SIZE_AT, Value::U32(self.page_size)),
            Field::new("kernel_addr", 16, Value::U32(self.kernel_addr)),
            Field::new("ramdisk_addr", 20, Value::U32(self.ramdisk_addr)),
            Field::new("vendor_ramdisk_size", 24, Value::U32(self.vendor_ramdisk_size)),
            Field::new("cmdline", CMDLINE_AT, Value::Text(&self.cmdline)),
            Field::new("tags_addr", 2076, Value::U32(self.tags_addr)),
            Field::new("name", 2080, Value::Text(&self.name)),
            Field::new("header_size", 2096, Value::U32(self.header_size)),
            Field::new("dtb_size", 2100, Value::U32(self.dtb_size)),
            Field::new("dtb_addr", 2104, Value::U64(self.dtb_addr)),
        ];
        if let Some(v4) = &self.v4 {
            let numbers = [
                ("vendor_ramdisk_table_size", v4.vendor_ramdisk_table_size),
                ("vendor_ramdisk_table_entry_num", v4.vendor_ramdisk_table_entry_num),
                ("vendor_ramdisk_table_entry_size", v4.vendor_ramdisk_table_entry_size),
                ("bootconfig_size", v4.bootconfig_size),
            ];
            for (i, (name, value)) in numbers.into_iter().enumerate() {
                fields.push(Field::new(name, 2112 + 4 * i, Value::U32(value)));
            }
        }
        fields
    }

    pub fn number_mut(&mut self, name: &str) -> Option<super::NumberMut<'_>> {
        use super::NumberMut::{U32, U64};
        Some(match name {
            "kernel_addr" => U32(&mut self.kernel_addr),
            "ramdisk_addr" => U32(&mut self.ramdisk_addr),
            "tags_addr" => U32(&mut self.tags_addr),
            "header_size" => U32(&mut self.header_size),
            "dtb_addr" => U64(&mut self.dtb_addr),
            _ => return None,
        })
    }
}

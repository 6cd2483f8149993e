//! Vendor boot image header versions 3 and 4: `vendor_boot_img_hdr_v3` and `v4` of AOSP's
//! `bootimg.h`, and the vendor ramdisk table's entries. All integers little-endian.

use binrw::binrw;

use super::super::wire::wire;
use super::{Field, SectionName, SizeField, Value};

pub(crate) const MAGIC: &[u8; 8] = b"VNDRBOOT";

wire! {
    #[binrw]
    #[brw(little, magic = b"VNDRBOOT")]
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) struct Wire, WireAt from MAGIC.len() => {
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
        ;
        #[br(if(header_version == 4))]
        pub v4: Option<V4>,
    }
}

wire! {
    #[binrw]
    #[brw(little)]
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) struct V4, V4At from Wire::AT.end => {
        pub vendor_ramdisk_table_size: u32,
        pub vendor_ramdisk_table_entry_num: u32,
        pub vendor_ramdisk_table_entry_size: u32,
        pub bootconfig_size: u32,
    }
}

wire! {
    /// `vendor_ramdisk_table_entry_v4`.
    #[binrw]
    #[brw(little)]
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) struct TableEntry, TableEntryAt from 0 => {
        pub ramdisk_size: u32,
        pub ramdisk_offset: u32,
        pub ramdisk_type: u32,
        pub ramdisk_name: [u8; 32],
        pub board_id: [u32; 16],
    }
}

/// Size of a table entry in version 4, in bytes.
pub(crate) const TABLE_ENTRY_SIZE: usize = TableEntry::AT.end;
pub(crate) const VERSION_AT: usize = Wire::AT.header_version;
pub(crate) const PAGE_SIZE_AT: usize = Wire::AT.page_size;

impl Wire {
    pub(crate) fn size(&self) -> usize {
        if self.v4.is_some() { V4::AT.end } else { Self::AT.end }
    }

    pub(crate) fn sections(&self) -> Vec<SizeField> {
        let (field, at) = (SizeField::new, Self::AT);
        let ramdisk = self.vendor_ramdisk_size;
        let mut sections = vec![
            field(
                SectionName::VendorRamdisk,
                "vendor_ramdisk_size",
                at.vendor_ramdisk_size,
                ramdisk,
            ),
            field(SectionName::Dtb, "dtb_size", at.dtb_size, self.dtb_size),
        ];
        if let Some(v4) = &self.v4 {
            let table = v4.vendor_ramdisk_table_size;
            let (name, at) = (SectionName::VendorRamdiskTable, V4::AT.vendor_ramdisk_table_size);
            sections.push(field(name, "vendor_ramdisk_table_size", at, table));
            let (size, at) = (v4.bootconfig_size, V4::AT.bootconfig_size);
            sections.push(field(SectionName::Bootconfig, "bootconfig_size", at, size));
        }
        sections
    }

    pub(crate) fn set_section_size(&mut self, name: SectionName, size: u32) {
        match (name, &mut self.v4) {
            (SectionName::VendorRamdisk, _) => self.vendor_ramdisk_size = size,
            (SectionName::Dtb, _) => self.dtb_size = size,
            (SectionName::VendorRamdiskTable, Some(v4)) => v4.vendor_ramdisk_table_size = size,
            (SectionName::Bootconfig, Some(v4)) => v4.bootconfig_size = size,
            _ => {}
        }
    }

    pub(crate) fn fields(&self) -> Vec<Field<'_>> {
        let at = Self::AT;
        let mut fields = vec![
            Field::new("header_version", at.header_version, Value::U32(self.header_version)),
            Field::new("page_size", at.page_size, Value::U32(self.page_size)),
            Field::new("kernel_addr", at.kernel_addr, Value::U32(self.kernel_addr)),
            Field::new("ramdisk_addr", at.ramdisk_addr, Value::U32(self.ramdisk_addr)),
            Field::new(
                "vendor_ramdisk_size",
                at.vendor_ramdisk_size,
                Value::U32(self.vendor_ramdisk_size),
            ),
            Field::new("cmdline", at.cmdline, Value::Text(&self.cmdline)),
            Field::new("tags_addr", at.tags_addr, Value::U32(self.tags_addr)),
            Field::new("name", at.name, Value::Text(&self.name)),
            Field::new("header_size", at.header_size, Value::U32(self.header_size)),
            Field::new("dtb_size", at.dtb_size, Value::U32(self.dtb_size)),
            Field::new("dtb_addr", at.dtb_addr, Value::U64(self.dtb_addr)),
        ];
        if let Some(v4) = &self.v4 {
            let (at, number) = (V4::AT, Value::U32);
            fields.extend([
                Field::new(
                    "vendor_ramdisk_table_size",
                    at.vendor_ramdisk_table_size,
                    number(v4.vendor_ramdisk_table_size),
                ),
                Field::new(
                    "vendor_ramdisk_table_entry_num",
                    at.vendor_ramdisk_table_entry_num,
                    number(v4.vendor_ramdisk_table_entry_num),
                ),
                Field::new(
                    "vendor_ramdisk_table_entry_size",
                    at.vendor_ramdisk_table_entry_size,
                    number(v4.vendor_ramdisk_table_entry_size),
                ),
                Field::new("bootconfig_size", at.bootconfig_size, number(v4.bootconfig_size)),
            ]);
        }
        fields
    }

    pub(crate) fn number_mut(&mut self, name: &str) -> Option<super::NumberMut<'_>> {
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

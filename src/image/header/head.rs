//! The six fields at the start of every header of v0 to v2, including vendor variants.

use binrw::binrw;

use super::super::wire::wire;
use super::{Field, NumberMut, SectionName, SizeField, Value};

pub(crate) const MAGIC: &[u8; 8] = b"ANDROID!";

wire! {
    #[binrw]
    #[brw(little, magic = b"ANDROID!")]
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) struct Head, HeadAt from MAGIC.len() => {
        pub kernel_size: u32,
        pub kernel_addr: u32,
        pub ramdisk_size: u32,
        pub ramdisk_addr: u32,
        pub second_size: u32,
        pub second_addr: u32,
    }
}

impl Head {
    pub(crate) fn sections(&self) -> Vec<SizeField> {
        let (field, at) = (SizeField::new, Self::AT);
        vec![
            field(SectionName::Kernel, "kernel_size", at.kernel_size, self.kernel_size),
            field(SectionName::Ramdisk, "ramdisk_size", at.ramdisk_size, self.ramdisk_size),
            field(SectionName::Second, "second_size", at.second_size, self.second_size),
        ]
    }

    pub(crate) fn set_section_size(&mut self, name: SectionName, size: u32) {
        match name {
            SectionName::Kernel => self.kernel_size = size,
            SectionName::Ramdisk => self.ramdisk_size = size,
            SectionName::Second => self.second_size = size,
            _ => {}
        }
    }

    pub(crate) fn fields(&self) -> Vec<Field<'_>> {
        let at = Self::AT;
        let number = |name, offset, value| Field::new(name, offset, Value::U32(value));
        vec![
            number("kernel_size", at.kernel_size, self.kernel_size),
            number("kernel_addr", at.kernel_addr, self.kernel_addr),
            number("ramdisk_size", at.ramdisk_size, self.ramdisk_size),
            number("ramdisk_addr", at.ramdisk_addr, self.ramdisk_addr),
            number("second_size", at.second_size, self.second_size),
            number("second_addr", at.second_addr, self.second_addr),
        ]
    }

    pub(crate) fn number_mut(&mut self, name: &str) -> Option<NumberMut<'_>> {
        Some(NumberMut::U32(match name {
            "kernel_addr" => &mut self.kernel_addr,
            "ramdisk_addr" => &mut self.ramdisk_addr,
            "second_addr" => &mut self.second_addr,
            _ => return None,
        }))
    }
}

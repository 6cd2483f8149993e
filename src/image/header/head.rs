//! The six fields that every header of v0 to v2 starts with, whosever it is.

use binrw::binrw;

use super::{Field, NumberMut, SectionName, SizeField, Value};

#[binrw]
#[brw(little, magic = b"ANDROID!")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub kernel_size: u32,
    pub kernel_addr: u32,
    pub ramdisk_size: u32,
    pub ramdisk_addr: u32,
    pub second_size: u32,
    pub second_addr: u32,
}

impl Head {
    pub fn sections(&self) -> Vec<SizeField> {
        let field = SizeField::new;
        vec![
            field(SectionName::Kernel, "kernel_size", 8, self.kernel_size),
            field(SectionName::Ramdisk, "ramdisk_size", 16, self.ramdisk_size),
            field(SectionName::Second, "second_size", 24, self.second_size),
        ]
    }

    pub fn set_section_size(&mut self, name: SectionName, size: u32) {
        match name {
            SectionName::Kernel => self.kernel_size = size,
            SectionName::Ramdisk => self.ramdisk_size = size,
            SectionName::Second => self.second_size = size,
            _ => {}
        }
    }

    pub fn fields(&self) -> Vec<Field<'_>> {
        let number = |name, offset, value| Field::new(name, offset, Value::U32(value));
        vec![
            number("kernel_size", 8, self.kernel_size),
            number("kernel_addr", 12, self.kernel_addr),
            number("ramdisk_size", 16, self.ramdisk_size),
            number("ramdisk_addr", 20, self.ramdisk_addr),
            number("second_size", 24, self.second_size),
            number("second_addr", 28, self.second_addr),
        ]
    }

    pub fn number_mut(&mut self, name: &str) -> Option<NumberMut<'_>> {
        Some(NumberMut::U32(match name {
            "kernel_addr" => &mut self.kernel_addr,
            "ramdisk_addr" => &mut self.ramdisk_addr,
            "second_addr" => &mut self.second_addr,
            _ => return None,
        }))
    }
}

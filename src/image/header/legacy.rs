//! Boot image header versions 0, 1 and 2: `boot_img_hdr_v0`–`v2` of AOSP's
//! `system/tools/mkbootimg/include/bootimg/bootimg.h`. All integers little-endian.

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
        /// `header_version`, or `dt_size` in a vendor's v0 with a QCDT.
        pub header_version: u32,
        pub os_version: u32,
        pub name: [u8; 16],
        pub cmdline: [u8; 512],
        pub id: [u8; 32],
        pub extra_cmdline: [u8; 1024],
        ;
        #[br(if(matches!(header_version, 1 | 2)))]
        pub v1: Option<V1>,
        #[br(if(header_version == 2))]
        pub v2: Option<V2>,
    }
}

wire! {
    #[binrw]
    #[brw(little)]
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) struct V1, V1At from Wire::AT.end => {
        pub recovery_dtbo_size: u32,
        pub recovery_dtbo_offset: u64,
        pub header_size: u32,
    }
}

wire! {
    #[binrw]
    #[brw(little)]
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) struct V2, V2At from V1::AT.end => {
        pub dtb_size: u32,
        pub dtb_addr: u64,
    }
}

/// Offsets in the header, for messages.
pub(crate) const PAGE_SIZE_AT: usize = Wire::AT.page_size;
pub(crate) const VERSION_AT: usize = Wire::AT.header_version;
pub(crate) const EXTRA_CMDLINE_AT: usize = Wire::AT.extra_cmdline;

impl Wire {
    pub(crate) fn version(&self) -> u32 {
        if self.v2.is_some() { 2 } else { u32::from(self.v1.is_some()) }
    }

    /// Size of a QCDT after the second stage; vendors put it where v1 has its version.
    pub(crate) fn dt_size(&self) -> u32 {
        if self.v1.is_none() { self.header_version } else { 0 }
    }

    pub(crate) fn size(&self) -> usize {
        match self.version() {
            0 => Self::AT.end,
            1 => V1::AT.end,
            _ => V2::AT.end,
        }
    }

    pub(crate) fn sections(&self) -> Vec<SizeField> {
        let field = SizeField::new;
        let mut sections = self.head.sections();
        if self.dt_size() > 0 {
            sections.push(field(SectionName::Dt, "dt_size", VERSION_AT, self.dt_size()));
        }
        if let Some(v1) = &self.v1 {
            let size = v1.recovery_dtbo_size;
            let at = V1::AT.recovery_dtbo_size;
            sections.push(field(SectionName::RecoveryDtbo, "recovery_dtbo_size", at, size));
        }
        if let Some(v2) = &self.v2 {
            sections.push(field(SectionName::Dtb, "dtb_size", V2::AT.dtb_size, v2.dtb_size));
        }
        sections
    }

    pub(crate) fn set_section_size(&mut self, name: SectionName, size: u32) {
        match (name, &mut self.v1, &mut self.v2) {
            (SectionName::Dt, None, _) => self.header_version = size,
            (SectionName::RecoveryDtbo, Some(v1), _) => v1.recovery_dtbo_size = size,
            (SectionName::Dtb, _, Some(v2)) => v2.dtb_size = size,
            _ => self.head.set_section_size(name, size),
        }
    }

    pub(crate) fn fields(&self) -> Vec<Field<'_>> {
        let at = Self::AT;
        let mut fields = self.head.fields();
        fields.extend([
            Field::new("tags_addr", at.tags_addr, Value::U32(self.tags_addr)),
            Field::new("page_size", at.page_size, Value::U32(self.page_size)),
            if self.dt_size() > 0 {
                Field::new("dt_size", at.header_version, Value::U32(self.dt_size()))
            } else {
                Field::new("header_version", at.header_version, Value::U32(self.header_version))
            },
            Field::new("os_version", at.os_version, Value::U32(self.os_version)),
            Field::new("name", at.name, Value::Text(&self.name)),
            Field::new("cmdline", at.cmdline, Value::Text(&self.cmdline)),
            Field::new("id", at.id, Value::Bytes(&self.id)),
            Field::new("extra_cmdline", at.extra_cmdline, Value::Text(&self.extra_cmdline)),
        ]);
        if let Some(v1) = &self.v1 {
            let at = V1::AT;
            let (size, offset) = (v1.recovery_dtbo_size, v1.recovery_dtbo_offset);
            fields.extend([
                Field::new("recovery_dtbo_size", at.recovery_dtbo_size, Value::U32(size)),
                Field::new("recovery_dtbo_offset", at.recovery_dtbo_offset, Value::U64(offset)),
                Field::new("header_size", at.header_size, Value::U32(v1.header_size)),
            ]);
        }
        if let Some(v2) = &self.v2 {
            fields.push(Field::new("dtb_size", V2::AT.dtb_size, Value::U32(v2.dtb_size)));
            fields.push(Field::new("dtb_addr", V2::AT.dtb_addr, Value::U64(v2.dtb_addr)));
        }
        fields
    }

    pub(crate) fn number_mut(&mut self, name: &str) -> Option<super::NumberMut<'_>> {
        use super::NumberMut::{U32, U64};
        Some(match name {
            "tags_addr" => U32(&mut self.tags_addr),
            "os_version" => U32(&mut self.os_version),
            "header_size" => U32(&mut self.v1.as_mut()?.header_size),
            "dtb_addr" => U64(&mut self.v2.as_mut()?.dtb_addr),
            _ => return self.head.number_mut(name),
        })
    }
}

//! Sony's boot image of 2011 to 2013: an ELF file for 32-bit ARM whose segments are kernel, ramdisk,
//! command line and firmware, identified by flags. `mkelf.py` of sonyxperiadev's device-sony-lt26
//! writes it; osm0sis' unpackelf reads it. All integers little-endian.

use binrw::{BinRead, BinWrite, binrw};

use super::super::Error;
use super::super::wire::wire;
use super::{Field, NumberMut, SectionName, SizeField, Value};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wire {
    elf: Elf,
    /// The section of each segment.
    names: Vec<SectionName>,
    /// The bytes of the command line segment; None if there is none.
    line: Option<Vec<u8>>,
    /// Alignment of segments in bytes: 1 if they are contiguous.
    alignment: u32,
    /// Offset of the first segment.
    start: usize,
}

wire! {
    #[binrw]
    #[brw(little, magic = b"\x7fELF\x01\x01\x01")]
    #[derive(Clone, Debug, PartialEq, Eq)]
    struct Elf, ElfAt from MAGIC.len() => {
        ident: [u8; 9],
        e_type: u16,
        e_machine: u16,
        e_version: u32,
        e_entry: u32,
        e_phoff: u32,
        e_shoff: u32,
        e_flags: u32,
        e_ehsize: u16,
        e_phentsize: u16,
        e_phnum: u16,
        e_shentsize: u16,
        e_shnum: u16,
        e_shstrndx: u16,
        ;
        #[br(count = e_phnum.min(MAX_SEGMENTS))]
        segments: Vec<Segment>,
    }
}

wire! {
    #[binrw]
    #[brw(little)]
    #[derive(Clone, Debug, PartialEq, Eq)]
    struct Segment, SegmentAt from 0 => {
        p_type: u32,
        p_offset: u32,
        p_vaddr: u32,
        p_paddr: u32,
        p_filesz: u32,
        p_memsz: u32,
        p_flags: u32,
        p_align: u32,
    }
}

/// 32 bits, little-endian, version 1.
const MAGIC: &[u8; 7] = b"\x7fELF\x01\x01\x01";
const ELF_HEADER: usize = Elf::AT.end;
const PROGRAM_HEADER: usize = Segment::AT.end;
const EM_ARM: u16 = 40;
const MAX_SEGMENTS: u16 = 8;

/// `P_FLAGS_*` of mkelf.py, and the names of each segment's size and address.
const FLAGS: [(u32, SectionName, &str, &str); 5] = [
    (0, SectionName::Kernel, "kernel_size", "kernel_addr"),
    (0x8000_0000, SectionName::Ramdisk, "ramdisk_size", "ramdisk_addr"),
    (0x4000_0000, SectionName::Ipl, "ipl_size", "ipl_addr"),
    (0x2000_0000, SectionName::Cmdline, "cmdline_size", "cmdline_addr"),
    (0x0100_0000, SectionName::Rpm, "rpm_size", "rpm_addr"),
];

/// `COMMAND_LINE_SIZE` of 32-bit ARM without the NUL.
pub(super) const CMDLINE_CAPACITY: usize = 1023;

impl Wire {
    /// Parse the header at the start of `bytes`; None for any other ELF file. Only the command line
    /// segment is read, so `bytes` may be the header alone.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let elf = Elf::read(&mut std::io::Cursor::new(bytes)).ok()?;
        let plain = elf.e_machine == EM_ARM
            && elf.e_phoff as usize == ELF_HEADER
            && usize::from(elf.e_phentsize) == PROGRAM_HEADER
            && elf.e_phnum <= MAX_SEGMENTS
            && elf.e_shnum == 0;
        let named = elf.segments.iter().map(|segment| {
            let flags = FLAGS.iter().find(|(flags, ..)| *flags == segment.p_flags);
            flags.map(|(_, name, ..)| *name)
        });
        let names: Vec<SectionName> = named.collect::<Option<_>>()?;
        let once = |name| names.iter().filter(|other| **other == name).count() == 1;
        let start = elf.segments.first()?.p_offset as usize;
        let headers = ELF_HEADER + PROGRAM_HEADER * elf.segments.len();
        let whole = names.iter().all(|name| once(*name)) && names.contains(&SectionName::Ramdisk);
        let alignment = alignment(&elf.segments)?;
        if !plain || !whole || start < headers || !start.is_multiple_of(alignment as usize) {
            return None;
        }
        let line = names.iter().position(|name| *name == SectionName::Cmdline).map(|index| {
            let segment = &elf.segments[index];
            let rest = bytes.get(segment.p_offset as usize..).unwrap_or_default();
            rest[..rest.len().min(segment.p_filesz as usize)].to_vec()
        });
        Some(Wire { elf, names, line, alignment, start })
    }

    pub(crate) fn write(&self, bytes: &mut std::io::Cursor<Vec<u8>>) -> binrw::BinResult<()> {
        self.elf.write(bytes)
    }

    pub(crate) fn size(&self) -> usize {
        ELF_HEADER + PROGRAM_HEADER * self.elf.segments.len()
    }

    /// Offset of the first segment in bytes.
    pub(crate) fn start(&self) -> usize {
        self.start
    }

    pub(crate) fn alignment(&self) -> u32 {
        self.alignment
    }

    pub(crate) fn sections(&self) -> Vec<SizeField> {
        let section = |(index, name): (usize, &SectionName)| {
            let offset = ELF_HEADER + PROGRAM_HEADER * index + Segment::AT.p_filesz;
            SizeField::new(*name, field_names(*name).0, offset, self.elf.segments[index].p_filesz)
        };
        self.names.iter().enumerate().map(section).collect()
    }

    /// Set the size of a segment and move the segments after it.
    pub(crate) fn set_section_size(&mut self, name: SectionName, size: u32) {
        let Some(index) = self.names.iter().position(|other| *other == name) else { return };
        let segment = &mut self.elf.segments[index];
        // A segment may have more memory than file bytes, like a .bss: the difference is kept.
        segment.p_memsz = size.saturating_add(segment.p_memsz.saturating_sub(segment.p_filesz));
        segment.p_filesz = size;
        let mut offset = self.start as u64;
        for segment in &mut self.elf.segments {
            // An image larger than 4 GiB is refused because of the sizes of its sections.
            segment.p_offset = u32::try_from(offset).unwrap_or(u32::MAX);
            let end = offset + u64::from(segment.p_filesz);
            offset = end.next_multiple_of(u64::from(self.alignment));
        }
    }

    pub(crate) fn fields(&self) -> Vec<Field<'_>> {
        let mut fields = vec![Field::new("e_entry", Elf::AT.e_entry, Value::U32(self.elf.e_entry))];
        for (index, (segment, name)) in self.elf.segments.iter().zip(&self.names).enumerate() {
            let at = ELF_HEADER + PROGRAM_HEADER * index;
            let (size, addr) = field_names(*name);
            fields.push(Field::new(addr, at + Segment::AT.p_paddr, Value::U32(segment.p_paddr)));
            fields.push(Field::new(size, at + Segment::AT.p_filesz, Value::U32(segment.p_filesz)));
        }
        fields
    }

    pub(crate) fn number_mut(&mut self, name: &str) -> Option<NumberMut<'_>> {
        let index = self.names.iter().position(|section| field_names(*section).1 == name)?;
        Some(NumberMut::U32(&mut self.elf.segments[index].p_paddr))
    }

    /// The command line, without the end of its segment.
    pub(crate) fn cmdline(&self) -> &[u8] {
        self.line.as_deref().map(text_of).unwrap_or_default()
    }

    /// # Errors
    /// [`Error::CmdlineTooLong`], [`Error::NulInText`], [`Error::Field`] if there is no segment.
    pub(crate) fn set_cmdline(&mut self, text: &[u8]) -> Result<(), Error> {
        if text == self.cmdline() {
            return Ok(());
        }
        let field = "cmdline";
        if text.contains(&0) {
            return Err(Error::NulInText { field });
        }
        if text.len() > CMDLINE_CAPACITY {
            let (capacity, needed) = (CMDLINE_CAPACITY, text.len());
            return Err(Error::CmdlineTooLong { field, capacity, needed });
        }
        let Some(line) = &mut self.line else {
            let reason = "this Sony ELF has no segment for a command line";
            return Err(Error::Field { field: field.to_owned(), reason });
        };
        let end = line.split_off(text_of(line).len());
        *line = [text, &end].concat();
        Ok(())
    }

    /// The command line segment to write.
    pub(crate) fn cmdline_segment(&self) -> Option<&[u8]> {
        self.line.as_deref()
    }
}

/// The field names of a segment's size and address.
fn field_names(name: SectionName) -> (&'static str, &'static str) {
    let found = FLAGS.iter().find(|(_, other, ..)| *other == name);
    found.map_or(("p_filesz", "p_paddr"), |(_, _, size, addr)| (*size, *addr))
}

/// The command line in its segment: it ends at a NUL or a line feed.
fn text_of(segment: &[u8]) -> &[u8] {
    let end = segment.iter().position(|byte| matches!(byte, 0 | b'\n')).unwrap_or(segment.len());
    &segment[..end]
}

/// The alignment of the segments; None if they are not consecutive.
fn alignment(segments: &[Segment]) -> Option<u32> {
    [1, 4, 16, 512, 2048, 4096].into_iter().find(|alignment: &u32| {
        segments.is_sorted_by(|a, b| {
            let end = u64::from(a.p_offset) + u64::from(a.p_filesz);
            end.next_multiple_of(u64::from(*alignment)) == u64::from(b.p_offset)
        })
    })
}

//! The vendor ramdisk of vendor_boot and, in v4, the table of its fragments.

use std::io::Cursor;

use binrw::{BinRead, BinWrite};

use super::header::vendor::{TABLE_ENTRY_SIZE, TableEntry};
use super::{Error, Image, Problem, SectionName, Wrapper, text_of};

/// `vendor_ramdisk_type` of a table entry: which boots load the fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FragmentType {
    /// `VENDOR_RAMDISK_TYPE_NONE`, and what a v3 vendor_boot holds.
    None,
    /// `VENDOR_RAMDISK_TYPE_PLATFORM`: always loaded.
    Platform,
    /// `VENDOR_RAMDISK_TYPE_RECOVERY`: loaded in recovery mode.
    Recovery,
    /// `VENDOR_RAMDISK_TYPE_DLKM`: modules.
    Dlkm,
    /// A number without a name.
    Other(u32),
}

impl FragmentType {
    fn from_number(number: u32) -> Self {
        match number {
            0 => FragmentType::None,
            1 => FragmentType::Platform,
            2 => FragmentType::Recovery,
            3 => FragmentType::Dlkm,
            other => FragmentType::Other(other),
        }
    }
}

impl std::fmt::Display for FragmentType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FragmentType::None => f.pad("none"),
            FragmentType::Platform => f.pad("platform"),
            FragmentType::Recovery => f.pad("recovery"),
            FragmentType::Dlkm => f.pad("dlkm"),
            FragmentType::Other(number) => write!(f, "type {number}"),
        }
    }
}

/// One vendor ramdisk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fragment<'a> {
    /// `ramdisk_name`, up to its NUL; empty for v3.
    pub name: &'a [u8],
    /// Which boots load it.
    pub kind: FragmentType,
    /// Where it starts, in bytes from the start of the vendor_ramdisk section.
    pub offset: usize,
    /// Its bytes.
    pub bytes: &'a [u8],
}

impl Fragment<'_> {
    /// Require that the fragment has no vendor header, as the ramdisk of v3 may have: no bootloader
    /// is known to strip one from a fragment.
    ///
    /// # Errors
    /// [`Error::WrappedFragment`].
    pub fn require_bare(&self) -> Result<(), Error> {
        match Wrapper::around_section(self.bytes) {
            Some(wrapper) => {
                let name = self.name.escape_ascii().to_string();
                Err(Error::WrappedFragment { name, form: wrapper.name() })
            }
            None => Ok(()),
        }
    }
}

/// The most entries that are read of a table; real ones have fewer than ten.
const MAX_ENTRIES: u32 = 4096;

impl<'a> Image<'a> {
    /// The vendor ramdisk fragments in table order; for v3 the one vendor ramdisk. Entries that
    /// point outside the section are left out (and reported by [`Image::problems`]).
    pub fn fragments(&self) -> Vec<Fragment<'a>> {
        let section = self.section(SectionName::VendorRamdisk).unwrap_or_default();
        let Some(entries) = self.table_entries() else {
            let whole = (!section.is_empty()).then_some(Fragment {
                name: b"",
                kind: FragmentType::None,
                offset: 0,
                bytes: section,
            });
            return whole.into_iter().collect();
        };
        let fragment = |entry: &'a [u8]| {
            let wire = TableEntry::read(&mut Cursor::new(entry)).ok()?;
            let offset = wire.ramdisk_offset as usize;
            let bytes = section.get(offset..)?.get(..wire.ramdisk_size as usize)?;
            let name = text_of(&entry[TableEntry::AT.ramdisk_name..TableEntry::AT.board_id]);
            Some(Fragment {
                name,
                kind: FragmentType::from_number(wire.ramdisk_type),
                offset,
                bytes,
            })
        };
        entries.into_iter().filter_map(fragment).collect()
    }

    /// The raw entries of the vendor ramdisk table; None when there is no table.
    fn table_entries(&self) -> Option<Vec<&'a [u8]>> {
        let (count, size) = self.header()?.ramdisk_table()?;
        let size = size as usize;
        if size < TABLE_ENTRY_SIZE {
            return None;
        }
        let table = self.section(SectionName::VendorRamdiskTable)?;
        Some(table.chunks_exact(size).take(count.min(MAX_ENTRIES) as usize).collect())
    }

    /// Where the table and the section disagree.
    pub(super) fn table_problems(&self) -> Vec<Problem> {
        let Some((count, size)) = self.header().and_then(super::Header::ramdisk_table) else {
            return Vec::new();
        };
        let table = self.section(SectionName::VendorRamdiskTable).unwrap_or_default();
        let mut problems = Vec::new();
        if count > 0 && (size as usize) < TABLE_ENTRY_SIZE {
            let message = format!("is {size}, expected at least {TABLE_ENTRY_SIZE}");
            let field = "vendor_ramdisk_table_entry_size";
            problems.push(Problem { field, offset: 2120, message });
            return problems;
        }
        if u64::from(count) * u64::from(size) > table.len() as u64 {
            let message = format!(
                "is {count}: that many entries of {size} bytes do not fit the table of {}",
                table.len()
            );
            let field = "vendor_ramdisk_table_entry_num";
            problems.push(Problem { field, offset: 2116, message });
        }
        if count > MAX_ENTRIES {
            let message = format!("is {count}, expected at most {MAX_ENTRIES}");
            let field = "vendor_ramdisk_table_entry_num";
            problems.push(Problem { field, offset: 2116, message });
        }
        let readable = self.table_entries().map_or(0, |entries| entries.len());
        let mut fragments = self.fragments();
        fragments.sort_by_key(|fragment| fragment.offset);
        let overlap = fragments.windows(2).find(|pair| {
            pair[0].offset + pair[0].bytes.len() > pair[1].offset && !pair[1].bytes.is_empty()
        });
        if let Some([first, second]) = overlap {
            let message = format!(
                "the fragments at {} and {} of the vendor ramdisk overlap",
                first.offset, second.offset
            );
            problems.push(Problem { field: "vendor_ramdisk_table", offset: 2112, message });
        }
        if fragments.len() < readable {
            let message = "an entry's ramdisk_offset and ramdisk_size lie outside the vendor \
                           ramdisk section"
                .to_owned();
            problems.push(Problem { field: "vendor_ramdisk_table", offset: 2112, message });
        }
        problems
    }
}

/// The table's bytes after fragment `index` has changed to `new_size` bytes: its size and the
/// offsets of all fragments after it are updated. Unknown bytes of wider entries are kept.
///
/// `entry_size` is what the header says. None when the entry does not exist or an offset would
/// leave its 32 bits.
pub fn resize_fragment(
    table: &[u8],
    entry_size: u32,
    index: usize,
    new_size: u32,
) -> Option<Vec<u8>> {
    let entry_size = entry_size as usize;
    if entry_size < TABLE_ENTRY_SIZE {
        return None;
    }
    let mut out = table.to_vec();
    let read = |entry: &[u8]| TableEntry::read(&mut Cursor::new(entry)).ok();
    let resized = read(table.chunks_exact(entry_size).nth(index)?)?;
    let end = resized.ramdisk_offset.checked_add(resized.ramdisk_size)?;
    let shift = i64::from(new_size) - i64::from(resized.ramdisk_size);
    for (i, bytes) in out.chunks_exact_mut(entry_size).enumerate() {
        let mut entry = read(bytes)?;
        if i == index {
            entry.ramdisk_size = new_size;
        } else if entry.ramdisk_offset >= end {
            entry.ramdisk_offset = u32::try_from(i64::from(entry.ramdisk_offset) + shift).ok()?;
        }
        entry.write(&mut Cursor::new(&mut bytes[..TABLE_ENTRY_SIZE])).ok()?;
    }
    Some(out)
}

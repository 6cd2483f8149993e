//! Tables of device trees: QCDT and DTBH in the `dt` section of v0 images, and the dtbo partition.

use std::ops::Range;

/// A table.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct DtTable {
    /// `QCDT`, `DTBH` or `dtbo`.
    pub form: &'static str,
    /// Its version.
    pub version: u32,
    /// The entries in table order, without those that point outside the table.
    pub entries: Vec<DtEntry>,
    /// Entries that the header counts.
    pub count: u32,
}

/// One device tree.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct DtEntry {
    /// Its offset in bytes from the start of the table.
    pub offset: usize,
    /// Its size in bytes.
    pub size: usize,
    /// The fields by which the bootloader selects the entry: name and value.
    pub ids: Vec<(&'static str, u32)>,
}

/// The layout of a table. Offsets are in bytes.
struct Layout {
    form: &'static str,
    version: u32,
    entry_size: usize,
    /// The other fields of an entry: name and offset.
    ids: &'static [(&'static str, usize)],
    offset_at: usize,
    size_at: usize,
}

/// Qualcomm's `dtbTool` and `dt_entry` of lk (`platform/msm_shared/include/dev_tree.h`), versions
/// 1 to 3; Samsung's `dtbtool` for Exynos ("DTBH"). Little-endian; the entries follow magic, version
/// and count.
const LAYOUTS: &[Layout] = &[
    Layout {
        form: "QCDT",
        version: 1,
        entry_size: 20,
        ids: &[("platform_id", 0), ("variant_id", 4), ("soc_rev", 8)],
        offset_at: 12,
        size_at: 16,
    },
    Layout {
        form: "QCDT",
        version: 2,
        entry_size: 24,
        ids: &[("platform_id", 0), ("variant_id", 4), ("board_hw_subtype", 8), ("soc_rev", 12)],
        offset_at: 16,
        size_at: 20,
    },
    Layout {
        form: "QCDT",
        version: 3,
        entry_size: 40,
        ids: &[
            ("platform_id", 0),
            ("variant_id", 4),
            ("board_hw_subtype", 8),
            ("soc_rev", 12),
            ("pmic_rev0", 16),
            ("pmic_rev1", 20),
            ("pmic_rev2", 24),
            ("pmic_rev3", 28),
        ],
        offset_at: 32,
        size_at: 36,
    },
    Layout {
        form: "DTBH",
        version: 2,
        entry_size: 32,
        ids: &[("chip", 0), ("platform", 4), ("subtype", 8), ("hw_rev", 12), ("hw_rev_end", 16)],
        offset_at: 20,
        size_at: 24,
    },
];

/// `struct dt_table_entry` of AOSP's libufdt (`utils/src/dt_table.h`), big-endian; the offsets of
/// versions 0 and 1 are the same.
const DTBO: Layout = Layout {
    form: "dtbo",
    version: 0,
    entry_size: 32,
    ids: &[
        ("id", 8),
        ("rev", 12),
        ("custom0", 16),
        ("custom1", 20),
        ("custom2", 24),
        ("custom3", 28),
    ],
    offset_at: 4,
    size_at: 0,
};
pub(super) const DTBO_MAGIC: [u8; 4] = [0xd7, 0xb7, 0xab, 0x1e];
const DTBO_HEADER: usize = 32;

impl DtTable {
    /// The table that `bytes` start with.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        if bytes.starts_with(&DTBO_MAGIC) {
            let field = |at| number(bytes, at, u32::from_be_bytes);
            let (entry_size, count, start) = (field(12)?, field(16)?, field(20)?);
            let version = field(28)?;
            let table = bytes.get(start as usize..)?;
            let layout = Layout { entry_size: entry_size as usize, version, ..DTBO };
            return layout.read(bytes, table, count, u32::from_be_bytes);
        }
        let field = |at| number(bytes, at, u32::from_le_bytes);
        let (version, count) = (field(4)?, field(8)?);
        let known = |layout: &&Layout| {
            bytes.starts_with(layout.form.as_bytes()) && layout.version == version
        };
        LAYOUTS.iter().find(known)?.read(bytes, bytes.get(12..)?, count, u32::from_le_bytes)
    }

    /// The range of the device trees in a dtbo image, from the first to the end of the last.
    pub(super) fn span(&self) -> Option<Range<usize>> {
        let start = self.entries.iter().map(|entry| entry.offset).min()?;
        let end = self.entries.iter().map(|entry| entry.offset + entry.size).max()?;
        (start >= DTBO_HEADER).then_some(start..end)
    }

    /// The same range in parts, without gap or overlap: each device tree once, with the index of
    /// its first entry, and the bytes between them without an index. None if device trees overlap.
    pub(super) fn parts(&self) -> Option<Vec<(Option<usize>, Range<usize>)>> {
        let mut order: Vec<usize> = (0..self.entries.len()).collect();
        order.sort_by_key(|i| (self.entries[*i].offset, *i));
        let mut parts: Vec<(Option<usize>, Range<usize>)> = Vec::new();
        for i in order {
            let range = self.entries[i].offset..self.entries[i].offset + self.entries[i].size;
            let Some((_, last)) = parts.last().cloned() else {
                parts.push((Some(i), range));
                continue;
            };
            if range == last {
                continue;
            }
            if range.start < last.end {
                return None;
            }
            if range.start > last.end {
                parts.push((None, last.end..range.start));
            }
            parts.push((Some(i), range));
        }
        Some(parts)
    }
}

impl Layout {
    fn read(
        &self,
        bytes: &[u8],
        table: &[u8],
        count: u32,
        decode: fn([u8; 4]) -> u32,
    ) -> Option<DtTable> {
        let least = self.ids.iter().map(|(_, at)| at + 4).max().unwrap_or(0);
        if self.entry_size < least.max(self.size_at + 4) {
            return None;
        }
        let entry = |entry: &[u8]| {
            let offset = number(entry, self.offset_at, decode)? as usize;
            let size = number(entry, self.size_at, decode)? as usize;
            let inside = size > 0 && offset.checked_add(size)? <= bytes.len();
            let ids = self.ids.iter();
            let ids = ids.filter_map(|(name, at)| Some((*name, number(entry, *at, decode)?)));
            inside.then(|| DtEntry { offset, size, ids: ids.collect() })
        };
        let entries = table.chunks_exact(self.entry_size).take(count as usize);
        let entries = entries.filter_map(entry).collect();
        Some(DtTable { form: self.form, version: self.version, entries, count })
    }
}

fn number(bytes: &[u8], at: usize, decode: fn([u8; 4]) -> u32) -> Option<u32> {
    Some(decode(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

//! The symbols that a kernel exports to modules, decoded from a decompressed image.
//!
//! `RO_DATA` in `include/asm-generic/vmlinux.lds.h` has these parts in this order:
//!
//! | Part | What it is |
//! |---|---|
//! | `__ksymtab`, `__ksymtab_gpl` | `struct kernel_symbol`s, each table sorted by name |
//! | `__kcrctab`, `__kcrctab_gpl` | with `MODVERSIONS` a CRC for each, in the same order |
//! | `__ksymtab_strings` | names and namespaces |
//!
//! With `HAVE_ARCH_PREL32_RELOCATIONS` (arm64 and x86 from 4.19 on) a `kernel_symbol` is two
//! 32-bit offsets, relative to their own position, to value and name; from 5.4 on a third, to the
//! namespace. Relative offsets need no addresses, so the tables can be found and read in the bare
//! image: a name that every kernel exports leads to its entry, and the entry to its neighbours.
//! Older kernels use absolute addresses and are not supported.
//!
//! A CRC is a number; from 4.11 to 5.18 with `MODULE_REL_CRCS` (arm64) it is the relative offset of
//! the number.

use std::collections::HashMap;

use super::symbols::Export;

/// Common names: every kernel with modules exports at least one of them.
const ANCHORS: [&[u8]; 4] = [b"kfree\0", b"__kmalloc\0", b"memcpy\0", b"param_ops_int\0"];
/// Maximum number of occurrences of an anchor's name to try.
const MAX_PLACES: usize = 256;
/// Maximum number of references to an anchor's name to try.
const MAX_HITS: usize = 64;
/// Minimum number of entries in a table.
const MIN_ENTRIES: usize = 64;
/// Maximum length of a name (`KSYM_NAME_LEN` is 512 from 6.1 on).
const MAX_NAME: usize = 512;

/// The symbols that a kernel exports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exports {
    symbols: HashMap<String, Export>,
    /// Offset of the first entry in the decompressed kernel, in bytes.
    pub offset: usize,
    /// Whether each symbol has the CRC of its type (`MODVERSIONS`).
    pub has_crcs: bool,
}

impl Exports {
    /// Find the tables in a decompressed kernel. None if no consistent tables are found. The time is
    /// linear in the size of `kernel`.
    pub fn find(kernel: &[u8]) -> Option<Self> {
        ANCHORS.iter().find_map(|anchor| {
            let mut places: Vec<usize> =
                memchr::memmem::find_iter(kernel, anchor).take(MAX_PLACES).collect();
            places.sort_unstable();
            let (first, last) = (*places.first()?, *places.last()?);
            let fields = (0..kernel.len().saturating_sub(4)).step_by(4).filter(|at| {
                let target = follow(kernel, *at);
                target.is_some_and(|target| {
                    (first..=last).contains(&target) && places.binary_search(&target).is_ok()
                })
            });
            fields.take(MAX_HITS).find_map(|field| Self::tables_around(kernel, field))
        })
    }

    /// Read the tables around an entry whose name offset is at `field`.
    fn tables_around(kernel: &[u8], field: usize) -> Option<Self> {
        [12, 8].into_iter().find_map(|stride| {
            let mut first = field;
            while let Some(before) = first.checked_sub(stride)
                && name_at(kernel, before).is_some()
            {
                first = before;
            }
            let fields = (first..).step_by(stride);
            let names: Vec<&str> = fields.map_while(|field| name_at(kernel, field)).collect();
            // The entries of a table are sorted, so a new table starts where the order breaks.
            let breaks: Vec<usize> =
                (1..names.len()).filter(|i| names[*i] <= names[i - 1]).collect();
            if names.len() < MIN_ENTRIES || breaks.len() > 4 {
                return None;
            }
            let gpl_from = breaks.first().copied().unwrap_or(names.len());
            let end = first - 4 + names.len() * stride;
            let crcs = crcs(kernel, end, names.len());
            let has_crcs = crcs.is_some();
            let symbols = names.iter().enumerate().map(|(i, name)| {
                let namespace = match stride {
                    12 => namespace_at(kernel, first + i * stride + 4),
                    _ => String::new(),
                };
                let crc = crcs.as_ref().map(|crcs| crcs[i]);
                ((*name).to_owned(), Export { gpl: i >= gpl_from, namespace, crc })
            });
            Some(Exports { symbols: symbols.collect(), offset: first - 4, has_crcs })
        })
    }

    /// The symbol of this name.
    pub fn get(&self, name: &str) -> Option<&Export> {
        self.symbols.get(name)
    }

    /// The number of symbols.
    pub fn len(&self) -> usize {
        self.symbols.len()
    }

    /// Whether there are no symbols; never true for the result of [`Exports::find`].
    pub fn is_empty(&self) -> bool {
        self.symbols.is_empty()
    }

    /// All symbols, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Export)> {
        self.symbols.iter().map(|(name, export)| (name.as_str(), export))
    }
}

impl FromIterator<(String, Export)> for Exports {
    /// Exports that are known from another source (`Module.symvers`).
    fn from_iter<I: IntoIterator<Item = (String, Export)>>(symbols: I) -> Self {
        let symbols: HashMap<String, Export> = symbols.into_iter().collect();
        let has_crcs = symbols.values().any(|export| export.crc.is_some());
        Exports { symbols, offset: 0, has_crcs }
    }
}

fn number(kernel: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*kernel.get(at..)?.first_chunk()?))
}

/// The target of the relative offset at `at`.
fn follow(kernel: &[u8], at: usize) -> Option<usize> {
    let distance = number(kernel, at)?.cast_signed() as isize;
    at.checked_add_signed(distance).filter(|target| *target < kernel.len())
}

/// The name of the entry whose name offset is at `field`.
fn name_at(kernel: &[u8], field: usize) -> Option<&str> {
    let name = text_at(kernel, follow(kernel, field)?)?;
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte == b'.';
    (!name.is_empty() && name.as_bytes().iter().all(plain)).then_some(name)
}

fn namespace_at(kernel: &[u8], field: usize) -> String {
    match number(kernel, field) {
        Some(0) | None => String::new(),
        Some(_) => {
            let text = follow(kernel, field).and_then(|at| text_at(kernel, at));
            text.unwrap_or_default().to_owned()
        }
    }
}

fn text_at(kernel: &[u8], at: usize) -> Option<&str> {
    let reach = &kernel[at..kernel.len().min(at + MAX_NAME)];
    let end = memchr::memchr(0, reach)?;
    str::from_utf8(&reach[..end]).ok()
}

/// The CRCs of `count` symbols from `start` on; None if there are no CRCs.
fn crcs(kernel: &[u8], start: usize, count: usize) -> Option<Vec<u32>> {
    let bytes = kernel.get(start..start + count * 4)?;
    // Without CRCs the names follow immediately.
    let text = bytes.iter().filter(|byte| **byte == 0 || byte.is_ascii_graphic()).count();
    if text * 10 > bytes.len() * 9 {
        return None;
    }
    let places = || (start..).step_by(4).take(count);
    // A random number is hardly ever a relative offset into the kernel.
    let inside = places().filter(|at| follow(kernel, *at).is_some()).count();
    if inside * 10 > count * 9 {
        return places().map(|at| number(kernel, follow(kernel, at)?)).collect();
    }
    places().map(|at| number(kernel, at)).collect()
}

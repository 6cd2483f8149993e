//! The symbol names in a kernel's own table (`kallsyms`), decoded from a decompressed image.
//!
//! `scripts/kallsyms.c` writes the table. Nothing points to it, so it is found by its structure. In
//! all layouts from 4.6 to 6.12 and later, these parts are in this order:
//!
//! | Part | What it is |
//! |---|---|
//! | `kallsyms_num_syms` | a number of 4 bytes (before 4.20 of 8) |
//! | `kallsyms_names` | for each symbol a length (1 byte; from 6.1 on 2 bytes if bit 7 is set) and that many token numbers; the first character is the type |
//! | `kallsyms_markers` | the offset of every 256th name, from the first: 4 bytes each (before 4.20: 8) |
//! | `kallsyms_seqs_of_names` | only in 6.2 and 6.3 (elsewhere from 6.4 on) |
//! | `kallsyms_token_table` | 256 NUL-terminated strings; a digit is its own token |
//! | `kallsyms_token_index` | the offset of each string: 256 numbers of 2 bytes |
//!
//! Addresses (absolute, or offsets from a base, before `num_syms` or, from 6.4 on, after the
//! index) are not needed and not read. Parts are aligned to 4, 8 or (arm64 before 4.20)
//! 256 bytes.

use hashbrown::{DefaultHashBuilder, HashTable};
use std::collections::BTreeMap;
use std::hash::BuildHasher;

use super::texts::TextSearch;

/// Plausible numbers of symbols in a table.
const COUNT: std::ops::RangeInclusive<usize> = 200..=4_000_000;
/// Maximum distance from the start of the names to the tokens, in bytes.
const MAX_NAMES: usize = 64 << 20;
/// Maximum length of a name (`KSYM_NAME_LEN` is 512 from 6.1 on).
const MAX_NAME: usize = 1024;
/// Maximum number of names to read, over all possible starts of the table.
const MAX_WORK: usize = 64 << 20;
/// Maximum number of digit strings to try as tokens.
const MAX_CANDIDATES: usize = 256;
/// Maximum number of token tables with a matching index to try; a kernel has one.
const MAX_TABLES: usize = 4;
/// Maximum size of all names in bytes.
const MAX_TEXT: usize = 256 << 20;
/// The tokens of the digits in the table.
const DIGITS: &[u8] = b"0\x001\x002\x003\x004\x005\x006\x007\x008\x009\0";
/// Maximum distance from the digits to the end of the index, in bytes.
const MAX_TOKENS: usize = 256 * MAX_NAME + MAX_GAP + 512;
/// The size of names, markers and the tokens before the digits in nearly all kernels, in bytes: this
/// much of a kernel is kept while it is decompressed.
const USUAL_NAMES: usize = 4 << 20;
/// Maximum gap due to alignment, in bytes.
const MAX_GAP: usize = 256;

/// The names in a kernel's symbol table.
#[derive(Clone, Debug, Default)]
pub struct Kallsyms {
    names: Names,
    /// The number of symbols; names can occur more than once.
    pub count: usize,
    /// Offset of the names in the decompressed kernel, in bytes.
    pub offset: usize,
    /// Whether the table also has variables (`KALLSYMS_ALL`).
    pub has_data: bool,
    /// The texts that were looked for, and whether they are anywhere in the kernel.
    pub texts: BTreeMap<String, bool>,
}

impl Kallsyms {
    /// Find and decode the table in a decompressed kernel. None if no consistent table is found: the
    /// tokens must match their index, every name must be valid, and the markers after the names must
    /// match the names.
    ///
    /// The time is linear in the size of `kernel`, also for hostile input.
    pub fn find(kernel: &[u8]) -> Option<Self> {
        Self::find_with(kernel, &[])
    }

    /// The same, and which of these texts the kernel has.
    pub(super) fn find_with(kernel: &[u8], texts: &[String]) -> Option<Self> {
        let mut search = Search::new(texts);
        search.feed(kernel, 0, true);
        search.take_names(texts)
    }

    /// Whether there is a symbol of this name. Suffixes of compilers (`.llvm.123`, `.isra.0`,
    /// `.cfi_jt`, `$hash`) are ignored.
    pub fn has(&self, name: &str) -> bool {
        self.names.contains(name.as_bytes())
    }

    /// All names in no order, each once, without the suffixes of compilers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.names.places.iter().map(|place| self.names.at(*place))
    }
}

/// A search for the table in a window that slides over a kernel. Offsets are relative to the start of
/// the decompressed kernel.
pub(super) struct Search {
    /// The names, once they are found.
    pub names: Option<Kallsyms>,
    /// There are tokens, and their names may be before the window.
    pub missed: bool,
    /// Everything before this offset is searched.
    from: u64,
    candidates: usize,
    tables: usize,
    work: usize,
    texts: TextSearch,
}

impl Search {
    /// A search for the table, and for these texts.
    pub(crate) fn new(texts: &[String]) -> Self {
        Search {
            names: None,
            missed: false,
            from: 0,
            candidates: 0,
            tables: 0,
            work: MAX_WORK,
            texts: TextSearch::new(texts),
        }
    }

    /// The names, if they are found, with those of `texts`, which it was made with.
    pub(crate) fn take_names(self, texts: &[String]) -> Option<Kallsyms> {
        self.names.map(|names| Kallsyms { texts: self.texts.found(texts), ..names })
    }

    /// Search `window`, which starts at `base`; `last` if nothing follows it.
    pub(crate) fn feed(&mut self, window: &[u8], base: u64, last: bool) {
        self.texts.feed(window, base);
        while self.is_searching() {
            let from = (self.from.saturating_sub(base) as usize).min(window.len());
            let Some(hit) = memchr::memmem::find(&window[from..], DIGITS) else {
                self.from = base + window.len().saturating_sub(DIGITS.len() - 1).max(from) as u64;
                return;
            };
            let digits = from + hit;
            if window.len() - digits < MAX_TOKENS && !last {
                self.from = base + digits as u64;
                return;
            }
            self.from = base + digits as u64 + 1;
            self.candidates += 1;
            let Some(tokens) = Tokens::tokens_around(window, digits) else { continue };
            self.tables += 1;
            match names_before(window, &tokens, &mut self.work) {
                Some(names) => {
                    let offset = names.offset + base as usize;
                    self.names = Some(Kallsyms { offset, ..names });
                }
                None => self.missed |= base > 0,
            }
        }
    }

    /// Number of bytes at the start of a window of `len` bytes at `base` that are no longer needed.
    pub(crate) fn droppable(&self, base: u64, len: usize) -> usize {
        let texts = self.texts.droppable(base, len);
        if !self.is_searching() {
            return texts;
        }
        let looked = (self.from.saturating_sub(base) as usize).min(len);
        looked.saturating_sub(USUAL_NAMES).min(texts)
    }

    fn is_searching(&self) -> bool {
        self.names.is_none() && self.candidates < MAX_CANDIDATES && self.tables < MAX_TABLES
    }
}

/// The 256 tokens of the names.
struct Tokens<'a> {
    start: usize,
    text: Vec<&'a [u8]>,
    /// The length of each in bytes; [`UNPRINTABLE`] for a token with unprintable characters.
    lengths: [u16; 256],
}

/// Longer than any name.
const UNPRINTABLE: u16 = u16::MAX;

impl<'a> Tokens<'a> {
    /// Read the tokens whose digits are at `digits`, if the index after them matches.
    fn tokens_around(kernel: &'a [u8], digits: usize) -> Option<Self> {
        // 47 short NUL-terminated strings between the first and '0'.
        let mut second = digits;
        for _ in 1..b'0' {
            second = string_before(kernel, second)?;
        }
        let mut ends = Vec::with_capacity(255);
        let mut at = second;
        for _ in 1..256 {
            let rest = kernel.get(at..)?;
            let rest = &rest[..rest.len().min(MAX_NAME)];
            at += rest.iter().position(|byte| *byte == 0)? + 1;
            ends.push(at);
        }
        // The byte before the first string may not be NUL: its length follows from the index.
        let gap = kernel.get(at..)?.iter().take(MAX_GAP + 2).take_while(|byte| **byte == 0).count();
        (0..gap).find_map(|gap| {
            let index = kernel.get(at + gap..)?.first_chunk::<512>()?;
            let entry = |number: usize| {
                usize::from(u16::from_le_bytes([index[number * 2], index[number * 2 + 1]]))
            };
            let start = second.checked_sub(entry(1)).filter(|start| *start < second)?;
            let starts =
                std::iter::once(start).chain(std::iter::once(second)).chain(ends.iter().copied());
            let starts: Vec<usize> = starts.take(256).collect();
            let agree = starts.iter().enumerate().all(|(i, at)| entry(i) == at - start);
            let ends = starts[1..].iter().copied().chain([at]);
            let text: Vec<&[u8]> =
                starts.iter().zip(ends).map(|(from, to)| &kernel[*from..to - 1]).collect();
            let mut lengths = [UNPRINTABLE; 256];
            for (length, text) in lengths.iter_mut().zip(&text) {
                if text.iter().all(u8::is_ascii_graphic) {
                    *length = u16::try_from(text.len()).unwrap_or(UNPRINTABLE);
                }
            }
            (agree && !text[0].contains(&0)).then_some(Tokens { start, text, lengths })
        })
    }
}

/// The start of the string whose NUL is right before `at`, by the NUL before it.
fn string_before(kernel: &[u8], at: usize) -> Option<usize> {
    let (nul, before) = kernel.get(..at)?.split_last()?;
    let reach = &before[before.len().saturating_sub(MAX_NAME)..];
    let found = reach.iter().rev().position(|byte| *byte == 0)?;
    (*nul == 0).then_some(before.len() - found)
}

/// Try every possible offset of the count before the tokens, the nearest first.
fn names_before(kernel: &[u8], tokens: &Tokens<'_>, work: &mut usize) -> Option<Kallsyms> {
    let lowest = tokens.start.saturating_sub(MAX_NAMES);
    let mut at = tokens.start & !3;
    while at >= lowest + 4 {
        at -= 4;
        let count = u32_at(kernel, at)? as usize;
        // Each name has at least a length and a token.
        if !COUNT.contains(&count) || count * 2 > tokens.start - at {
            continue;
        }
        for gap in [4, 8, MAX_GAP] {
            let start = at + gap;
            let Some(between) = kernel.get(at + 4..start) else { continue };
            if between.iter().any(|byte| *byte != 0) {
                break;
            }
            if let Some(found) = decode(kernel, start, count, tokens, work) {
                return Some(found);
            }
        }
        if *work == 0 {
            return None;
        }
    }
    None
}

/// The `count` names from `start` on.
fn decode(
    kernel: &[u8],
    start: usize,
    count: usize,
    tokens: &Tokens<'_>,
    work: &mut usize,
) -> Option<Kallsyms> {
    // First without expanding names: nearly all offsets are wrong, and most fail immediately.
    let mut markers = Vec::new();
    let mut at = start;
    let (mut types, mut total) = ([0usize; 256], 0);
    for number in 0..count {
        *work = work.checked_sub(1)?;
        if number % 256 == 0 {
            markers.push(at - start);
        }
        let name = Name::at(kernel, at, tokens)?;
        at = name.end;
        types[usize::from(name.kind)] += 1;
        total += name.length;
        if total > MAX_TEXT {
            return None;
        }
    }
    if !markers_follow(kernel, at, &markers) {
        return None;
    }
    let data: usize = b"dDbBrR".iter().map(|kind| types[usize::from(*kind)]).sum();
    let mut names = Names::with_capacity(count, total);
    let mut at = start;
    for _ in 0..count {
        let name = Name::at(kernel, at, tokens)?;
        at = name.end;
        names.insert(name.tokens.iter().map(|token| tokens.text[usize::from(*token)]));
    }
    let has_data = data * 20 > count;
    Some(Kallsyms { names, count, offset: start, has_data, texts: BTreeMap::new() })
}

/// A set of names in two allocations: a kernel has about 150,000 names, and allocating a string for
/// each would take longer than reading the table.
#[derive(Clone, Debug, Default)]
struct Names {
    text: Vec<u8>,
    /// The range of each name in the text.
    places: HashTable<(u32, u32)>,
    hasher: DefaultHashBuilder,
}

impl Names {
    /// A set with room for `count` names of `total` bytes, at most [`MAX_TEXT`].
    fn with_capacity(count: usize, total: usize) -> Self {
        Names {
            text: Vec::with_capacity(total),
            places: HashTable::with_capacity(count),
            hasher: DefaultHashBuilder::default(),
        }
    }

    /// Add the name in `pieces`, without its type and without the suffix of a compiler.
    fn insert<'t>(&mut self, pieces: impl Iterator<Item = &'t [u8]>) {
        let start = self.text.len();
        pieces.for_each(|piece| self.text.extend_from_slice(piece));
        let name = &self.text[start + 1..];
        let plain = memchr::memchr2(b'.', b'$', name).filter(|length| *length > 0);
        let place = (start + 1, start + 1 + plain.unwrap_or(name.len()));
        self.text.truncate(place.1);
        let text = &self.text;
        let of = |(from, to): (u32, u32)| &text[from as usize..to as usize];
        // MAX_TEXT is less than 4 GiB.
        let place = (place.0 as u32, place.1 as u32);
        let hash = |place: &(u32, u32)| self.hasher.hash_one(of(*place));
        self.places.entry(hash(&place), |other| of(*other) == of(place), hash).or_insert(place);
    }

    fn contains(&self, name: &[u8]) -> bool {
        let hash = self.hasher.hash_one(name);
        self.places.find(hash, |place| self.at(*place) == name).is_some()
    }

    fn at(&self, (from, to): (u32, u32)) -> &[u8] {
        &self.text[from as usize..to as usize]
    }
}

/// A valid name in the table.
struct Name<'a> {
    tokens: &'a [u8],
    /// Offset of the next name.
    end: usize,
    /// Its first character, the type.
    kind: u8,
    /// Its length including the type, in bytes.
    length: usize,
}

impl<'a> Name<'a> {
    fn at(kernel: &'a [u8], at: usize, tokens: &Tokens<'_>) -> Option<Self> {
        let first = usize::from(*kernel.get(at)?);
        let (count, at) = match first & 0x80 {
            0 => (first, at + 1),
            _ => ((first & 0x7f) | usize::from(*kernel.get(at + 1)?) << 7, at + 2),
        };
        let end = at.checked_add(count)?;
        if end > tokens.start || count > MAX_NAME {
            return None;
        }
        let numbers = kernel.get(at..end)?;
        let length = numbers.iter().map(|token| usize::from(tokens.lengths[usize::from(*token)]));
        let length = length.sum();
        let mut texts = numbers.iter().map(|token| tokens.text[usize::from(*token)]);
        let kind = *texts.find_map(<[u8]>::first)?;
        let plausible = (2..=MAX_NAME).contains(&length);
        (plausible && (kind.is_ascii_alphabetic() || kind == b'?')).then_some(Name {
            tokens: numbers,
            end,
            kind,
            length,
        })
    }
}

/// Whether the markers follow the names, with 4 or 8 bytes each.
fn markers_follow(kernel: &[u8], end: usize, markers: &[usize]) -> bool {
    let bytes = |width: usize| -> Vec<u8> {
        let wide = |marker: &usize| (*marker as u64).to_le_bytes();
        markers.iter().flat_map(|marker| wide(marker)[..width].to_vec()).collect()
    };
    [4, 8].into_iter().any(|width| {
        let wanted = bytes(width);
        let rest = kernel.get(end..).unwrap_or_default();
        let gap = rest.iter().take(MAX_GAP).take_while(|byte| **byte == 0).count();
        // The first marker is 0.
        (0..=gap).any(|gap| (end + gap).is_multiple_of(4) && rest[gap..].starts_with(&wanted))
    })
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

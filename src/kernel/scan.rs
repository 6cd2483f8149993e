//! Finds the version and the config of a decompressed kernel in one pass.

use std::io::{self, Read};

use memchr::memmem;
use memmap2::{MmapMut, MmapOptions};

use crate::compression::{self, Decoder, Format, decode_all};

use super::config::KernelConfig;
use super::kallsyms;

/// Number of bytes that one read adds to the window.
const CHUNK: usize = 256 * 1024;
/// Upper limit of the window: an incomplete config or the part that is kept for the symbol names, and
/// the chunks around it.
const WINDOW: usize = 12 << 20;
/// Maximum compressed size of an embedded config in bytes (real ones: 16 to 60 KiB).
const MAX_PACKED_CONFIG: usize = 1 << 20;
/// Maximum decompressed size of an embedded config in bytes (real ones: up to 350 KiB).
const MAX_CONFIG: u64 = 8 << 20;
/// Maximum number of candidates for an embedded config.
const MAX_CANDIDATES: usize = 64;
/// Maximum decompressed size of a compressed container inside a compressed container.
pub(super) const MAX_NESTED: u64 = 256 << 20;

/// The start of `linux_proc_banner` and `linux_banner` (`init/version-timestamp.c`).
const BANNER: &[u8] = b"Linux version ";
/// Maximum length of a banner in bytes.
const MAX_BANNER: usize = 512;
/// Maximum length of a release (`__NEW_UTS_LEN`).
const MAX_RELEASE: usize = 64;
/// The markers around the gzip stream of the config (`kernel/configs.c`).
const START: &[u8] = b"IKCFG_ST";
const END: &[u8] = b"IKCFG_ED";

/// The result of a search of the decompressed kernel.
#[derive(Debug, Default)]
pub struct Scan {
    /// The release: `6.1.192-android14-11-g0a1b2c3` from the banner. In a compressed kernel, a
    /// config before any banner ends the search; the version is then that in the config's header
    /// comment, without the local version (`6.1.192`); see [`Scan::banner`].
    pub version: Option<String>,
    /// The whole banner, `Linux version …`, if it was found.
    pub banner: Option<String>,
    /// The embedded config.
    pub ikconfig: Option<Ikconfig>,
    /// Number of searched bytes of the decompressed kernel.
    pub scanned: u64,
    /// Whether the whole kernel was searched. False if everything was found before the end, or if
    /// the stream is damaged.
    pub complete: bool,
    /// The damage in the stream that ended the search, if any.
    pub damage: Option<compression::Error>,
}

impl Scan {
    /// Whether a version or a config of Linux was found.
    pub(crate) fn is_linux(&self) -> bool {
        self.version.is_some() || self.ikconfig.is_some()
    }
}

/// The config that `CONFIG_IKCONFIG=y` embeds in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ikconfig {
    /// Offset of `IKCFG_ST` in the decompressed kernel, in bytes.
    pub offset: u64,
    /// The `.config` of the build, byte for byte.
    pub text: Vec<u8>,
}

/// Search an uncompressed kernel in place. The search continues for the banner after the config,
/// because it is cheap here.
pub(super) fn scan_slice(bytes: &[u8]) -> Scan {
    let mut search = Search::default();
    search.feed(bytes, 0, true);
    let scanned = match &search.ikconfig {
        Some(_) if search.banner.is_none() => {
            search.find_banner(bytes, 0, true);
            bytes.len()
        }
        Some(_) => search.looked_at.min(bytes.len() as u64) as usize,
        None => bytes.len(),
    };
    search.finish(scanned as u64, scanned == bytes.len())
}

/// The part of the decompressed kernel that is being searched, in memory mapped for it.
struct Window {
    memory: MmapMut,
    len: usize,
}

impl Window {
    /// Memory is allocated when it is first written. Huge pages are requested: clearing and mapping
    /// small pages takes a sixth of the time of the decompression.
    fn new() -> io::Result<Self> {
        let memory = MmapOptions::new().len(WINDOW).no_reserve_swap().map_anon()?;
        #[cfg(target_os = "linux")]
        // Kernels without huge pages refuse the advice.
        let _ = memory.advise(memmap2::Advice::HugePage);
        Ok(Window { memory, len: 0 })
    }

    /// Read until the next chunk is full or the stream ends. True at the end of the stream.
    fn fill(&mut self, decoder: &mut Decoder<'_>) -> Result<bool, compression::Error> {
        let end = self.memory.len().min(self.len + CHUNK);
        while self.len < end {
            match decoder.read(&mut self.memory[self.len..end]) {
                Ok(0) => return Ok(true),
                Ok(count) => self.len += count,
                Err(error) => return Err(decoder.error(&error)),
            }
        }
        Ok(false)
    }

    /// Whether another chunk fits.
    fn has_room(&self) -> bool {
        self.memory.len() - self.len >= CHUNK
    }

    /// Remove the first `count` bytes.
    fn drop_front(&mut self, count: usize) {
        self.memory.copy_within(count..self.len, 0);
        self.len -= count;
    }
}

impl std::ops::Deref for Window {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[..self.len]
    }
}

/// Search the output of a decoder through a window; with `names`, also for the symbol names of the
/// kernel.
pub(super) fn scan_stream(
    decoder: &mut Decoder<'_>,
    mut names: Option<kallsyms::Search>,
) -> io::Result<(Scan, Option<kallsyms::Search>)> {
    let mut search = Search::default();
    let mut window = Window::new()?;
    let mut base = 0u64;
    loop {
        let (last, damage) = match window.fill(decoder) {
            Ok(last) => (last, None),
            Err(damage) => (true, Some(damage)),
        };
        let done = search.feed(&window, base, last);
        if let Some(names) = names.as_mut().filter(|_| !done) {
            names.feed(&window, base, last);
        }
        if done || last {
            let complete = last && damage.is_none();
            let scan = Scan {
                damage: damage.filter(|_| !done),
                ..search.finish(base + window.len() as u64, complete)
            };
            return Ok((scan, names));
        }
        let unused =
            names.as_ref().map_or(window.len(), |names| names.droppable(base, window.len()));
        // The rest is moved to the front: not for every chunk if it is large.
        if window.len() - unused < CHUNK || !window.has_room() {
            // The tables keep their alignment.
            let count = search.droppable(base, window.len()).min(unused) & !7;
            window.drop_front(count);
            base += count as u64;
        }
    }
}

/// The state of a search through a sliding window. Positions are relative to the start of the
/// decompressed kernel.
#[derive(Default)]
struct Search {
    banner: Option<String>,
    ikconfig: Option<Ikconfig>,
    /// Positions before these have been searched for a banner, and for a config.
    banner_from: u64,
    config_from: u64,
    /// The next `IKCFG_ED` at or after `config_from`, if known; otherwise where to search from.
    end: Option<u64>,
    end_from: u64,
    candidates: usize,
    /// The position at which everything was found.
    looked_at: u64,
}

impl Search {
    /// Search `window`, which starts at `base`; `last` if it is the last one. True if the search is
    /// finished.
    fn feed(&mut self, window: &[u8], base: u64, last: bool) -> bool {
        self.find_config(window, base, last);
        if self.banner.is_none() {
            // Not after the config, which ends the search.
            let until = match &self.ikconfig {
                Some(_) => (self.looked_at - base) as usize,
                None => window.len(),
            };
            self.find_banner(&window[..until], base, last || self.ikconfig.is_some());
        }
        self.ikconfig.is_some()
    }

    /// Number of bytes at the start of a window of `len` bytes at `base` that are no longer needed.
    fn droppable(&self, base: u64, len: usize) -> usize {
        let banner = if self.banner.is_some() { u64::MAX } else { self.banner_from };
        let keep = banner.min(self.config_from);
        (keep.saturating_sub(base) as usize).min(len)
    }

    fn find_banner(&mut self, window: &[u8], base: u64, last: bool) {
        loop {
            let from = self.banner_from.saturating_sub(base) as usize;
            let rest = window.get(from..).unwrap_or_default();
            let Some(hit) = memmem::find(rest, BANNER) else {
                let tail = rest.len().saturating_sub(BANNER.len() - 1);
                self.banner_from = base + (from + tail) as u64;
                return;
            };
            let text = &rest[hit..];
            if text.len() < MAX_BANNER && !last {
                self.banner_from = base + (from + hit) as u64;
                return;
            }
            if let Some(banner) = real_banner(&text[..text.len().min(MAX_BANNER)]) {
                self.banner = Some(banner);
                return;
            }
            self.banner_from = base + (from + hit + BANNER.len()) as u64;
        }
    }

    fn find_config(&mut self, window: &[u8], base: u64, last: bool) {
        let start = memmem::Finder::new(START);
        while self.candidates < MAX_CANDIDATES {
            let from = self.config_from.saturating_sub(base) as usize;
            let rest = window.get(from..).unwrap_or_default();
            let Some(hit) = start.find(rest) else {
                let tail = rest.len().saturating_sub(START.len() - 1);
                self.config_from = base + (from + tail) as u64;
                return;
            };
            let offset = from + hit;
            let packed = &window[offset + START.len()..];
            // Enough to recognise gzip; this rejects a plain string with the same letters.
            if packed.len() < 3 && !last {
                self.config_from = base + offset as u64;
                return;
            }
            if Format::detect(packed) == Some(Format::Gzip) {
                let at = base + (offset + START.len()) as u64;
                let ends = self.find_end(window, base, at);
                if ends.is_none() && packed.len() < MAX_PACKED_CONFIG && !last {
                    self.config_from = base + offset as u64;
                    return;
                }
                self.candidates += 1;
                if let Some(end) = ends
                    && let Some(text) = unpack_config(packed, (end - at) as usize)
                {
                    self.looked_at = end + END.len() as u64;
                    self.ikconfig = Some(Ikconfig { offset: base + offset as u64, text });
                    return;
                }
            }
            self.config_from = base + (offset + START.len()) as u64;
        }
        self.config_from = base + window.len() as u64;
    }

    /// The first `IKCFG_ED` from `at` on. Every byte is searched once, for any number of start
    /// markers.
    fn find_end(&mut self, window: &[u8], base: u64, at: u64) -> Option<u64> {
        if self.end.is_some_and(|end| end >= at) {
            return self.end;
        }
        let from = self.end_from.max(at);
        let rest = window.get((from - base) as usize..).unwrap_or_default();
        self.end = memmem::find(rest, END).map(|hit| from + hit as u64);
        let looked = rest.len().saturating_sub(END.len() - 1);
        self.end_from = self.end.unwrap_or(from + looked as u64);
        self.end
    }

    fn finish(self, scanned: u64, complete: bool) -> Scan {
        let from_banner = self.banner.as_deref().and_then(release).map(str::to_owned);
        let version = from_banner.or_else(|| {
            let text = &self.ikconfig.as_ref()?.text;
            KernelConfig::header(text).0.map(str::to_owned)
        });
        Scan {
            version,
            banner: self.banner,
            ikconfig: self.ikconfig,
            scanned,
            complete,
            damage: None,
        }
    }
}

/// Decompress the gzip stream in the first `size` bytes of `packed`, if it is a config.
fn unpack_config(packed: &[u8], size: usize) -> Option<Vec<u8>> {
    if size > MAX_PACKED_CONFIG {
        return None;
    }
    let (text, _) = decode_all(Format::Gzip, packed.get(..size)?, MAX_CONFIG).ok()?;
    memmem::find(&text, b"CONFIG_").is_some().then_some(text)
}

/// The first line of `text`, if it is a banner (a release, then ` (` and the builder) and not the
/// format string (`Linux version %s (…)`) or a sentence.
fn real_banner(text: &[u8]) -> Option<String> {
    let end = text.iter().position(|byte| !(b' '..=b'~').contains(byte));
    let line = std::str::from_utf8(&text[..end.unwrap_or(text.len())]).ok()?;
    let release = release(line)?;
    let rest = &line[BANNER.len() + release.len()..];
    rest.starts_with(" (").then(|| line.trim_end().to_owned())
}

/// `6.1.192-android14` of `Linux version 6.1.192-android14 (…`.
fn release(banner: &str) -> Option<&str> {
    let release = banner.get(BANNER.len()..)?.split(' ').next()?;
    let sound = release.len() <= MAX_RELEASE && super::KernelVersion::parse(release).is_some();
    sound.then_some(release)
}

//! The version and the config inside an unpacked kernel, found in one pass.

use std::io::{self, Read};

use memchr::memmem;
use memmap2::{MmapMut, MmapOptions};

use crate::compression::{self, Decoder, Format, decode_all};

use super::config::KernelConfig;
use super::kallsyms;

/// What one read of a stream adds to the window, in bytes.
const CHUNK: usize = 256 * 1024;
/// More than a window ever holds: a config that has not ended yet, or what is kept for the symbol
/// names, and the chunks around it.
const WINDOW: usize = 12 << 20;
/// The most an embedded config takes, compressed, in bytes (real ones: 16 to 60 KiB).
const MAX_PACKED_CONFIG: usize = 1 << 20;
/// And unpacked (real ones: up to 350 KiB).
const MAX_CONFIG: u64 = 8 << 20;
/// Strings that only look like an embedded config, before the search gives up.
const MAX_CANDIDATES: usize = 64;
/// The most that a compressed container inside a compressed container may unpack to.
pub(super) const MAX_NESTED: u64 = 256 << 20;

/// `linux_proc_banner` and `linux_banner` begin with this (`init/version-timestamp.c`).
const BANNER: &[u8] = b"Linux version ";
/// The longest banner looked at, in bytes.
const MAX_BANNER: usize = 512;
/// `__NEW_UTS_LEN`: the longest release.
const MAX_RELEASE: usize = 64;
/// `kernel/configs.c` puts these around the gzip of the config.
const START: &[u8] = b"IKCFG_ST";
const END: &[u8] = b"IKCFG_ED";

/// What a search of the unpacked kernel found.
#[derive(Debug, Default)]
pub struct Scan {
    /// The release: `6.1.192-android14-11-g0a1b2c3` from the banner. A config found before any
    /// banner ends the search in a compressed kernel, and the version is then the one in its
    /// header comment, without the local part (`6.1.192`); see [`Scan::banner`].
    pub version: Option<String>,
    /// The whole banner, `Linux version …`, when it was seen.
    pub banner: Option<String>,
    /// The embedded config.
    pub ikconfig: Option<Ikconfig>,
    /// How many bytes of the unpacked kernel were looked at.
    pub scanned: u64,
    /// All there is was looked at. False when everything was found before the end, and when the
    /// stream is damaged.
    pub complete: bool,
    /// The damage in the stream that ended the search.
    pub damage: Option<compression::Error>,
}

impl Scan {
    /// Something of Linux was found.
    pub fn is_linux(&self) -> bool {
        self.version.is_some() || self.ikconfig.is_some()
    }
}

/// The config that `CONFIG_IKCONFIG=y` puts into the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ikconfig {
    /// Offset of `IKCFG_ST` in the unpacked kernel, in bytes.
    pub offset: u64,
    /// The `.config` of the build, byte for byte.
    pub text: Vec<u8>,
}

/// Search a kernel that is not compressed, in place. Looks on for the banner when the config
/// comes first, because searching costs next to nothing here.
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

/// The part of the unpacked kernel that is searched, in memory that is mapped for it.
struct Window {
    memory: MmapMut,
    len: usize,
}

impl Window {
    /// Memory is taken only as it is written to. In huge pages where the system gives them: clearing
    /// and mapping single ones is a sixth of the time that unpacking takes.
    fn new() -> io::Result<Self> {
        let memory = MmapOptions::new().len(WINDOW).no_reserve_swap().map_anon()?;
        #[cfg(target_os = "linux")]
        // No more than advice: kernels without huge pages refuse it.
        let _ = memory.advise(memmap2::Advice::HugePage);
        Ok(Window { memory, len: 0 })
    }

    /// Read until the next chunk is full or nothing is left. True when nothing is.
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

    /// There is room for another chunk.
    fn has_room(&self) -> bool {
        self.memory.len() - self.len >= CHUNK
    }

    /// Forget the first `count` bytes.
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

/// Search what a decoder gives, through a window; with `names`, for the kernel's symbol names as
/// well.
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
        // What stays is moved to the front: not for every chunk where that is much.
        if window.len() - unused < CHUNK || !window.has_room() {
            // Tables keep their alignment.
            let count = search.droppable(base, window.len()).min(unused) & !7;
            window.drop_front(count);
            base += count as u64;
        }
    }
}

/// The state of a search over a window that slides over the kernel. Positions are from the
/// start of the unpacked kernel.
#[derive(Default)]
struct Search {
    banner: Option<String>,
    ikconfig: Option<Ikconfig>,
    /// Nothing before this needs another look for a banner, or for a config.
    banner_from: u64,
    config_from: u64,
    /// The next `IKCFG_ED` at or after `config_from`, when known; otherwise where to look from.
    end: Option<u64>,
    end_from: u64,
    candidates: usize,
    /// How far the search had to look to find everything.
    looked_at: u64,
}

impl Search {
    /// Look at `window`, which starts at `base`; `last` when nothing follows it. True when there
    /// is nothing left to look for.
    fn feed(&mut self, window: &[u8], base: u64, last: bool) -> bool {
        self.find_config(window, base, last);
        if self.banner.is_none() {
            // Not after the config: it ends the search.
            let until = match &self.ikconfig {
                Some(_) => (self.looked_at - base) as usize,
                None => window.len(),
            };
            self.find_banner(&window[..until], base, last || self.ikconfig.is_some());
        }
        self.ikconfig.is_some()
    }

    /// How much of a window of `len` bytes at `base` is not needed any more.
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
            // Enough to recognise gzip; a lone string of the same letters ends here.
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

    /// The first `IKCFG_ED` from `at` on. Every byte is looked at once, however many starts
    /// there are.
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

/// Unpack the gzip that fills the first `size` bytes of `packed`, when it is a config.
fn unpack_config(packed: &[u8], size: usize) -> Option<Vec<u8>> {
    if size > MAX_PACKED_CONFIG {
        return None;
    }
    let (text, _) = decode_all(Format::Gzip, packed.get(..size)?, MAX_CONFIG).ok()?;
    memmem::find(&text, b"CONFIG_").is_some().then_some(text)
}

/// The line that `text` starts with, when it is a banner and not the format string
/// (`Linux version %s (…)`) or a sentence: a release, then ` (` and who built it.
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

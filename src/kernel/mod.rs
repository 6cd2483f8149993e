//! Kernel payloads: what containers they are wrapped in, the version and the config inside,
//! modules beside them.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let bytes = std::fs::read("Image.gz")?;
//! let kernel = vfioboot::kernel::Kernel::parse(&bytes)?;
//! println!("{}", kernel.describe()); // gzip → arm64 Image
//! let scan = kernel.scan()?;
//! println!("{:?}, config: {}", scan.version, scan.ikconfig.is_some());
//! # Ok(()) }
//! ```
//!
//! Parsing reads headers and at most the first few KiB of a compressed stream. Only
//! [`Kernel::appended_dtbs`] (when there may be one) and [`Kernel::scan`] unpack more.

mod container;
pub mod dtb;
mod error;
pub mod exports;
pub mod kallsyms;
mod layer;
pub mod module;
mod scan;
pub mod symbols;

use std::io::Read;
use std::sync::Arc;

use crate::compression::{Decoder, Format};

pub use dtb::Dtb;
pub use error::{Error, Problem};
pub use exports::Exports;
pub use kallsyms::Kallsyms;
pub use layer::{Layer, LayerKind};
pub use module::Module;
pub use scan::{Ikconfig, Scan};
pub use symbols::Symbols;

pub use crate::rules::config::{self, KernelConfig};
pub use crate::rules::{Arch, KernelVersion};

use layer::MAX_LAYERS;

/// How much of a compressed stream is unpacked to see what is inside: enough for a bzImage's
/// setup header and any ELF or PE header.
const PEEK: usize = 4096;

/// What the innermost container that borrowed bytes can reach holds.
#[derive(Clone, Copy, Debug)]
enum Payload<'a> {
    /// Machine code as it is.
    Plain(&'a [u8]),
    /// A stream that starts these bytes.
    Packed(Format, &'a [u8]),
    /// Nothing that can be unpacked.
    Unsupported,
}

/// A parsed kernel payload over borrowed bytes.
#[derive(Clone, Debug)]
pub struct Kernel<'a> {
    bytes: &'a [u8],
    layers: Vec<Layer>,
    problems: Vec<Problem>,
    payload: Payload<'a>,
    arch: Option<Arch>,
    /// Where to look for appended DTBs.
    tail: Tail,
}

/// Where a kernel ends and appended DTBs may begin.
#[derive(Clone, Copy, Debug)]
enum Tail {
    /// This container cannot say where it ends.
    Unknown,
    /// At this offset in the input.
    At(usize),
    /// Where the compressed stream that starts at this offset ends.
    PastStream(Format, usize),
}

impl<'a> Kernel<'a> {
    /// Recognise the containers of a kernel. Reads headers only, and unpacks the first KiB of a
    /// compressed stream to see what is in it.
    ///
    /// # Errors
    /// [`Error::Unrecognised`] without any known magic, [`Error::OutOfRange`] and
    /// [`Error::Truncated`] when a header leads nowhere, [`Error::Compression`] when not even
    /// the start of the stream can be unpacked.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        if bytes.is_empty() {
            return Err(Error::Empty);
        }
        let mut kernel = Self::raw(bytes);
        kernel.layers.clear();
        kernel.walk(0, bytes.len())?;
        kernel.peek()?;
        Ok(kernel)
    }

    /// Take `bytes` for machine code without a known header, such as 32-bit ARM's `Image` or
    /// anything else that a boot image may carry; [`Kernel::scan`] searches them as they are.
    pub fn raw(bytes: &'a [u8]) -> Self {
        Kernel {
            bytes,
            layers: vec![Layer { kind: LayerKind::Raw, offset: 0, size: Some(bytes.len()) }],
            problems: Vec::new(),
            payload: Payload::Plain(bytes),
            arch: None,
            tail: Tail::Unknown,
        }
    }

    /// Follow the containers that borrowed bytes can reach, from `start` to `end` of the input.
    fn walk(&mut self, mut start: usize, mut end: usize) -> Result<(), Error> {
        while self.layers.len() < MAX_LAYERS {
            let bytes = &self.bytes[start..end];
            let Some(found) = container::recognise(bytes, Some(bytes.len()))? else {
                let start = bytes.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
                return Err(Error::Unrecognised { start });
            };
            self.arch = found.arch.or(self.arch);
            self.problems.extend(found.problems);
            if let Some(size) = found.ends_at {
                self.tail = Tail::At(start + size);
            }
            let compressed = match &found.kind {
                LayerKind::Compressed(format) => Some(*format),
                _ => None,
            };
            self.layers.push(Layer { kind: found.kind, offset: start, size: found.size });
            if let Some(format) = compressed {
                self.payload = Payload::Packed(format, bytes);
                let plain = |layer: &Layer| {
                    matches!(layer.kind, LayerKind::MtkHeader { .. } | LayerKind::Compressed(_))
                };
                if self.layers.iter().all(plain) {
                    self.tail = Tail::PastStream(format, start);
                }
                return Ok(());
            }
            match found.inner {
                container::Inner::None => self.payload = Payload::Plain(bytes),
                container::Inner::Unsupported => self.payload = Payload::Unsupported,
                container::Inner::At(range) => {
                    end = start + range.end;
                    start += range.start;
                    continue;
                }
            }
            return Ok(());
        }
        Err(Error::TooDeep)
    }

    /// See what the compressed stream holds, by its first bytes.
    fn peek(&mut self) -> Result<(), Error> {
        let Payload::Packed(format, bytes) = self.payload else { return Ok(()) };
        let mut decoder = Decoder::new(format, bytes)?;
        let mut head = Vec::with_capacity(PEEK);
        let read = decoder.by_ref().take(PEEK as u64).read_to_end(&mut head);
        if let Err(error) = read
            && head.is_empty()
        {
            return Err(decoder.error(&error).into());
        }
        let Some(found) = container::recognise(&head, None)? else {
            self.layers.push(Layer { kind: LayerKind::Raw, offset: 0, size: None });
            return Ok(());
        };
        self.arch = found.arch.or(self.arch);
        self.problems.extend(found.problems);
        self.layers.push(Layer { kind: found.kind, offset: 0, size: None });
        Ok(())
    }

    /// The containers, outermost first.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The innermost container is code without a header that says what it is.
    pub fn is_raw(&self) -> bool {
        self.layers.last().is_none_or(|layer| layer.kind == LayerKind::Raw)
    }

    /// Defects of the headers that could be worked around.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The architecture, as far as the headers give it.
    pub fn arch(&self) -> Option<Arch> {
        self.arch
    }

    /// The names of the containers, without what is appended: `gzip → arm64 Image`.
    pub fn summary(&self) -> String {
        let names: Vec<String> = self.layers.iter().map(|layer| self.name(layer)).collect();
        names.join(" → ")
    }

    fn name(&self, layer: &Layer) -> String {
        match (&layer.kind, self.arch) {
            (LayerKind::Elf | LayerKind::EfiZboot { .. }, Some(arch)) => {
                format!("{arch} {}", layer.kind)
            }
            (kind, _) => kind.to_string(),
        }
    }

    /// The names of the containers and what is appended: `gzip → arm64 Image + 1 appended DTB`.
    ///
    /// Unpacks the whole stream when the bytes `d0 0d fe ed` of a plausible DTB are anywhere
    /// in the input, because only then can there be an appended one.
    pub fn describe(&self) -> String {
        let summary = self.summary();
        match self.appended_dtbs().as_deref() {
            Ok([]) => summary,
            Ok([_]) => format!("{summary} + 1 appended DTB"),
            Ok(dtbs) => format!("{summary} + {} appended DTBs", dtbs.len()),
            Err(error) => format!("{summary} (damaged: {error})"),
        }
    }

    /// The DTBs appended to the kernel, with their places in the input.
    ///
    /// They are looked for only after the end of the compressed stream, of the zboot or zImage
    /// file, or of a raw Image's `image_size`, never inside the kernel: real
    /// kernels contain the magic by chance.
    ///
    /// # Errors
    /// [`Error::Compression`] when the end of the stream cannot be found because it is damaged.
    pub fn appended_dtbs(&self) -> Result<Vec<Dtb>, Error> {
        let end = match self.tail {
            Tail::Unknown => return Ok(Vec::new()),
            Tail::At(offset) => offset,
            Tail::PastStream(format, offset) => {
                // Finding the end costs unpacking everything; without a DTB anywhere there is
                // nothing to find.
                if dtb::find(self.bytes, offset).is_empty() {
                    return Ok(Vec::new());
                }
                offset + end_of_stream(format, &self.bytes[offset..])?
            }
        };
        Ok(dtb::find(self.bytes, end))
    }

    /// Search the unpacked kernel for its version and its embedded config; see [`Scan`].
    ///
    /// A compressed kernel is unpacked once, through a window of a few 100 KiB, and only as far
    /// as is needed; a raw one is searched in place.
    ///
    /// # Errors
    /// [`Error::UnsupportedCompression`]; [`Error::Compression`] when a stream inside a stream
    /// is damaged. Damage in the outer stream ends the search and is in [`Scan::damage`].
    pub fn scan(&self) -> Result<Scan, Error> {
        let (mut scan, _) = self.scan_payload(0, None)?;
        self.complete(&mut scan);
        Ok(scan)
    }

    /// The same, and the names of [`Kernel::kallsyms`] where everything was looked at without
    /// finding a config. Unpacks a compressed kernel once for both, unless its symbol table is so
    /// large that more of the kernel must be held to read it.
    ///
    /// # Errors
    /// As [`Kernel::scan`] and [`Kernel::kallsyms`].
    pub fn scan_or_kallsyms(&self) -> Result<(Scan, Option<Kallsyms>), Error> {
        let (mut scan, search) = self.scan_payload(0, Some(kallsyms::Search::default()))?;
        self.complete(&mut scan);
        if !scan.complete || scan.ikconfig.is_some() {
            return Ok((scan, None));
        }
        let names = match search {
            Some(search) if search.names.is_some() || !search.missed => search.names,
            Some(_) | None => self.kallsyms()?,
        };
        Ok((scan, names))
    }

    /// Fill in from a header what the kernel itself does not give.
    fn complete(&self, scan: &mut Scan) {
        if scan.version.is_none() {
            let header = self.layers.iter().find_map(|layer| match &layer.kind {
                LayerKind::BzImage { version, .. } => version.as_deref(),
                _ => None,
            });
            scan.version = header.and_then(|text| text.split(' ').next()).map(str::to_owned);
        }
    }

    /// The names in the kernel's own symbol table; None when it has none that can be read.
    ///
    /// Unlike [`Kernel::scan`] this needs a compressed kernel unpacked in memory as a whole (at
    /// most 256 MiB), so it is for kernels without an embedded config.
    ///
    /// # Errors
    /// [`Error::Compression`] when a stream cannot be unpacked or is larger than that.
    pub fn kallsyms(&self) -> Result<Option<Kallsyms>, Error> {
        self.in_unpacked(&Kallsyms::find, 0)
    }

    /// The symbols that the kernel exports to modules; None when they cannot be read. Needs
    /// memory as [`Kernel::kallsyms`] does.
    ///
    /// # Errors
    /// [`Error::Compression`] when a stream cannot be unpacked or is larger than that.
    pub fn exports(&self) -> Result<Option<Exports>, Error> {
        self.in_unpacked(&Exports::find, 0)
    }

    /// Which of these byte strings occur in the unpacked kernel. Needs memory as
    /// [`Kernel::kallsyms`] does. None of them where it is packed in a way that is not read.
    ///
    /// # Errors
    /// [`Error::Compression`] when a stream cannot be unpacked or is larger than that.
    pub fn contains(&self, needles: &[Vec<u8>]) -> Result<Vec<bool>, Error> {
        let look = |bytes: &[u8]| {
            let found = |needle: &Vec<u8>| memchr::memmem::find(bytes, needle).is_some();
            Some(needles.iter().map(found).collect())
        };
        Ok(self.in_unpacked(&look, 0)?.unwrap_or_else(|| vec![false; needles.len()]))
    }

    /// Examine the unpacked kernel, in any nesting of containers.
    fn in_unpacked<T>(
        &self,
        look: &dyn Fn(&[u8]) -> Option<T>,
        depth: usize,
    ) -> Result<Option<T>, Error> {
        match self.payload {
            Payload::Plain(bytes) => Ok(look(bytes)),
            Payload::Unsupported => Ok(None),
            Payload::Packed(format, bytes) => {
                let inner = Decoder::new(format, bytes)?.read_all(scan::MAX_NESTED)?;
                match Kernel::parse(&inner) {
                    Ok(kernel) if !kernel.is_raw() && depth < MAX_LAYERS => {
                        kernel.in_unpacked(look, depth + 1)
                    }
                    _ => Ok(look(&inner)),
                }
            }
        }
    }

    /// With `names`, those are searched for as well where one stream holds the kernel itself.
    fn scan_payload(
        &self,
        depth: usize,
        names: Option<kallsyms::Search>,
    ) -> Result<(Scan, Option<kallsyms::Search>), Error> {
        match self.payload {
            Payload::Plain(bytes) => Ok((scan::scan_slice(bytes), None)),
            Payload::Unsupported => {
                let name = self.layers.iter().find_map(|layer| match &layer.kind {
                    LayerKind::UnsupportedCompression(name) => Some(name.clone()),
                    _ => None,
                });
                Err(Error::UnsupportedCompression(name.unwrap_or_default()))
            }
            Payload::Packed(format, bytes) => {
                let wrapped_again = self.layers.last().is_some_and(|layer| {
                    !matches!(
                        layer.kind,
                        LayerKind::Arm64Image { .. } | LayerKind::Elf | LayerKind::Raw
                    )
                });
                let mut decoder = Decoder::new(format, bytes)?;
                if !wrapped_again {
                    let failed = |error| Error::Memory(Arc::new(error));
                    return scan::scan_stream(&mut decoder, names).map_err(failed);
                }
                // Rare (a compressed zboot image): the inner container needs its bytes at hand.
                if depth >= MAX_LAYERS {
                    return Err(Error::TooDeep);
                }
                let inner = decoder.read_all(scan::MAX_NESTED)?;
                Kernel::parse(&inner)?.scan_payload(depth + 1, None)
            }
        }
    }
}

/// How long the stream of `format` that `bytes` start with is, in bytes.
fn end_of_stream(format: Format, bytes: &[u8]) -> Result<usize, Error> {
    let mut decoder = Decoder::new(format, bytes)?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match decoder.read(&mut buffer) {
            Ok(0) => return Ok(decoder.consumed()),
            Ok(_) => {}
            Err(error) => return Err(decoder.error(&error).into()),
        }
    }
}

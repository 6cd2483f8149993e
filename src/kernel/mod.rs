//! Kernels: their containers, version, config and symbols, and their modules.
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
//! [`Kernel::appended_dtbs`] (if there may be one) and [`Kernel::scan`] decompress more.

pub mod config_file;
mod container;
pub(crate) mod dtb;
mod error;
pub(crate) mod exports;
pub(crate) mod kallsyms;
mod layer;
pub mod module;
mod parameters;
mod scan;
pub mod symbols;
mod texts;

use std::io::Read;
use std::sync::Arc;

use crate::compression::{Decoder, Format};

pub use dtb::Dtb;
pub use error::Error;
pub use error::Problem;
pub use exports::Exports;
pub use kallsyms::Kallsyms;
pub use layer::Layer;
pub use layer::LayerKind;
pub use module::Module;
pub use scan::{Ikconfig, Scan};
pub use symbols::Symbols;

pub use crate::rules::config::{self, KernelConfig};
pub use crate::rules::{Arch, KernelVersion};

use layer::MAX_LAYERS;

/// Number of bytes to decompress to identify the payload: enough for the setup header of a bzImage
/// and any ELF or PE header.
const PEEK: usize = 4096;

/// The payload of the innermost container that needs no decompression.
#[derive(Clone, Copy, Debug)]
enum Innermost<'a> {
    /// Uncompressed machine code.
    Plain(&'a [u8]),
    /// A compressed stream at the start of these bytes.
    Packed(Format, &'a [u8]),
    /// An unsupported compression.
    Unsupported,
}

/// A parsed kernel over borrowed bytes.
#[derive(Clone, Debug)]
pub struct Kernel<'a> {
    bytes: &'a [u8],
    layers: Vec<Layer>,
    problems: Vec<Problem>,
    payload: Innermost<'a>,
    arch: Option<Arch>,
    /// The end of the kernel, where appended DTBs may start.
    tail: Tail,
}

/// The end of a kernel, where appended DTBs may start.
#[derive(Clone, Copy, Debug)]
enum Tail {
    /// The end of this container is unknown.
    Unknown,
    /// At this offset in the input.
    At(usize),
    /// The end of the compressed stream that starts at this offset.
    PastStream(Format, usize),
}

impl<'a> Kernel<'a> {
    /// Recognise the containers of a kernel. Only headers are read, and the first KiB of a compressed
    /// stream are decompressed to identify its payload.
    ///
    /// # Errors
    /// [`Error::Unrecognised`] without a known magic, [`Error::OutOfRange`] and [`Error::Truncated`]
    /// for an invalid header, [`Error::Compression`] if the start of the stream cannot be
    /// decompressed.
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

    /// Treat `bytes` as machine code without a known header, such as 32-bit ARM's `Image`.
    /// [`Kernel::scan`] searches them directly.
    pub fn raw(bytes: &'a [u8]) -> Self {
        Kernel {
            bytes,
            layers: vec![Layer { kind: LayerKind::Raw, offset: 0, size: Some(bytes.len()) }],
            problems: Vec::new(),
            payload: Innermost::Plain(bytes),
            arch: None,
            tail: Tail::Unknown,
        }
    }

    /// Follow the containers that need no decompression, from `start` to `end` of the input.
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
                self.payload = Innermost::Packed(format, bytes);
                let plain = |layer: &Layer| {
                    matches!(layer.kind, LayerKind::MtkHeader { .. } | LayerKind::Compressed(_))
                };
                if self.layers.iter().all(plain) {
                    self.tail = Tail::PastStream(format, start);
                }
                return Ok(());
            }
            match found.inner {
                container::Inner::None => self.payload = Innermost::Plain(bytes),
                container::Inner::Unsupported => self.payload = Innermost::Unsupported,
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

    /// Identify the payload of the compressed stream by its first bytes.
    fn peek(&mut self) -> Result<(), Error> {
        let Innermost::Packed(format, bytes) = self.payload else { return Ok(()) };
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

    /// Whether the innermost container is code without a known header.
    pub(crate) fn is_raw(&self) -> bool {
        self.layers.last().is_none_or(|layer| layer.kind == LayerKind::Raw)
    }

    /// Defects of headers that were worked around.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The architecture, if the headers have it.
    pub fn arch(&self) -> Option<Arch> {
        self.arch
    }

    /// The names of the containers, without appended DTBs: `gzip → arm64 Image`.
    pub(crate) fn summary(&self) -> String {
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

    /// The names of the containers and the number of appended DTBs:
    /// `gzip → arm64 Image + 1 appended DTB`.
    ///
    /// The whole stream is decompressed only if the input contains the bytes `d0 0d fe ed` of a
    /// plausible DTB.
    pub fn describe(&self) -> String {
        let summary = self.summary();
        match self.appended_dtbs().as_deref() {
            Ok([]) => summary,
            Ok([_]) => format!("{summary} + 1 appended DTB"),
            Ok(dtbs) => format!("{summary} + {} appended DTBs", dtbs.len()),
            Err(error) => format!("{summary} (damaged: {error})"),
        }
    }

    /// The DTBs appended to the kernel, with their offsets in the input.
    ///
    /// The search starts after the compressed stream, the zboot or zImage file, or the `image_size`
    /// of a raw Image, never inside the kernel: real kernels contain the magic by chance.
    ///
    /// # Errors
    /// [`Error::Compression`] if the end of the stream cannot be found because it is damaged.
    pub fn appended_dtbs(&self) -> Result<Vec<Dtb>, Error> {
        let end = match self.tail {
            Tail::Unknown => return Ok(Vec::new()),
            Tail::At(offset) => offset,
            Tail::PastStream(format, offset) => {
                // Finding the end requires decompressing everything, which is not needed if there
                // is no DTB.
                if dtb::find(self.bytes, offset).is_empty() {
                    return Ok(Vec::new());
                }
                offset + end_of_stream(format, &self.bytes[offset..])?
            }
        };
        Ok(dtb::find(self.bytes, end))
    }

    /// Search the decompressed kernel for its version and its embedded config; see [`Scan`].
    ///
    /// A compressed kernel is decompressed once, through a window of a few 100 KiB, and only as far
    /// as needed; a raw kernel is searched in place.
    ///
    /// # Errors
    /// [`Error::UnsupportedCompression`]; [`Error::Compression`] if a stream inside a stream is
    /// damaged. Damage in the outer stream ends the search and is reported in [`Scan::damage`].
    pub fn scan(&self) -> Result<Scan, Error> {
        let (mut scan, _) = self.scan_payload(0, None)?;
        self.complete(&mut scan);
        Ok(scan)
    }

    /// Like [`Kernel::scan`] and, if the whole kernel was searched without finding a config,
    /// [`Kernel::kallsyms`]. A compressed kernel is decompressed once for both, unless its symbol
    /// table is too large for the window.
    ///
    /// # Errors
    /// Those of [`Kernel::scan`] and [`Kernel::kallsyms`].
    pub fn scan_or_kallsyms(&self, texts: &[String]) -> Result<(Scan, Option<Kallsyms>), Error> {
        let (mut scan, search) = self.scan_payload(0, Some(kallsyms::Search::new(texts)))?;
        self.complete(&mut scan);
        if !scan.complete || scan.ikconfig.is_some() {
            return Ok((scan, None));
        }
        let names = match search {
            Some(search) if search.names.is_some() || !search.missed => search.take_names(texts),
            Some(_) | None => self.kallsyms(texts)?,
        };
        Ok((scan, names))
    }

    /// Complete the result with the version in a header.
    fn complete(&self, scan: &mut Scan) {
        if scan.version.is_none() {
            let header = self.layers.iter().find_map(|layer| match &layer.kind {
                LayerKind::BzImage { version, .. } => version.as_deref(),
                _ => None,
            });
            scan.version = header.and_then(|text| text.split(' ').next()).map(str::to_owned);
        }
    }

    /// The names in the kernel's own symbol table, and which of these texts it has; None if it has no
    /// readable table.
    ///
    /// Unlike [`Kernel::scan`] this decompresses the whole kernel into memory (at most 256 MiB), so
    /// it is meant for kernels without an embedded config.
    ///
    /// # Errors
    /// [`Error::Compression`] if a stream cannot be decompressed or is larger than that.
    pub fn kallsyms(&self, texts: &[String]) -> Result<Option<Kallsyms>, Error> {
        self.in_unpacked(&|kernel| Kallsyms::find_with(kernel, texts), 0)
    }

    /// The symbols that the kernel exports to modules; None if they cannot be read. Needs as much
    /// memory as [`Kernel::kallsyms`].
    ///
    /// # Errors
    /// [`Error::Compression`] if a stream cannot be decompressed or is larger than that.
    pub fn exports(&self) -> Result<Option<Exports>, Error> {
        self.in_unpacked(&Exports::find, 0)
    }

    /// Which of these byte strings occur in the decompressed kernel; all false for an unsupported
    /// compression. Needs as much memory as [`Kernel::kallsyms`].
    ///
    /// # Errors
    /// [`Error::Compression`] if a stream cannot be decompressed or is larger than that.
    pub(crate) fn contains(&self, needles: &[Vec<u8>]) -> Result<Vec<bool>, Error> {
        let look = |bytes: &[u8]| {
            let found = |needle: &Vec<u8>| memchr::memmem::find(bytes, needle).is_some();
            Some(needles.iter().map(found).collect())
        };
        Ok(self.in_unpacked(&look, 0)?.unwrap_or_else(|| vec![false; needles.len()]))
    }

    /// The parameters of these built-in modules (by name, with `_`), as `module.parameter`. None
    /// for an unsupported compression. Needs as much memory as [`Kernel::kallsyms`].
    ///
    /// # Errors
    /// [`Error::Compression`] if a stream cannot be decompressed or is larger than that.
    pub(crate) fn parameters_of(&self, modules: &[&str]) -> Result<Option<Vec<String>>, Error> {
        self.in_unpacked(&|bytes| Some(parameters::of(bytes, modules)), 0)
    }

    /// The kernel itself, without containers; None where one cannot be unpacked. At most 256 MiB.
    ///
    /// # Errors
    /// As [`Kernel::kallsyms`].
    #[cfg(feature = "boot-test")]
    pub(crate) fn unpacked(&self) -> Result<Option<Vec<u8>>, Error> {
        self.in_unpacked(&|bytes| Some(bytes.to_vec()), 0)
    }

    /// Examine the decompressed kernel, at any nesting of containers.
    fn in_unpacked<T>(
        &self,
        look: &dyn Fn(&[u8]) -> Option<T>,
        depth: usize,
    ) -> Result<Option<T>, Error> {
        match self.payload {
            Innermost::Plain(bytes) => Ok(look(bytes)),
            Innermost::Unsupported => Ok(None),
            Innermost::Packed(format, bytes) => {
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

    /// With `names`, also search for the symbol names, if one stream contains the kernel itself.
    fn scan_payload(
        &self,
        depth: usize,
        names: Option<kallsyms::Search>,
    ) -> Result<(Scan, Option<kallsyms::Search>), Error> {
        match self.payload {
            Innermost::Plain(bytes) => Ok((scan::scan_slice(bytes), None)),
            Innermost::Unsupported => {
                let name = self.layers.iter().find_map(|layer| match &layer.kind {
                    LayerKind::UnsupportedCompression(name) => Some(name.clone()),
                    _ => None,
                });
                Err(Error::UnsupportedCompression(name.unwrap_or_default()))
            }
            Innermost::Packed(format, bytes) => {
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
                // Rare (a compressed zboot image): the inner container needs its bytes in memory.
                if depth >= MAX_LAYERS {
                    return Err(Error::TooDeep);
                }
                let inner = decoder.read_all(scan::MAX_NESTED)?;
                Kernel::parse(&inner)?.scan_payload(depth + 1, None)
            }
        }
    }
}

/// The size of the stream of `format` at the start of `bytes`, in bytes.
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

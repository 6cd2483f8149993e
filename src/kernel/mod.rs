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

pub mod config;
mod container;
pub mod dtb;
pub mod exports;
pub mod kallsyms;
pub mod module;
mod scan;
pub mod symbols;

use std::io::Read;

use crate::compression::{self, Decoder, Format};

pub use config::{KernelConfig, KernelVersion};
pub use dtb::Dtb;
pub use exports::Exports;
pub use kallsyms::Kallsyms;
pub use module::Module;
pub use scan::{Ikconfig, Scan};
pub use symbols::Symbols;

/// How many containers may be wrapped in one another.
const MAX_LAYERS: usize = 8;
/// How much of a compressed stream is unpacked to see what is inside: enough for a bzImage's
/// setup header and any ELF or PE header.
const PEEK: usize = 4096;

/// A processor architecture a kernel is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arch {
    /// 64-bit ARM (`aarch64`).
    Arm64,
    /// 32-bit ARM.
    Arm,
    /// 64-bit x86.
    #[serde(rename = "x86_64")]
    X86_64,
    /// 32-bit x86.
    X86,
    /// 64-bit RISC-V.
    Riscv64,
    /// 64-bit LoongArch.
    Loongarch64,
}

impl Arch {
    /// The name used in rules, JSON and messages; what the kernel calls it, except that `x86`
    /// is told apart by word size.
    pub fn name(self) -> &'static str {
        match self {
            Arch::Arm64 => "arm64",
            Arch::Arm => "arm",
            Arch::X86_64 => "x86_64",
            Arch::X86 => "x86",
            Arch::Riscv64 => "riscv64",
            Arch::Loongarch64 => "loongarch64",
        }
    }

    /// The architecture of that name; also takes `aarch64` and `i386`.
    pub fn from_name(name: &str) -> Option<Arch> {
        Some(match name {
            "arm64" | "aarch64" => Arch::Arm64,
            "arm" => Arch::Arm,
            "x86_64" => Arch::X86_64,
            "x86" | "i386" => Arch::X86,
            "riscv64" => Arch::Riscv64,
            "loongarch64" => Arch::Loongarch64,
            _ => return None,
        })
    }
}

impl std::fmt::Display for Arch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// One container, outermost first in [`Kernel::layers`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// What it is.
    pub kind: LayerKind,
    /// Where it starts, in bytes: in the input, or, behind a [`LayerKind::Compressed`] layer,
    /// in what that one unpacks to.
    pub offset: usize,
    /// Its size in bytes as far as it is known without unpacking; a compressed stream's is the
    /// room it has, its own end comes before that.
    pub size: Option<usize>,
}

/// The kinds of container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LayerKind {
    /// MediaTek's 512-byte section header (magic `0x58881688`).
    MtkHeader {
        /// The section's name, `KERNEL`.
        name: String,
    },
    /// An EFI executable that unpacks its payload itself (`drivers/firmware/efi/libstub/zboot.c`).
    EfiZboot {
        /// The compression's name in the header: `gzip`, `zstd22`, `xzkern`…
        compression: String,
    },
    /// A compressed stream.
    Compressed(Format),
    /// A compression that vfioboot cannot unpack (`lzo`).
    UnsupportedCompression(String),
    /// `Image` of arm64 (`Documentation/arch/arm64/booting.rst`).
    Arm64Image {
        /// Load offset from the 2 MiB aligned base, in bytes.
        text_offset: u64,
        /// Size in memory in bytes, BSS included; 0 before Linux 3.17.
        image_size: u64,
        /// It is also an EFI executable.
        efi_stub: bool,
    },
    /// `zImage` of 32-bit ARM (`arch/arm/boot/compressed/head.S`).
    ArmZimage,
    /// `bzImage` of x86 (`Documentation/arch/x86/boot.rst`).
    BzImage {
        /// Boot protocol, major in the high byte: `0x020f` is 2.15.
        protocol: u16,
        /// The version string that the header points to.
        version: Option<String>,
    },
    /// An ELF file: `vmlinux`.
    Elf,
    /// Machine code without a header that says what it is.
    Raw,
}

impl std::fmt::Display for LayerKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LayerKind::MtkHeader { name } => write!(f, "MTK header ({name})"),
            LayerKind::EfiZboot { .. } => f.write_str("EFI zboot"),
            LayerKind::Compressed(format) => write!(f, "{format}"),
            LayerKind::UnsupportedCompression(name) => write!(f, "{name} (not supported)"),
            LayerKind::Arm64Image { .. } => f.write_str("arm64 Image"),
            LayerKind::ArmZimage => f.write_str("ARM zImage"),
            LayerKind::BzImage { .. } => f.write_str("x86 bzImage"),
            LayerKind::Elf => f.write_str("ELF"),
            LayerKind::Raw => f.write_str("raw code"),
        }
    }
}

/// Something wrong that did not keep the rest from being read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{layer}: {field} at offset {offset:#x}: {what}")]
pub struct Problem {
    /// The container.
    pub layer: &'static str,
    /// The header field, by the name its documentation gives it.
    pub field: &'static str,
    /// Where that field stands, in bytes from the layer's coordinates' start.
    pub offset: usize,
    /// What is wrong with it.
    pub what: String,
}

/// Why a kernel could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No bytes at all.
    #[error("it is empty, expected a kernel")]
    Empty,
    /// No known magic.
    #[error(
        "no kernel: it starts with {start}, expected an arm64 Image, a compressed stream, EFI zboot, zImage, bzImage, ELF or an MTK header"
    )]
    Unrecognised {
        /// The first bytes in hex.
        start: String,
    },
    /// A header field that leads out of the file, and without which nothing can be read.
    #[error(
        "{layer}: {field} at offset {offset:#x} is {value:#x}, but there are only {limit:#x} bytes"
    )]
    OutOfRange {
        /// The container.
        layer: &'static str,
        /// The header field.
        field: &'static str,
        /// Where that field stands, in bytes.
        offset: usize,
        /// What it says.
        value: u64,
        /// What there is, in bytes.
        limit: u64,
    },
    /// The file ends inside a header.
    #[error("{layer}: the header is cut short: {have} bytes, expected {need}")]
    Truncated {
        /// The container.
        layer: &'static str,
        /// Bytes there are.
        have: usize,
        /// Bytes there must be.
        need: usize,
    },
    /// Nothing inside can be unpacked.
    #[error("{layer}: no compressed kernel that can be unpacked inside")]
    NoPayload {
        /// The container.
        layer: &'static str,
    },
    /// A compression that vfioboot cannot unpack.
    #[error("the kernel is compressed with {0}, which vfioboot cannot unpack")]
    UnsupportedCompression(String),
    /// Containers in containers without end.
    #[error("more than {MAX_LAYERS} containers inside one another")]
    TooDeep,
    /// A stream that could not be unpacked.
    #[error(transparent)]
    Compression(#[from] compression::Error),
}

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

    /// Take `bytes` for machine code without a known header, as 32-bit ARM's `Image` is and as
    /// whatever else a boot image may carry; [`Kernel::scan`] then searches them as they are.
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

    /// What is wrong with the headers but could be worked around.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The architecture, as far as the headers tell it.
    pub fn arch(&self) -> Option<Arch> {
        self.arch
    }

    /// The containers in words, without a look at what is appended: `gzip → arm64 Image`.
    pub fn summary(&self) -> String {
        let words: Vec<String> = self.layers.iter().map(|layer| self.word(layer)).collect();
        words.join(" → ")
    }

    fn word(&self, layer: &Layer) -> String {
        match (&layer.kind, self.arch) {
            (LayerKind::Elf | LayerKind::EfiZboot { .. }, Some(arch)) => {
                format!("{arch} {}", layer.kind)
            }
            (kind, _) => kind.to_string(),
        }
    }

    /// What this is, in words: `gzip → arm64 Image + 1 appended DTB`.
    ///
    /// Unpacks the whole stream when the bytes `d0 0d fe ed` of a plausible DTB stand anywhere
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
    /// They are looked for only behind the end of the compressed stream, of the zboot or zImage
    /// file, or of a raw Image's `image_size`, never inside the kernel: the magic stands by
    /// chance in real kernels.
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
    /// is damaged. Damage in the outer stream ends the search and is told by [`Scan::damage`].
    pub fn scan(&self) -> Result<Scan, Error> {
        let (mut scan, _) = self.scan_payload(0, false)?;
        self.complete(&mut scan);
        Ok(scan)
    }

    /// The same, and the names of [`Kernel::kallsyms`] where everything was looked at without
    /// finding a config. Unpacks a compressed kernel once for both, but keeps in memory what it
    /// has unpacked (at most 256 MiB).
    ///
    /// # Errors
    /// As [`Kernel::scan`] and [`Kernel::kallsyms`].
    pub fn scan_or_kallsyms(&self) -> Result<(Scan, Option<Kallsyms>), Error> {
        let (mut scan, unpacked) = self.scan_payload(0, true)?;
        self.complete(&mut scan);
        let wanted = scan.complete && scan.ikconfig.is_none();
        let names = match unpacked {
            _ if !wanted => None,
            Some(unpacked) => Kallsyms::find(&unpacked),
            None => self.kallsyms()?,
        };
        Ok((scan, names))
    }

    /// What a header tells when the kernel itself does not.
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

    /// Look into the unpacked kernel, in whatever it is wrapped.
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

    /// With `keep`, also what was unpacked, where one stream holds the kernel itself.
    fn scan_payload(&self, depth: usize, keep: bool) -> Result<(Scan, Option<Vec<u8>>), Error> {
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
                    return Ok(scan::scan_stream(&mut decoder, keep));
                }
                // Rare (a compressed zboot image): the inner container needs its bytes at hand.
                if depth >= MAX_LAYERS {
                    return Err(Error::TooDeep);
                }
                let inner = decoder.read_all(scan::MAX_NESTED)?;
                Kernel::parse(&inner)?.scan_payload(depth + 1, false)
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

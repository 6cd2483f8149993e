//! The containers that a kernel is wrapped in.

use crate::compression::Format;
use crate::rules::Arch;

/// Maximum number of nested containers.
pub(super) const MAX_LAYERS: usize = 8;

/// One container, outermost first in [`super::Kernel::layers`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layer {
    /// The kind of container.
    pub kind: LayerKind,
    /// Offset in bytes: in the input or, after a [`LayerKind::Compressed`] layer, in its decompressed
    /// data.
    pub offset: usize,
    /// Size in bytes, if known without decompressing. For a compressed stream it is the available
    /// space; the stream may end before that.
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
    /// An EFI executable that decompresses its payload (`drivers/firmware/efi/libstub/zboot.c`).
    EfiZboot {
        /// The name of the compression in the header: `gzip`, `zstd22`, `xzkern`…
        compression: String,
    },
    /// A compressed stream.
    Compressed(Format),
    /// An unsupported compression (`lzo`).
    UnsupportedCompression(String),
    /// `Image` of arm64 (`Documentation/arch/arm64/booting.rst`).
    Arm64Image {
        /// Load offset from the 2 MiB aligned base, in bytes.
        text_offset: u64,
        /// Size in memory in bytes, including the BSS; 0 before Linux 3.17.
        image_size: u64,
        /// Whether it is also an EFI executable.
        efi_stub: bool,
    },
    /// `Image` of another architecture, by its header (`Documentation/arch/riscv/boot-image-header.rst`
    /// and others).
    Image(Arch),
    /// The header of U-Boot's `mkimage`, with the name in it.
    Uimage {
        /// The name, `Linux-6.1.0`.
        name: String,
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
    /// Machine code without a known header.
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
            LayerKind::Image(arch) => write!(f, "{arch} Image"),
            LayerKind::Uimage { name } => write!(f, "uImage ({name})"),
            LayerKind::ArmZimage => f.write_str("ARM zImage"),
            LayerKind::BzImage { .. } => f.write_str("x86 bzImage"),
            LayerKind::Elf => f.write_str("ELF"),
            LayerKind::Raw => f.write_str("raw code"),
        }
    }
}

//! The kinds of images.

/// What kind of image a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImageKind {
    /// A boot or recovery image.
    Boot,
    /// A boot image of header v3 or v4 with a ramdisk and no kernel.
    InitBoot,
    /// A vendor_boot (or vendor_kernel_boot) image.
    VendorBoot,
    /// A ramdisk and nothing else.
    Ramdisk,
    /// A kernel and nothing else.
    Kernel,
    /// The vbmeta image that describes other partitions.
    Vbmeta,
    /// A dtbo image: a table of device trees.
    Dtbo,
    /// A kernel config and nothing else.
    Config,
}

impl ImageKind {
    /// The partition's name.
    pub fn as_str(self) -> &'static str {
        match self {
            ImageKind::Boot => "boot",
            ImageKind::InitBoot => "init_boot",
            ImageKind::VendorBoot => "vendor_boot",
            ImageKind::Ramdisk => "ramdisk",
            ImageKind::Kernel => "kernel",
            ImageKind::Vbmeta => "vbmeta",
            ImageKind::Dtbo => "dtbo",
            ImageKind::Config => "config",
        }
    }

    /// Whether bootloaders take the kernel command line from such an image.
    pub(crate) fn has_loader_cmdline(self) -> bool {
        matches!(self, ImageKind::Boot | ImageKind::VendorBoot)
    }

    /// The names of the partitions that such an image may be for, as AVB's descriptors have them; none
    /// if that is not known. The first one is the usual one.
    pub(crate) fn partitions(self) -> &'static [&'static str] {
        match self {
            ImageKind::Boot => &["boot", "recovery"],
            // A recovery image without a kernel has the same header.
            ImageKind::InitBoot => &["init_boot", "recovery"],
            ImageKind::VendorBoot => &["vendor_boot", "vendor_kernel_boot"],
            ImageKind::Dtbo => &["dtbo"],
            ImageKind::Ramdisk | ImageKind::Kernel | ImageKind::Vbmeta | ImageKind::Config => &[],
        }
    }
}

impl std::fmt::Display for ImageKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

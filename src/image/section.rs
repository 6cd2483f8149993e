//! The sections of images.

/// A section of an image, by AOSP's name.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum SectionName {
    /// The kernel, in any container.
    Kernel,
    /// The (generic) ramdisk.
    Ramdisk,
    /// The second stage bootloader.
    Second,
    /// The device tree table (QCDT) of vendors' v0 images.
    Dt,
    /// The extra section of PXA headers.
    Extra,
    /// DTBO for recovery, v1 and v2.
    RecoveryDtbo,
    /// The device tree blob.
    Dtb,
    /// The GKI boot signature of v4.
    BootSignature,
    /// All vendor ramdisk fragments, end to end.
    VendorRamdisk,
    /// The table that describes the fragments, vendor_boot v4.
    VendorRamdiskTable,
    /// The bootconfig parameters, vendor_boot v4.
    Bootconfig,
    /// The device trees of a dtbo image, end to end.
    DtEntries,
    /// The command line, as a segment of a Sony ELF.
    Cmdline,
    /// Firmware of the resource power manager, a segment of a Sony ELF.
    Rpm,
    /// An initial program loader, a segment of a Sony ELF.
    Ipl,
    /// A kernel config, as its file has it.
    Config,
}

impl SectionName {
    /// The name in file names and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            SectionName::Kernel => "kernel",
            SectionName::Ramdisk => "ramdisk",
            SectionName::Second => "second",
            SectionName::Dt => "dt",
            SectionName::Extra => "extra",
            SectionName::RecoveryDtbo => "recovery_dtbo",
            SectionName::Dtb => "dtb",
            SectionName::BootSignature => "boot_signature",
            SectionName::VendorRamdisk => "vendor_ramdisk",
            SectionName::VendorRamdiskTable => "vendor_ramdisk_table",
            SectionName::Bootconfig => "bootconfig",
            SectionName::DtEntries => "dt_entries",
            SectionName::Cmdline => "cmdline",
            SectionName::Rpm => "rpm",
            SectionName::Ipl => "ipl",
            SectionName::Config => "config",
        }
    }
}

impl std::fmt::Display for SectionName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

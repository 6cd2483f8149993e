//! The table of wrapper forms. Offsets are in bytes from the start of the wrapper, unless they say
//! otherwise.

use std::ops::Range;

use At::{End, Start};

use super::derived::{Derived, Position, Value};
use crate::image::bootconfig::MAGIC as BOOTCONFIG;
use crate::image::{Header, ImageKind, SectionName};

/// A wrapper form.
#[derive(Debug)]
pub(super) struct Spec {
    pub name: &'static str,
    /// The form is recognised by any of these magics.
    magics: &'static [(At, &'static [u8])],
    /// Offset of the payload; None if the header is not valid in this form.
    pub start: fn(&[u8]) -> Option<usize>,
    /// The size of the payload according to the header.
    pub size: Option<Size>,
    /// Bytes of the form right after the payload.
    pub trailer: usize,
    /// Bytes of the form at the end of the file; between them and the payload there may be others.
    pub block: usize,
    /// What follows the payload stays last, without zeros after it, and at a multiple of 4 where
    /// zeros can be put before it.
    pub stays_last: bool,
    /// The values that are computed from the payload, in this order.
    pub derived: &'static [Derived],
    /// A text that names the payload.
    pub label: Option<Range<usize>>,
    /// Whether it also occurs around a kernel or ramdisk within an image.
    pub in_sections: bool,
    /// Where the bootconfig is that the kernel reads behind the payload.
    pub bootconfig: fn(&[u8]) -> Option<Range<usize>>,
    /// Why its payload cannot be changed.
    pub refusal: fn(&[u8]) -> Option<&'static str>,
    /// The kind of the payload, for payloads that cannot be identified by their bytes.
    pub payload_kind: fn(&[u8]) -> Option<(ImageKind, SectionName)>,
}

/// Where a magic is.
#[derive(Clone, Copy, Debug)]
enum At {
    /// This many bytes from the start.
    Start(usize),
    /// This many bytes before the end.
    End(usize),
}

impl At {
    fn is(self, bytes: &[u8], magic: &[u8]) -> bool {
        let offset = match self {
            Start(offset) => Some(offset),
            End(before) => bytes.len().checked_sub(before),
        };
        offset.and_then(|offset| bytes.get(offset..)).is_some_and(|at| at.starts_with(magic))
    }
}

/// The size of a payload.
#[derive(Debug)]
pub(super) enum Size {
    Le(usize),
    Be(usize),
    /// Computed from more than one field.
    From(fn(&[u8]) -> Option<usize>),
}

impl Spec {
    pub(crate) fn matches(&self, bytes: &[u8]) -> bool {
        self.magics.iter().any(|(at, magic)| at.is(bytes, magic))
    }

    pub(crate) fn stated_size(&self, bytes: &[u8]) -> Option<usize> {
        match self.size.as_ref()? {
            Size::Le(at) => le(bytes, *at),
            Size::Be(at) => be(bytes, *at),
            Size::From(read) => read(bytes),
        }
    }
}

const KERNEL: (ImageKind, SectionName) = (ImageKind::Kernel, SectionName::Kernel);
const RAMDISK: (ImageKind, SectionName) = (ImageKind::Ramdisk, SectionName::Ramdisk);

const fn derived(name: &'static str, position: Position, value: Value) -> Derived {
    Derived { name, position, value }
}

/// What most forms have.
const PLAIN: Spec = Spec {
    name: "",
    magics: &[],
    start: |_| None,
    size: None,
    trailer: 0,
    block: 0,
    stays_last: false,
    derived: &[],
    label: None,
    in_sections: false,
    bootconfig: |_| None,
    refusal: |_| None,
    payload_kind: |_| None,
};

pub(super) static FORMS: [Spec; 12] = [
    // `part_hdr_t` of MediaTek's lk (`platform/*/include/platform/partition.h`): magic, size,
    // name, zero or 0xff up to 512.
    Spec {
        name: "MTK header",
        magics: &[(Start(0), &[0x88, 0x16, 0x88, 0x58])],
        start: |_| Some(512),
        size: Some(Size::Le(4)),
        derived: &[derived("size", Position::Header(4), Value::SizeLe)],
        label: Some(8..40),
        in_sections: true,
        // lk, logos and firmware have other names.
        payload_kind: |bytes| {
            let named = |name: &[u8]| bytes.get(8..).is_some_and(|at| at.starts_with(name));
            let ramdisk = [&b"ROOTFS\0"[..], b"RECOVERY\0", b"RAMDISK\0"].into_iter().any(named);
            let kernel = named(b"KERNEL\0").then_some(KERNEL);
            kernel.or(ramdisk.then_some(RAMDISK))
        },
        ..PLAIN
    },
    // Spreadtrum's and Samsung's header: "DHTB" and a version, SHA-256 at 8, size at 48, over the
    // image with its SEANDROIDENFORCE trailer. `dhtb_hdr` of magiskboot, dhtbsign of AIK.
    Spec {
        name: "DHTB header",
        magics: &[(Start(0), b"DHTB\x01\0\0\0")],
        start: |_| Some(512),
        size: Some(Size::Le(48)),
        derived: &[
            derived("size", Position::Header(48), Value::SizeLe),
            derived("sha256", Position::Header(8), Value::Sha256),
        ],
        ..PLAIN
    },
    // The same block behind the image, at the end of the file: vbmeta images of newer Unisoc devices.
    Spec {
        name: "DHTB block",
        magics: &[(End(512), b"DHTB\x01\0\0\0")],
        start: |bytes| (bytes.len() > 512).then_some(0),
        size: Some(Size::From(|bytes| le(bytes, bytes.len().checked_sub(512)? + 48))),
        block: 512,
        derived: &[
            derived("size", Position::Block(48), Value::SizeLe),
            derived("sha256", Position::Block(8), Value::Sha256),
        ],
        ..PLAIN
    },
    // `struct legacy_img_hdr` of U-Boot's include/image.h, big-endian.
    Spec {
        name: "U-Boot legacy image",
        magics: &[(Start(0), &[0x27, 0x05, 0x19, 0x56])],
        start: |bytes| match bytes.get(30)? {
            // Several payloads after a table of sizes, scripts and other types.
            &UBOOT_KERNEL | &UBOOT_RAMDISK => Some(64),
            _ => None,
        },
        size: Some(Size::Be(12)),
        derived: &[
            derived("ih_size", Position::Header(12), Value::SizeBe),
            derived("ih_dcrc", Position::Header(24), Value::CrcBe),
            derived("ih_hcrc", Position::Header(4), Value::HeaderCrcBe(64)),
        ],
        label: Some(32..64),
        in_sections: true,
        payload_kind: |bytes| {
            let ramdisk = *bytes.get(30)? == UBOOT_RAMDISK;
            Some(if ramdisk { RAMDISK } else { KERNEL })
        },
        ..PLAIN
    },
    // rkcrc -k of Rockchip's tools: "KRNL", size, payload, CRC.
    Spec {
        name: "Rockchip KRNL",
        magics: &[(Start(0), b"KRNL")],
        start: |_| Some(8),
        size: Some(Size::Le(4)),
        trailer: 4,
        derived: &[
            derived("size", Position::Header(4), Value::SizeLe),
            derived("crc", Position::Trailer(0), Value::RockchipCrcLe),
        ],
        in_sections: true,
        payload_kind: |_| Some(KERNEL),
        ..PLAIN
    },
    // `NvSignedUpdateHeader` (28 bytes), then the update blob: "MSM-RADIO-UPDATE", version, header
    // size, offset of the table, entries, and per entry name, offset in the blob, size, version.
    Spec {
        name: "NVIDIA Tegra blob",
        magics: &[(Start(0), b"-SIGNED-BY-SIGNBLOB-")],
        start: |bytes| {
            let blob = bytes.get(TEGRA_BLOB..)?;
            let table = le(blob, 24)?;
            let one = blob.starts_with(b"MSM-RADIO-UPDATE") && le(blob, 28)? == 1;
            // The offsets of the fields below assume the table position of all known blobs.
            let start = TEGRA_BLOB.checked_add(le(blob, 64)?)?;
            (one && table == 60 && start >= TEGRA_BLOB + 76).then_some(start)
        },
        size: Some(Size::Le(TEGRA_BLOB + 68)),
        derived: &[derived("size", Position::Header(TEGRA_BLOB + 68), Value::SizeLe)],
        label: Some(TEGRA_BLOB + 60..TEGRA_BLOB + 64),
        refusal: |bytes| {
            (le(bytes, 24) != Some(0)).then_some(
                "only the vendor can sign the blob: on an unlocked device, flash the image without \
                 its blob",
            )
        },
        ..PLAIN
    },
    // A bootloader of 1 MiB in the form of a boot image, then the real image (Barnes & Noble Nook
    // HD; `NOOKHD_*` of magiskboot's bootimg).
    Spec {
        name: "Nook HD loader",
        magics: &[
            (Start(64), b"Red Loader"),
            (Start(64), b"Green Loader"),
            (Start(64), b"Green Recovery"),
            (Start(64), b"eMMC boot.img+secondloader"),
            (Start(64), b"eMMC recovery.img+secondloader"),
        ],
        start: |bytes| prelude(bytes, 1 << 20),
        label: Some(64..96),
        ..PLAIN
    },
    // The same with 256 KiB (Nook Tablet, "acclaim"; identified by the name field of the header).
    Spec {
        name: "Acclaim loader",
        magics: &[(Start(48), b"BauwksBoot")],
        start: |bytes| prelude(bytes, 256 << 10),
        label: Some(48..64),
        ..PLAIN
    },
    // lk2nd, a second bootloader in the form of a boot image without a ramdisk, leaves the rest of
    // the partition to the real image (`lk2nd/boot` of msm8916-mainline/lk2nd).
    Spec {
        name: "lk2nd",
        magics: &[(Start(64), b"lk2nd"), (Start(48), b"lk2nd")],
        start: |bytes| prelude(bytes, 512 << 10),
        ..PLAIN
    },
    // Amlogic's secure boot: the sections are encrypted, and a block in the page of the header or
    // before the kernel has their hashes (`AML_SECU_BOOT_IMG_HDR_MAGIC` of their U-Boot's imgread.c).
    Spec {
        name: "Amlogic secure boot (AMLSECU)",
        magics: &[
            (Start(1024), b"AMLSECU!"),
            (Start(2048), b"AMLSECU!"),
            (Start(4096), b"AMLSECU!"),
        ],
        start: |bytes| Header::starts(bytes).then_some(0),
        refusal: |_| {
            Some(
                "its sections are encrypted and signed with the maker's keys, and the bootloader \
                 starts no other: take an image without AMLSECU, such as that of a custom ROM",
            )
        },
        ..PLAIN
    },
    // The bootconfig that the kernel's tools/bootconfig puts behind an initrd: data, size, checksum,
    // "#BOOTCONFIG\n". The kernel takes it away before it unpacks the initrd
    // (`get_boot_config_from_initrd` of init/main.c), and looks for it at the end only.
    Spec {
        name: "bootconfig trailer",
        magics: &[
            (End(12), BOOTCONFIG),
            // A bootloader may align the size to 4.
            (End(13), BOOTCONFIG),
            (End(14), BOOTCONFIG),
            (End(15), BOOTCONFIG),
        ],
        start: |bytes| (!Header::starts(bytes) && bootconfig(bytes).is_some()).then_some(0),
        size: Some(Size::From(|bytes| Some(bootconfig(bytes)?.start))),
        stays_last: true,
        in_sections: true,
        bootconfig,
        payload_kind: |_| Some(RAMDISK),
        ..PLAIN
    },
    // `struct vb2_keyblock` and `struct vb2_kernel_preamble` of vboot_reference's
    // firmware/2lib/include/2struct.h.
    Spec {
        name: "ChromeOS kernel partition",
        magics: &[(Start(0), b"CHROMEOS")],
        start: |bytes| {
            let keyblock = le(bytes, 16)?;
            keyblock.checked_add(le(bytes, keyblock)?)
        },
        // body_signature.data_size of the preamble.
        size: Some(Size::From(|bytes| le(bytes, le(bytes, 16)?.checked_add(88)?))),
        refusal: |_| {
            Some(
                "verified boot starts a kernel partition only if it is signed, and vfioboot has no \
                 keys: unpack it, patch the image inside, and sign that with futility vbutil_kernel \
                 --repack (or --pack) and --keyblock, --signprivate",
            )
        },
        payload_kind: |_| Some(KERNEL),
        ..PLAIN
    },
];

const UBOOT_KERNEL: u8 = 2;
const UBOOT_RAMDISK: u8 = 3;

/// Size of `NvSignedUpdateHeader` in bytes.
const TEGRA_BLOB: usize = 28;

/// Where the bootconfig behind an initrd is; None if the kernel would not take it.
fn bootconfig(bytes: &[u8]) -> Option<Range<usize>> {
    let magic = (12..=15).find_map(|before| {
        let at = bytes.len().checked_sub(before)?;
        bytes[at..].starts_with(BOOTCONFIG).then_some(at)
    })?;
    let end = magic.checked_sub(8)?;
    let start = end.checked_sub(le(bytes, end)?)?;
    let data = bytes.get(start..end)?;
    let sum = data.iter().fold(0u32, |sum, byte| sum.wrapping_add(u32::from(*byte)));
    (le(bytes, end + 4)? == sum as usize).then_some(start..end)
}

/// The size of a loader before a boot image.
fn prelude(bytes: &[u8], size: usize) -> Option<usize> {
    let both = bytes.starts_with(b"ANDROID!") && bytes.get(size..)?.starts_with(b"ANDROID!");
    both.then_some(size)
}

fn array(bytes: &[u8], at: usize) -> Option<[u8; 4]> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok()
}

fn le(bytes: &[u8], at: usize) -> Option<usize> {
    array(bytes, at).map(|bytes| u32::from_le_bytes(bytes) as usize)
}

fn be(bytes: &[u8], at: usize) -> Option<usize> {
    array(bytes, at).map(|bytes| u32::from_be_bytes(bytes) as usize)
}

//! The table of wrapper forms. Offsets are in bytes from the start of the wrapper.

use std::ops::Range;

use super::derived::{Derived, Position, Value};
use crate::image::{ImageKind, SectionName};

/// A wrapper form.
#[derive(Debug)]
pub(super) struct Spec {
    pub name: &'static str,
    /// The form is recognised by any of these magics at these offsets.
    magics: &'static [(usize, &'static [u8])],
    /// Offset of the payload; None if the header is not valid in this form.
    pub start: fn(&[u8]) -> Option<usize>,
    /// The size of the payload according to the header.
    size: Option<Size>,
    /// Size of the form's trailer in bytes.
    pub trailer: usize,
    /// The values that are computed from the payload, in this order.
    pub derived: &'static [Derived],
    /// A text that names the payload.
    pub label: Option<Range<usize>>,
    /// Whether it also occurs around a kernel or ramdisk within an image.
    pub in_sections: bool,
    /// Why its payload cannot be changed.
    pub refusal: fn(&[u8]) -> Option<&'static str>,
    /// The kind of the payload, for payloads that cannot be identified by their bytes.
    pub payload_kind: fn(&[u8]) -> Option<(ImageKind, SectionName)>,
}

/// A 32-bit size field.
#[derive(Debug)]
enum Size {
    Le(usize),
    Be(usize),
    /// Computed from more than one field.
    From(fn(&[u8]) -> Option<usize>),
}

impl Spec {
    pub(crate) fn matches(&self, bytes: &[u8]) -> bool {
        self.magics
            .iter()
            .any(|(at, magic)| bytes.get(*at..).is_some_and(|bytes| bytes.starts_with(magic)))
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

pub(super) static FORMS: [Spec; 8] = [
    // `part_hdr_t` of MediaTek's lk (`platform/*/include/platform/partition.h`): magic, size,
    // name, zero or 0xff up to 512.
    Spec {
        name: "MTK header",
        magics: &[(0, &[0x88, 0x16, 0x88, 0x58])],
        start: |_| Some(512),
        size: Some(Size::Le(4)),
        trailer: 0,
        derived: &[derived("size", Position::Header(4), Value::SizeLe)],
        label: Some(8..40),
        in_sections: true,
        refusal: |_| None,
        payload_kind: |bytes| {
            let kernel = bytes.get(8..)?.starts_with(b"KERNEL");
            Some(if kernel { KERNEL } else { RAMDISK })
        },
    },
    // Spreadtrum's and Samsung's header: "DHTB" and a version, SHA-256 at 8, size at 48, over the
    // image with its SEANDROIDENFORCE trailer. `dhtb_hdr` of magiskboot, dhtbsign of AIK.
    Spec {
        name: "DHTB header",
        magics: &[(0, b"DHTB\x01\0\0\0")],
        start: |_| Some(512),
        size: Some(Size::Le(48)),
        trailer: 0,
        derived: &[
            derived("size", Position::Header(48), Value::SizeLe),
            derived("sha256", Position::Header(8), Value::Sha256),
        ],
        label: None,
        in_sections: false,
        refusal: |_| None,
        payload_kind: |_| None,
    },
    // `struct legacy_img_hdr` of U-Boot's include/image.h, big-endian.
    Spec {
        name: "U-Boot legacy image",
        magics: &[(0, &[0x27, 0x05, 0x19, 0x56])],
        start: |bytes| match bytes.get(30)? {
            // Several payloads after a table of sizes, scripts and other types.
            &UBOOT_KERNEL | &UBOOT_RAMDISK => Some(64),
            _ => None,
        },
        size: Some(Size::Be(12)),
        trailer: 0,
        derived: &[
            derived("ih_size", Position::Header(12), Value::SizeBe),
            derived("ih_dcrc", Position::Header(24), Value::CrcBe),
            derived("ih_hcrc", Position::Header(4), Value::HeaderCrcBe(64)),
        ],
        label: Some(32..64),
        in_sections: true,
        refusal: |_| None,
        payload_kind: |bytes| {
            let ramdisk = *bytes.get(30)? == UBOOT_RAMDISK;
            Some(if ramdisk { RAMDISK } else { KERNEL })
        },
    },
    // rkcrc -k of Rockchip's tools: "KRNL", size, payload, CRC.
    Spec {
        name: "Rockchip KRNL",
        magics: &[(0, b"KRNL")],
        start: |_| Some(8),
        size: Some(Size::Le(4)),
        trailer: 4,
        derived: &[
            derived("size", Position::Header(4), Value::SizeLe),
            derived("crc", Position::Trailer(0), Value::RockchipCrcLe),
        ],
        label: None,
        in_sections: true,
        refusal: |_| None,
        payload_kind: |_| Some(KERNEL),
    },
    // `NvSignedUpdateHeader` (28 bytes), then the update blob: "MSM-RADIO-UPDATE", version, header
    // size, offset of the table, entries, and per entry name, offset in the blob, size, version.
    Spec {
        name: "NVIDIA Tegra blob",
        magics: &[(0, b"-SIGNED-BY-SIGNBLOB-")],
        start: |bytes| {
            let blob = bytes.get(TEGRA_BLOB..)?;
            let table = le(blob, 24)?;
            let one = blob.starts_with(b"MSM-RADIO-UPDATE") && le(blob, 28)? == 1;
            // The offsets of the fields below assume the table position of all known blobs.
            let start = TEGRA_BLOB.checked_add(le(blob, 64)?)?;
            (one && table == 60 && start >= TEGRA_BLOB + 76).then_some(start)
        },
        size: Some(Size::Le(TEGRA_BLOB + 68)),
        trailer: 0,
        derived: &[derived("size", Position::Header(TEGRA_BLOB + 68), Value::SizeLe)],
        label: Some(TEGRA_BLOB + 60..TEGRA_BLOB + 64),
        in_sections: false,
        refusal: |bytes| {
            (le(bytes, 24) != Some(0)).then_some(
                "only the vendor can sign the blob: on an unlocked device, flash the image without \
                 its blob",
            )
        },
        payload_kind: |_| None,
    },
    // A bootloader of 1 MiB in the form of a boot image, then the real image (Barnes & Noble Nook
    // HD; `NOOKHD_*` of magiskboot's bootimg).
    Spec {
        name: "Nook HD loader",
        magics: &[
            (64, b"Red Loader"),
            (64, b"Green Loader"),
            (64, b"Green Recovery"),
            (64, b"eMMC boot.img+secondloader"),
            (64, b"eMMC recovery.img+secondloader"),
        ],
        start: |bytes| prelude(bytes, 1 << 20),
        size: None,
        trailer: 0,
        derived: &[],
        label: Some(64..96),
        in_sections: false,
        refusal: |_| None,
        payload_kind: |_| None,
    },
    // The same with 256 KiB (Nook Tablet, "acclaim"; identified by the name field of the header).
    Spec {
        name: "Acclaim loader",
        magics: &[(48, b"BauwksBoot")],
        start: |bytes| prelude(bytes, 256 << 10),
        size: None,
        trailer: 0,
        derived: &[],
        label: Some(48..64),
        in_sections: false,
        refusal: |_| None,
        payload_kind: |_| None,
    },
    // `struct vb2_keyblock` and `struct vb2_kernel_preamble` of vboot_reference's
    // firmware/2lib/include/2struct.h.
    Spec {
        name: "ChromeOS kernel partition",
        magics: &[(0, b"CHROMEOS")],
        start: |bytes| {
            let keyblock = le(bytes, 16)?;
            keyblock.checked_add(le(bytes, keyblock)?)
        },
        // body_signature.data_size of the preamble.
        size: Some(Size::From(|bytes| le(bytes, le(bytes, 16)?.checked_add(88)?))),
        trailer: 0,
        derived: &[],
        label: None,
        in_sections: false,
        refusal: |_| {
            Some(
                "verified boot starts a kernel partition only if it is signed, and vfioboot has no \
                 keys: unpack it, patch the image inside, and sign that with futility vbutil_kernel \
                 --repack (or --pack) and --keyblock, --signprivate",
            )
        },
        payload_kind: |_| Some(KERNEL),
    },
];

const UBOOT_KERNEL: u8 = 2;
const UBOOT_RAMDISK: u8 = 3;

/// Size of `NvSignedUpdateHeader` in bytes.
const TEGRA_BLOB: usize = 28;

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

//! The table of forms. Offsets are bytes from the start of the wrapper.

use std::ops::Range;

use super::derived::{Derived, Place, Value};
use crate::image::{ImageKind, SectionName};

/// One form.
#[derive(Debug)]
pub(super) struct Spec {
    pub name: &'static str,
    /// Any of these, at these offsets, makes it this form.
    magics: &'static [(usize, &'static [u8])],
    /// Where the payload starts; None when the header makes no sense as this form.
    pub start: fn(&[u8]) -> Option<usize>,
    /// The payload's size as the header states it.
    size: Option<Size>,
    /// Bytes of the form's own trailer.
    pub trailer: usize,
    /// What follows from the payload, in the order in which it is computed.
    pub derived: &'static [Derived],
    /// A text that says what the payload is.
    pub label: Option<Range<usize>>,
    /// Whether it is also put around a kernel or ramdisk within an image.
    pub in_sections: bool,
    /// Why its payload cannot be changed.
    pub refusal: fn(&[u8]) -> Option<&'static str>,
    /// What the payload is when its own bytes do not tell.
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
    pub fn matches(&self, bytes: &[u8]) -> bool {
        self.magics
            .iter()
            .any(|(at, magic)| bytes.get(*at..).is_some_and(|bytes| bytes.starts_with(magic)))
    }

    pub fn stated_size(&self, bytes: &[u8]) -> Option<usize> {
        match self.size.as_ref()? {
            Size::Le(at) => le(bytes, *at),
            Size::Be(at) => be(bytes, *at),
            Size::From(read) => read(bytes),
        }
    }
}

const KERNEL: (ImageKind, SectionName) = (ImageKind::Kernel, SectionName::Kernel);
const RAMDISK: (ImageKind, SectionName) = (ImageKind::Ramdisk, SectionName::Ramdisk);

const fn derived(name: &'static str, place: Place, value: Value) -> Derived {
    Derived { name, place, value }
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
        derived: &[derived("size", Place::Header(4), Value::SizeLe)],
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
            derived("size", Place::Header(48), Value::SizeLe),
            derived("sha256", Place::Header(8), Value::Sha256),
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
            // More than one payload behind a table of sizes; scripts and the like.
            &UBOOT_KERNEL | &UBOOT_RAMDISK => Some(64),
            _ => None,
        },
        size: Some(Size::Be(12)),
        trailer: 0,
        derived: &[
            derived("ih_size", Place::Header(12), Value::SizeBe),
            derived("ih_dcrc", Place::Header(24), Value::CrcBe),
            derived("ih_hcrc", Place::Header(4), Value::HeaderCrcBe(64)),
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
            derived("size", Place::Header(4), Value::SizeLe),
            derived("crc", Place::Trailer(0), Value::RockchipCrcLe),
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
            // The table where every known blob has it: the offsets of the fields hang on it.
            let start = TEGRA_BLOB.checked_add(le(blob, 64)?)?;
            (one && table == 60 && start >= TEGRA_BLOB + 76).then_some(start)
        },
        size: Some(Size::Le(TEGRA_BLOB + 68)),
        trailer: 0,
        derived: &[derived("size", Place::Header(TEGRA_BLOB + 68), Value::SizeLe)],
        label: Some(TEGRA_BLOB + 60..TEGRA_BLOB + 64),
        in_sections: false,
        refusal: |bytes| {
            (le(bytes, 24) != Some(0)).then_some(
                "the blob is signed, and only the vendor can sign it: flash the image without its \
                 blob on an unlocked device",
            )
        },
        payload_kind: |_| None,
    },
    // A bootloader in the guise of a boot image, 1 MiB, then the real one (Barnes & Noble Nook
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
    // The same with 256 KiB (Nook Tablet, "acclaim"; the name field of its header tells).
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
                "verified boot starts a kernel partition only when it is signed, and vfioboot has \
                 no keys: unpack it, patch what is inside, and sign that with futility \
                 vbutil_kernel --repack (or --pack) and --keyblock, --signprivate",
            )
        },
        payload_kind: |_| Some(KERNEL),
    },
];

const UBOOT_KERNEL: u8 = 2;
const UBOOT_RAMDISK: u8 = 3;

/// Bytes of `NvSignedUpdateHeader`.
const TEGRA_BLOB: usize = 28;

/// The size of a loader in front of a boot image.
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

//! Files that are often mistaken for boot images.

use super::dt_table::DTBO_MAGIC;
use super::error::Error;
use super::hint::Hint;
use crate::compression::Format;

/// Files that are often mistaken for boot images: magic, its offset, and what to do with the file, which
/// is called FILE.
const LOOKALIKES: &[(&[u8], usize, &str)] = &[
    (&[0x3a, 0xff, 0x26, 0xed], 0, " (a sparse image: unpack it with simg2img FILE OUT first)"),
    (b"CrAU", 0, " (an OTA payload.bin: vfioboot extract FILE -d DIR extracts its images)"),
    (b"CHROMEOS", 0, " (a ChromeOS kernel partition, truncated or damaged)"),
    (b"AMLSECU!", 0, " (encrypted by Amlogic's secure boot)"),
    (b"DHTB", 0, " (a DHTB header of an unknown version)"),
    (
        b"-SIGNED-BY-SIGNBLOB-",
        0,
        " (an NVIDIA Tegra blob of more than one partition: unpack it with blobunpack FILE first)",
    ),
    (b"MSM-RADIO-UPDATE", 0, " (an NVIDIA Tegra blob: unpack it with blobunpack FILE first)"),
    (
        &[0x27, 0x05, 0x19, 0x56],
        0,
        " (a U-Boot image that is neither a kernel nor a ramdisk: unpack it with dumpimage -o OUT FILE first)",
    ),
    (
        &[0xd0, 0x0d, 0xfe, 0xed],
        0,
        " (a device tree or a U-Boot FIT: dumpimage -l FILE lists the images of a FIT)",
    ),
    (&DTBO_MAGIC, 0, " (a dtbo image without a readable device tree)"),
    (b"PARM", 0, " (Rockchip's parameter file, which has no kernel and no ramdisk)"),
    (b"$OS$", 0, " (an Intel OSIP image: unpack it with mboot first)"),
    (b"\x03SIN", 0, " (Sony's SIN file: unpack it with UnSIN first)"),
    (
        &[0x53, 0xef],
        0x438,
        " (an ext4 file system: list its files with debugfs -R \"ls -l /\" FILE, and take one out with \
         debugfs -R \"dump /PATH OUT\" FILE)",
    ),
    (
        &[0xe2, 0xe1, 0xf5, 0xe0],
        0x400,
        " (an EROFS file system: take its files out with fsck.erofs --extract=DIR FILE)",
    ),
    (
        &[0x10, 0x20, 0xf5, 0xf2],
        0x400,
        " (an F2FS file system: mount it with mount -o loop,ro -t f2fs FILE DIR)",
    ),
    (
        b"EFI PART",
        512,
        " (a disk with partitions: losetup -P -r --show -f FILE gives a device for each)",
    ),
    (b"7z\xbc\xaf\x27\x1c", 0, " (a 7z archive: unpack it with 7z x FILE first)"),
    (b"Rar!\x1a\x07", 0, " (a RAR archive: unpack it with unrar x FILE first)"),
    (
        b"OPPOENCRYPT!",
        0,
        " (an encrypted .ozip file of OPPO or realme: decrypt it with ozipdecrypt first)",
    ),
    (b"LOKI", 0x400, " (an image patched by loki: undo that with loki_tool unlok first)"),
];

pub(super) fn unknown_magic(bytes: &[u8]) -> Error {
    let found = match bytes {
        [] => "an empty file".to_owned(),
        _ => format!("\"{}\"", bytes[..bytes.len().min(8)].escape_ascii()),
    };
    let hint = LOOKALIKES
        .iter()
        .find(|(magic, offset, _)| bytes.get(*offset..).is_some_and(|at| at.starts_with(magic)))
        .map(|(.., hint)| *hint)
        .or_else(|| zip_hint(bytes))
        .or_else(|| Format::detect(bytes).map(|_| STREAM))
        .unwrap_or_default();
    Error::UnknownMagic { found, hint: Hint::new(hint) }
}

/// What is not compressed as a kernel, a ramdisk or an image is.
const STREAM: &str = " (a compressed stream that is damaged, or that has none of these in it)";

/// Names in a zip file that identify it, and how to extract the image.
const ZIP_ENTRIES: &[(&[u8], &str)] = &[
    (b"payload.bin", " (an OTA zip: vfioboot extract FILE -d DIR extracts its images)"),
    (b"/image-", " (a factory zip: vfioboot extract FILE -d DIR extracts its images)"),
    (b"boot.img", " (a zip file with images: vfioboot extract FILE -d DIR extracts them)"),
];
/// Bytes at the end of a zip file to search for names: the central directory is there.
const ZIP_DIRECTORY: usize = 1 << 20;

fn zip_hint(bytes: &[u8]) -> Option<&'static str> {
    if !bytes.starts_with(b"PK\x03\x04") {
        return None;
    }
    let directory = &bytes[bytes.len().saturating_sub(ZIP_DIRECTORY)..];
    let found = |(name, _): &&(&[u8], &str)| memchr::memmem::find(directory, name).is_some();
    let hint = ZIP_ENTRIES.iter().find(found).map(|(_, hint)| *hint);
    Some(hint.unwrap_or(" (a zip file without a boot.img in it)"))
}

//! What the fuzz targets and the tests of damaged images do with images that were read: whatever is
//! written keeps its promises.

use vfioboot::bootfile::RUNTIME_MARK;
use vfioboot::bootset::BootSet;
use vfioboot::image::{Image, ImageKind, unpacked};
use vfioboot::patch::{self, AvbMode, HookChoice, IommuMode, Options, RcFile, Runtimes};

/// Maximum number of images in an input.
const MOST: usize = 5;
/// Bytes of the options in an input.
const OPTIONS: usize = 2;

/// The smallest static executable that passes for the runtime: a header and one program header, no
/// code, and the mark.
pub fn elf(machine: u16) -> Vec<u8> {
    [&elf_with(machine, 1)[..], RUNTIME_MARK].concat()
}

/// An executable with one program header of this type.
pub fn elf_with(machine: u16, segment_type: u32) -> Vec<u8> {
    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(16, 0);
    elf.extend_from_slice(&2u16.to_le_bytes());
    elf.extend_from_slice(&machine.to_le_bytes());
    elf.extend_from_slice(&1u32.to_le_bytes());
    for number in [0x40_0000u64, 64, 0] {
        elf.extend_from_slice(&number.to_le_bytes());
    }
    elf.extend_from_slice(&0u32.to_le_bytes());
    for number in [64u16, 56, 1, 64, 0, 0] {
        elf.extend_from_slice(&number.to_le_bytes());
    }
    elf.extend_from_slice(&segment_type.to_le_bytes());
    elf.extend_from_slice(&5u32.to_le_bytes());
    for number in [0u64, 0x40_0000, 0x40_0000, 120, 120, 4096] {
        elf.extend_from_slice(&number.to_le_bytes());
    }
    elf
}

/// Unpacking and repacking gives the image.
pub fn repacks(image: &Image<'_>) {
    let parts = unpacked::unpack(image);
    let repacked = unpacked::repack(&parts.manifest, |name| {
        let found = parts.files.iter().find(|(file, _)| file == name);
        found.map(|(_, bytes)| bytes.to_vec()).ok_or(std::io::ErrorKind::NotFound.into())
    });
    let repacked = repacked.unwrap_or_else(|error| panic!("repack: {error}"));
    assert!(repacked == image.file(), "repack gives other bytes");
}

/// One input of [`sets`]: options, then each image with its length before it.
pub fn joined(options: u16, images: &[&[u8]]) -> Vec<u8> {
    let mut input = options.to_le_bytes().to_vec();
    for image in images {
        input.extend((image.len() as u32).to_le_bytes());
        input.extend(*image);
    }
    input
}

/// The images of one device, patched with options from the same input. Whether a patch was possible.
pub fn sets(input: &[u8]) -> bool {
    let Some((options, mut rest)) = input.split_first_chunk::<OPTIONS>() else { return false };
    let mut images = Vec::new();
    while let (Some((length, after)), true) = (rest.split_first_chunk(), images.len() < MOST) {
        let length = (u32::from_le_bytes(*length) as usize).min(after.len());
        let (image, after) = after.split_at(length);
        images.extend(Image::parse(image).ok().filter(|own| own.kind() != ImageKind::Kernel));
        rest = after;
    }
    let drawn = u16::from_le_bytes(*options);
    let patched = patches(&images, drawn);
    if let Some(files) = &patched {
        let images: Vec<Image<'_>> = files.iter().map(|own| Image::parse(own).unwrap()).collect();
        undoes(&BootSet::from_images(&images));
        let again = patches(&images, drawn);
        assert!(again.as_ref() == Some(files), "patching twice gives other bytes");
    }
    patched.is_some()
}

/// Patch, where that is not refused: the results prove themselves, and repacking gives them back. What
/// becomes of each file; `drawn` selects the options, 0 the defaults.
pub fn patches(images: &[Image<'_>], drawn: u16) -> Option<Vec<Vec<u8>>> {
    let set = BootSet::from_images(images);
    if patch::is_patched(&set).ok()? {
        undoes(&set);
    }
    let runtime = elf(if drawn >> 12 & 1 == 1 { 62 } else { 183 });
    let plan = match patch::plan(&set, &drawn_options(drawn, &runtime)) {
        Ok(plan) => plan,
        Err(error) => {
            assert!(!error.to_string().contains('\n'), "{error}");
            return None;
        }
    };
    patch::prove_again(&set, &plan).unwrap_or_else(|error| panic!("not proven: {error:?}"));
    let mut files = Vec::new();
    for (image, planned) in std::iter::zip(images, &plan.images) {
        files.push(match &planned.output {
            None => image.file().to_vec(),
            Some(output) => {
                let bytes = output.to_vec();
                repacks(&Image::parse(&bytes).unwrap());
                bytes
            }
        });
    }
    Some(files)
}

/// The originals of patched images have the SHA-256 of the record, and are what removing the patch
/// gives where it says so.
pub fn undoes(set: &BootSet<'_>) {
    let removed = patch::remove(set);
    let Ok(originals) = patch::unpatch(set) else { return };
    let record = patch::record_of(set).unwrap().unwrap();
    for (index, (image, original)) in std::iter::zip(set.images(), originals).enumerate() {
        let Some(original) = original else { continue };
        let sha256 = record.image(image).map(|undo| undo.original_sha256());
        assert_eq!(sha256, Some(original.sha256()), "another original than the record's");
        let bytes = original.to_vec();
        repacks(&Image::parse(&bytes).unwrap());
        if let Ok(removed) = &removed
            && let Some(removed) = removed[index].as_ref().filter(|own| own.exact)
        {
            assert!(removed.output.to_vec() == bytes, "removed and undone differ");
        }
    }
}

fn drawn_options(drawn: u16, runtime: &[u8]) -> Options<'_> {
    let bit = |at: u32| drawn >> at & 1 == 1;
    let devices: &[&str] = match drawn & 3 {
        0 => &["1b36:0010"],
        1 => &["0000:00:02.0"],
        2 => &["1b36:0010", "0000:00:02.0", "8086:1533"],
        _ => &["10de:2684", "0001:01:00.1"],
    };
    let devices = devices.iter().map(|name| name.parse().unwrap()).collect();
    let mut options = Options::new(devices, Runtimes::given(runtime));
    options.hook = match drawn >> 2 & 3 {
        0 | 3 => HookChoice::Auto,
        1 => HookChoice::Rdinit,
        _ => HookChoice::Init,
    };
    options.iommu = match drawn >> 4 & 7 {
        0 => IommuMode::Auto,
        1 => IommuMode::Translated,
        2 => IommuMode::Passthrough,
        3 => IommuMode::Strict,
        4 => IommuMode::Lazy,
        _ => IommuMode::Keep,
    };
    if bit(7) {
        options.avb.mode = AvbMode::Strip;
    }
    if bit(8) {
        options.parameters = vec!["fuzz.extra=1".to_owned(), "quiet".to_owned()];
    }
    if bit(9) {
        let bytes = b"on boot\n    setprop fuzz 1\n".to_vec();
        options.rc.files = vec![RcFile { name: "fuzz.rc".to_owned(), bytes }];
    }
    options.rc.autostart = !bit(10);
    if bit(11) {
        options.wait_ms = 1000;
    }
    options
}

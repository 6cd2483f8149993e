//! Every ramdisk is unpacked once, whoever asks.

use crate::common;
use crate::common::{archives, ko};

use archives::{noise, packed};
use common::{AARCH64, RELEASE, elf, kernel};
use ko::Ko;
use vfioboot::audit::{self, Profile};
use vfioboot::bootset::{BootSet, avb};
use vfioboot::compression::{Format, encode, unpacked_in_thread};
use vfioboot::image::{Image, SectionName};
use vfioboot::modules::{ModuleRequest, ModuleSource};
use vfioboot::patch::{self, ModuleOptions, Options, Plan, Runtimes};
use vfioboot::ramdisk::cpio::CpioWriter;

/// More than everything else that is unpacked: the runtime's segment, the kernel's config.
const SIZE: usize = 128 << 10;
const CONFIG: &str =
    "CONFIG_MODULES=y\nCONFIG_VFIO=m\nCONFIG_VFIO_PCI=m\nCONFIG_VFIO_IOMMU_TYPE1=m\n";

/// The formats that the kernel unpacks.
fn formats() -> impl Iterator<Item = Format> {
    Format::all().filter(|format| format.rd_symbol().is_some())
}

/// How often `SIZE` bytes were unpacked meanwhile.
fn passes<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = unpacked_in_thread();
    let done = work();
    ((unpacked_in_thread() - before) as usize / SIZE, done)
}

/// A boot image with a ramdisk of `SIZE` bytes and these modules.
fn boot(format: Format, modules: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut writer = CpioWriter::new(Vec::new());
    writer.file(b"init", 0o755, b"#!").unwrap();
    for directory in ["lib", "lib/modules"] {
        writer.dir(directory.as_bytes(), 0o755).unwrap();
    }
    writer.file(b"lib/data", 0o644, &noise(SIZE)).unwrap();
    for (name, bytes) in modules {
        writer.file(format!("lib/modules/{name}").as_bytes(), 0o644, bytes).unwrap();
    }
    let ramdisk = packed(Some(format), &writer.finish().unwrap());
    let image = common::fixture("images/boot-v2-raw.img");
    let image = common::with_section(&image, SectionName::Kernel, kernel(CONFIG));
    common::with_section(&image, SectionName::Ramdisk, ramdisk)
}

fn vfio() -> [(&'static str, Ko); 3] {
    [
        ("vfio.ko", Ko::new("vfio", RELEASE)),
        ("vfio-pci.ko", Ko::new("vfio-pci", RELEASE).info("depends=vfio")),
        ("vfio_iommu_type1.ko", Ko::new("vfio_iommu_type1", RELEASE).info("depends=vfio")),
    ]
}

fn plan<T>(image: &[u8], modules: ModuleOptions<'_>, look: impl FnOnce(&Plan<'_>) -> T) -> T {
    let runtime = elf(AARCH64);
    let mut options = Options::new(vec!["1b36:0010".parse().unwrap()], Runtimes::given(&runtime));
    options.modules = modules;
    let set = BootSet::from_images(&[Image::parse(image).unwrap()]);
    look(&patch::plan(&set, &options).unwrap())
}

fn patched(image: &[u8], modules: ModuleOptions<'_>) -> Vec<u8> {
    plan(image, modules, |plan| plan.images[0].output.as_ref().unwrap().to_vec())
}

#[test]
fn a_patch_unpacks_the_ramdisk_once_and_so_does_the_next() {
    for format in formats() {
        let image = boot(format, &[]);
        let (first, new) = passes(|| patched(&image, ModuleOptions::default()));
        let (again, newer) = passes(|| patched(&new, ModuleOptions::default()));
        assert_eq!((first, again), (1, 1), "{format}");
        assert!(newer == new, "{format}");
    }
}

#[test]
fn added_modules_cost_no_other_pass() {
    for format in formats() {
        let modules = vfio().map(|(name, module)| (name, module.bytes()));
        let image = boot(format, &modules[..1]);
        let files = || ModuleOptions {
            files: modules[1..].iter().map(|(n, b)| ((*n).to_owned(), b.into())).collect(),
            ..ModuleOptions::default()
        };
        let other = boot(Format::Gzip, &modules);
        let raw = common::cpio(&[("a.ko", &modules[1].1), ("b.ko", &modules[2].1)]);
        let source = |bytes| ModuleOptions {
            sources: vec![ModuleSource::Bytes { name: "other".to_owned(), bytes }],
            ..ModuleOptions::default()
        };
        let (first, new) = passes(|| patched(&image, files()));
        let (again, newer) = passes(|| patched(&new, files()));
        assert_eq!((first, again), (1, 1), "{format}");
        assert!(newer == new, "{format}");
        assert_eq!(passes(|| patched(&image, source(&raw))).0, 1, "{format}");
        // The other ramdisk once, for what it has and for the modules that are needed.
        assert_eq!(passes(|| patched(&image, source(&other))).0, 2, "{format}");
    }
}

#[test]
fn compressed_modules_are_unpacked_with_the_ramdisk() {
    for format in formats() {
        let compress = |bytes: &[u8]| encode(Format::Xz, bytes, None).unwrap();
        let names = ["vfio.ko.xz", "vfio-pci.ko.xz", "vfio_iommu_type1.ko.xz"];
        let modules = vfio().map(|(_, module)| compress(&module.bytes()));
        let modules: Vec<_> = std::iter::zip(names, modules).collect();
        let image = boot(format, &modules);
        let (first, paths) = passes(|| {
            plan(&image, ModuleOptions::default(), |plan| {
                plan.modules.load.iter().map(|module| module.path.clone()).collect::<Vec<_>>()
            })
        });
        let unpacked = ["vfio.ko", "vfio-pci.ko", "vfio_iommu_type1.ko"];
        assert_eq!(paths, unpacked.map(|name| format!("/vfioboot/modules/{name}")), "{format}");
        assert_eq!(first, 1, "{format}");
    }
}

#[test]
fn undoing_decompresses_the_ramdisk_only_if_the_segment_is_not_found_otherwise() {
    for format in formats() {
        let image = boot(format, &[]);
        let new = patched(&image, ModuleOptions::default());
        let set = BootSet::from_images(&[Image::parse(&new).unwrap()]);
        let (count, back) = passes(|| patch::unpatch(&set).unwrap());
        assert!(back[0].as_ref().unwrap().to_vec() == image, "{format}");
        let expected = usize::from(matches!(format, Format::Lzma | Format::Bzip2));
        assert_eq!(count, expected, "{format}");
    }
}

#[test]
fn questions_unpack_the_ramdisk_once_or_not_at_all() {
    for format in formats() {
        let plain = boot(format, &vfio().map(|(name, module)| (name, module.bytes())));
        for image in [&plain, &patched(&plain, ModuleOptions::default())] {
            let set = || BootSet::from_images(&[Image::parse(image).unwrap()]);
            let info = |set: &BootSet<'_>| {
                set.request_modules(ModuleRequest::default());
                let ramdisk = &set.ramdisks()[0];
                let marked = ramdisk.mark().is_some();
                (ramdisk.survey().is_ok(), marked, set.flow().patched_by.is_some())
            };
            let (count, (readable, marked, patched)) = passes(|| info(&set()));
            assert_eq!((count, readable, marked == patched), (1, true, true), "info, {format}");
            let profile = Profile::builtin("passthrough").unwrap();
            let options = audit::Options::new(profile);
            let (count, audited) = passes(|| audit::check(&set(), &options).is_ok());
            assert_eq!((count, audited), (1, true), "check, {format}");
            assert_eq!(passes(|| avb::verify(&set(), None)).0, 0, "verify, {format}");
        }
    }
}

//! The initramfs of a set: the ramdisks of all images in memory order, and what a patch makes of
//! files that another ramdisk has than the one that it appends to.

use crate::common;

use common::archives::packed;
use common::cli::Scratch;
use common::{AARCH64, cpio, elf, fixture, with_section};
use vfioboot::bootset::{BootSet, Stop};
use vfioboot::compression::Format;
use vfioboot::image::{Image, ImageKind, SectionName};
use vfioboot::patch::{self, Error, HookChoice, Options, Runtimes};
use vfioboot::ramdisk::Reach;

/// The ramdisks of a vendor_boot v3 and of an init_boot, one after the other in memory.
fn set(vendor: Vec<u8>, generic: Vec<u8>) -> Vec<Vec<u8>> {
    let vendor_boot = fixture("images/vendor_boot-v3.img");
    let boot = fixture("images/boot-v3.img");
    vec![
        with_section(&boot, SectionName::Ramdisk, generic),
        with_section(&vendor_boot, SectionName::VendorRamdisk, vendor),
    ]
}

fn look<T>(set: &[Vec<u8>], question: impl FnOnce(&BootSet<'_>) -> T) -> T {
    let images: Vec<_> = set.iter().map(|bytes| Image::parse(bytes).unwrap()).collect();
    question(&BootSet::from_images(&images))
}

/// Kind and reach of each ramdisk, and where the kernel stops.
fn walk(set: &[Vec<u8>]) -> (Vec<(ImageKind, Reach)>, Option<Stop>) {
    look(set, |set| {
        let initramfs = set.initramfs();
        let parts = initramfs.parts.iter();
        let reach = parts.map(|part| {
            let kind = set.images()[part.spot.image].kind();
            (kind, initramfs.reach(part.spot).unwrap())
        });
        (reach.collect(), initramfs.parts.iter().find_map(|part| part.stops))
    })
}

/// Why nothing can be added to the set; None if it can be patched.
fn refused(set: &[Vec<u8>]) -> Option<(ImageKind, Stop)> {
    let runtime = elf(AARCH64);
    look(set, |set| {
        let devices = vec!["1b36:0010".parse().unwrap()];
        match patch::plan(set, &Options::new(devices, Runtimes::given(&runtime))) {
            Ok(_) => None,
            Err(Error::NotReached { image, stop }) => Some((image, stop)),
            Err(error) => panic!("{}", common::message(&error)),
        }
    })
}

#[test]
fn the_vendor_ramdisk_is_first_in_memory_for_any_order_of_the_files() {
    let gzip = |name: &str| packed(Some(Format::Gzip), &cpio(&[(name, b"x")]));
    let mut set = set(gzip("vendor"), gzip("init"));
    let expected = vec![(ImageKind::VendorBoot, Reach::Always), (ImageKind::Boot, Reach::Always)];
    assert_eq!(walk(&set), (expected.clone(), None));
    set.reverse();
    assert_eq!(walk(&set), (expected, None));
}

#[test]
fn junk_in_the_vendor_ramdisk_ends_the_unpacking_and_the_plan_says_so() {
    let generic = packed(Some(Format::Gzip), &cpio(&[("init", b"x")]));
    let vendor = packed(Some(Format::Gzip), &cpio(&[("vendor", b"x")]));
    let junk = [vendor.clone(), b"JUNK".to_vec()].concat();
    let set = set(junk, generic);
    let stop = Stop::Junk(vendor.len());
    let reached = vec![(ImageKind::VendorBoot, Reach::Always), (ImageKind::Boot, Reach::Never)];
    assert_eq!(walk(&set), (reached, Some(stop)));
    assert_eq!(refused(&set), Some((ImageKind::VendorBoot, stop)));
}

/// `unlz4` takes what follows its blocks for the size of another one, unless it is its own magic.
#[test]
fn gzip_directly_after_lz4_legacy_is_never_unpacked() {
    let archive = |name: &str| cpio(&[(name, b"x")]);
    let lz4 = packed(Some(Format::Lz4Legacy), &archive("vendor"));
    let after_gzip = set(lz4.clone(), packed(Some(Format::Gzip), &archive("init")));
    let (reached, stop) = walk(&after_gzip);
    assert_eq!(reached[1], (ImageKind::Boot, Reach::Never));
    assert_eq!(stop, Some(Stop::AfterLz4Legacy(0)));
    assert_eq!(refused(&after_gzip), None, "the first ramdisk is reached");

    let after_lz4 = set(lz4, packed(Some(Format::Lz4Legacy), &archive("init")));
    assert_eq!(walk(&after_lz4).1, None);
    assert_eq!(refused(&after_lz4), None);
}

/// With `--hook init` the runtime takes the path of a program that only the vendor ramdisk has.
#[test]
fn a_patch_finds_init_in_whichever_ramdisk_has_it() {
    let gzip = |name: &str, bytes: &[u8]| packed(Some(Format::Gzip), &cpio(&[(name, bytes)]));
    let set = set(gzip("init", b"#!vendor"), gzip("other", b"x"));
    let runtime = elf(AARCH64);
    let mut options = Options::new(vec!["1b36:0010".parse().unwrap()], Runtimes::given(&runtime));
    options.hook = HookChoice::Init;
    look(&set, |set| {
        let plan = patch::plan(set, &options).unwrap();
        let boot = plan.images.iter().find(|image| image.kind == ImageKind::Boot).unwrap();
        let patched = boot.output.as_ref().unwrap().to_vec();
        let ramdisk = Image::parse(&patched).unwrap().section(SectionName::Ramdisk).unwrap();
        let kept = vfioboot::bootfile::ORIGINAL_INIT.as_bytes();
        let mut bytes = Vec::new();
        let limits = vfioboot::ramdisk::Limits::default();
        vfioboot::ramdisk::tree::read_file(ramdisk, kept, &mut bytes, limits).unwrap();
        assert_eq!(bytes, b"#!vendor");
    });
}

#[test]
fn info_shows_the_ramdisks_in_memory_order_and_where_the_kernel_stops() {
    let vendor = packed(Some(Format::Gzip), &cpio(&[("vendor", b"x")]));
    let generic = packed(Some(Format::Gzip), &cpio(&[("init", b"x")]));
    let junk = [vendor.clone(), b"JUNK".to_vec()].concat();
    let start = junk.len();
    let images = set(junk, generic);
    let lab = Scratch::new();
    lab.file("boot.img", &images[0]);
    lab.file("vendor_boot.img", &images[1]);

    let json: serde_json::Value =
        serde_json::from_str(&lab.ok("info --json boot.img vendor_boot.img")).unwrap();
    let parts = json["initramfs"]["parts"].as_array().unwrap();
    assert_eq!([&parts[0]["image"], &parts[1]["image"]], [1, 0]);
    assert_eq!(parts[0]["stops"]["reason"], "junk");
    assert_eq!(parts[0]["stops"]["offset"], vendor.len());
    assert_eq!(parts[1]["offset"], start);
    assert_eq!(parts[1]["segments"][0]["reach"], "never");

    let text = lab.ok("info boot.img vendor_boot.img");
    let page = &text[text.find("initramfs: 2 ramdisks").unwrap()..];
    assert!(page.find("vendor_boot.img").unwrap() < page.find("the kernel stops here").unwrap());
    // One ramdisk without damage needs no page.
    assert!(!lab.ok("info boot.img").contains("initramfs:"));
}

//! The results are read back before they are written: where the segment stands, what the kernel
//! makes of the whole set, and of every part of it that may be flashed.

use crate::common;

use common::archives::{packed, vendor_boot};
use common::{AARCH64, cpio, edited, elf, fixture, message, with_cmdline, with_section};
use vfioboot::bootset::{BootSet, Spot};
use vfioboot::compression::Format;
use vfioboot::image::{Chunk, Image, ImageKind, Output, SectionName};
use vfioboot::patch::{self, Error, HookChoice, HookKind, Options, Plan, Runtimes, Unproven};
use vfioboot::ramdisk::tree::read_file;
use vfioboot::ramdisk::{Limits, find_ours};

fn image(name: &str) -> Vec<u8> {
    fixture(&format!("images/{name}.img"))
}

const RUNTIME: &str = "/vfioboot/init";

fn planned<T>(
    set: &[Vec<u8>],
    change: impl FnOnce(&mut Options<'_>),
    look: impl FnOnce(Result<Plan<'_>, Error>) -> T,
) -> T {
    let runtime = elf(AARCH64);
    let mut options = Options::new(vec!["1b36:0010".parse().unwrap()], Runtimes::given(&runtime));
    change(&mut options);
    let images: Vec<_> = set.iter().map(|bytes| Image::parse(bytes).unwrap()).collect();
    look(patch::plan(&BootSet::from_images(&images), &options))
}

/// The set after a patch, and which images changed.
fn patched(set: &[Vec<u8>], hook: HookChoice) -> (Vec<Vec<u8>>, Vec<usize>) {
    planned(
        set,
        |options| options.hook = hook,
        |plan| {
            let plan = plan.unwrap_or_else(|error| panic!("{}", message(&error)));
            let mut after = set.to_vec();
            let mut changed = Vec::new();
            for (index, image) in plan.images.iter().enumerate() {
                if let Some(output) = &image.output {
                    after[index] = output.to_vec();
                    changed.push(index);
                }
            }
            (after, changed)
        },
    )
}

/// What the kernel starts with these images, and whether it finds that: by the ramdisks joined in
/// memory, without the code that proves a plan.
fn starts(set: &[Vec<u8>]) -> (String, bool) {
    let images: Vec<_> = set.iter().map(|bytes| Image::parse(bytes).unwrap()).collect();
    let boots = BootSet::from_images(&images);
    let memory: Vec<u8> =
        boots.in_memory_order().into_iter().flat_map(|own| own.bytes.iter().copied()).collect();
    let kinds = [ImageKind::VendorBoot, ImageKind::Boot];
    let of_kind = |kind| images.iter().filter(move |image: &&Image<'_>| image.kind() == kind);
    let lines = kinds.into_iter().flat_map(of_kind);
    let lines = lines.map(|image| String::from_utf8(image.header().unwrap().cmdline()).unwrap());
    let words: Vec<String> =
        lines.flat_map(|line| line.split(' ').map(str::to_owned).collect::<Vec<_>>()).collect();
    let last = words.iter().rev().find_map(|word| word.strip_prefix("rdinit="));
    let program = last.unwrap_or("/init").to_owned();
    let found = read_file(&memory, program.as_bytes(), &mut Vec::new(), Limits::default()).is_ok();
    (program, found)
}

/// An init_boot, a boot without a ramdisk and a vendor_boot, compressed in this format.
fn gki(format: Format) -> Vec<Vec<u8>> {
    let archive = |entries: &[(&str, &[u8])]| packed(Some(format), &cpio(entries));
    let init = archive(&[("init", b"#!generic")]);
    let vendor = archive(&[("lib/", b""), ("lib/modules/", b""), ("lib/modules/a", b"a")]);
    vec![
        with_section(&image("init_boot-v4"), SectionName::Ramdisk, init),
        image("boot-v4"),
        with_cmdline(&vendor_boot(&[("", vendor)]), "console=ttyS0"),
    ]
}

fn formats() -> impl Iterator<Item = Format> {
    Format::all().filter(|format| format.rd_symbol().is_some())
}

#[test]
fn every_part_of_a_patched_set_boots_with_the_originals_of_the_rest() {
    for format in formats() {
        let set = gki(format);
        for hook in [HookChoice::Auto, HookChoice::Init] {
            for given in [&set[..], &set[..2]] {
                let (after, changed) = patched(given, hook);
                assert!(!changed.is_empty());
                for mask in 0..1usize << changed.len() {
                    let mut mix = given.to_vec();
                    for (bit, index) in changed.iter().enumerate() {
                        if mask >> bit & 1 == 1 {
                            mix[*index].clone_from(&after[*index]);
                        }
                    }
                    let (program, found) = starts(&mix);
                    assert!(found, "{format} {hook:?}: {mask:b} starts {program}");
                }
            }
        }
    }
}

#[test]
fn the_word_and_the_runtime_are_in_vendor_boot() {
    let (after, changed) = patched(&gki(Format::Lz4Legacy), HookChoice::Auto);
    assert_eq!(changed, [2]);
    assert_eq!(starts(&after), (RUNTIME.to_owned(), true));
}

#[test]
fn the_proof_is_data() {
    let set = gki(Format::Gzip);
    planned(
        &set,
        |_| {},
        |plan| {
            let proof = plan.unwrap().proof;
            assert_eq!(proof.files, ["/vfioboot/boot.toml", RUNTIME, "/vfioboot/undo"]);
            assert_eq!((proof.unchanged, proof.shadowed.len()), (4, 0));
            assert_eq!(proof.words, ["rdinit=/vfioboot/init"]);
            assert_eq!(proof.undo.len(), 1);
            let original = Chunk::borrowed(&set[2]);
            assert_eq!(proof.undo[0].sha256, Output::from_chunks(vec![original]).sha256());
            assert_eq!(proof.steps.len(), 1);
            assert_eq!((proof.steps[0].starts.as_str(), proof.steps[0].boots), (RUNTIME, true));
        },
    );
}

/// Asked for, although the file and its name are in different images.
#[test]
fn two_images_that_need_each_other_are_proven_in_the_order_of_flashing() {
    let set = gki(Format::Gzip);
    planned(
        &set[..2],
        |options| options.hook = HookChoice::Rdinit,
        |plan| {
            let steps = plan.unwrap().proof.steps;
            let seen: Vec<_> =
                steps.iter().map(|step| (step.flashed.clone(), step.boots)).collect();
            assert_eq!(seen, [(vec![0], true), (vec![1], false), (vec![0, 1], true)]);
        },
    );
}

/// What `prove_again` says of a plan whose result is another one.
fn tampered(set: &[Vec<u8>], index: usize, change: impl Fn(&[u8]) -> Vec<u8>) -> Option<Error> {
    let runtime = elf(AARCH64);
    let options = Options::new(vec!["1b36:0010".parse().unwrap()], Runtimes::given(&runtime));
    let images: Vec<_> = set.iter().map(|bytes| Image::parse(bytes).unwrap()).collect();
    let set = BootSet::from_images(&images);
    let mut plan = patch::plan(&set, &options).unwrap();
    let result = plan.images[index].output.as_ref().unwrap().to_vec();
    plan.images[index].output = Some(Output::from_chunks(vec![Chunk::owned(change(&result))]));
    patch::prove_again(&set, &plan).err()
}

#[test]
fn a_result_that_breaks_a_promise_is_not_proven() {
    let set = gki(Format::Gzip);
    let vendor = |change: &dyn Fn(&[u8]) -> Vec<u8>| tampered(&set, 2, change);
    assert!(vendor(&|bytes| bytes.to_vec()).is_none());
    // The original.
    assert!(matches!(vendor(&|_| set[2].clone()), Some(Error::NotPatched)));
    // Another device tree, another ramdisk, a word less, one more file.
    let boot = [image("boot-v2-gzip-dtbo")];
    let dtb = tampered(&boot, 0, |bytes| with_section(bytes, SectionName::Dtb, vec![1; 64]));
    assert!(dtb.is_some());
    let without = |bytes: &[u8]| with_cmdline(bytes, "rdinit=/vfioboot/init");
    assert!(vendor(&without).is_some());
    let unnamed = |bytes: &[u8]| with_cmdline(bytes, "console=ttyS0");
    assert!(vendor(&unnamed).is_some());
    let more = tampered(&boot, 0, |bytes| {
        let ramdisk = Image::parse(bytes).unwrap().section(SectionName::Ramdisk).unwrap().to_vec();
        let more = packed(Some(Format::Gzip), &cpio(&[("more", b"x")]));
        with_section(bytes, SectionName::Ramdisk, [ramdisk, more].concat())
    });
    assert!(more.is_some());
}

// --- reach ------------------------------------------------------------------------------------

fn lz4(name: &str) -> Vec<u8> {
    packed(Some(Format::Lz4Legacy), &cpio(&[(name, b"lz4")]))
}

fn gzip(name: &str) -> Vec<u8> {
    packed(Some(Format::Gzip), &cpio(&[(name, b"gzip")]))
}

/// Sets in which the kernel stops after an lz4_legacy stream that has /init.
fn stopping() -> [(&'static str, Vec<Vec<u8>>); 3] {
    let ramdisk = |bytes: Vec<u8>| with_section(&image("boot-v2-raw"), SectionName::Ramdisk, bytes);
    let boot = with_section(&image("boot-v4-ramdisk"), SectionName::Ramdisk, gzip("other"));
    [
        ("in one ramdisk", vec![ramdisk([lz4("init"), gzip("other")].concat())]),
        ("over images", vec![vendor_boot(&[("", lz4("init"))]), boot]),
        ("over fragments", vec![vendor_boot(&[("", lz4("init")), ("b", gzip("other"))])]),
    ]
}

#[test]
fn a_segment_goes_where_the_kernel_reaches_it() {
    for (name, set) in stopping() {
        let (after, changed) = patched(&set, HookChoice::Auto);
        assert_eq!(changed, [0], "{name}");
        let images: Vec<_> = after.iter().map(|bytes| Image::parse(bytes).unwrap()).collect();
        let boots = BootSet::from_images(&images);
        assert!(boots.tree().unwrap().find(RUNTIME.as_bytes(), false).is_some(), "{name}");
        let first = boots.ramdisks()[0].bytes;
        assert!(find_ours(first).is_some(), "{name}");
        let back = patch::unpatch(&boots).unwrap();
        assert!(back[0].as_ref().unwrap().to_vec() == set[0], "{name}");
    }
}

#[test]
fn a_tree_ends_where_the_kernel_stops() {
    for (name, set) in stopping() {
        let images: Vec<_> = set.iter().map(|bytes| Image::parse(bytes).unwrap()).collect();
        let boots = BootSet::from_images(&images);
        let tree = boots.tree().unwrap();
        assert!(tree.find(b"init", false).is_some(), "{name}");
        assert!(tree.find(b"other", false).is_none(), "{name}");
    }
}

#[test]
fn damage_in_front_of_every_ramdisk_is_a_refusal() {
    let mut damaged = gzip("vendor");
    let end = damaged.len() - 6;
    damaged[end] ^= 1;
    let set = [vendor_boot(&[("", damaged)]), gki(Format::Gzip).remove(0)];
    planned(&set, |_| {}, |plan| assert!(plan.is_err()));
}

// --- a second segment -------------------------------------------------------------------------

/// What is where in the ramdisks of a set: the image of each that carries a segment of ours.
fn carriers(set: &[Vec<u8>]) -> Vec<Spot> {
    let images: Vec<_> = set.iter().map(|bytes| Image::parse(bytes).unwrap()).collect();
    let boots = BootSet::from_images(&images);
    let ours = boots.ramdisks().iter().filter(|own| find_ours(own.bytes).is_some());
    ours.map(|own| own.spot).collect()
}

/// A set in which Magisk's ramdisk comes after the one with the runtime.
fn with_overlay(files: &[(&str, &[u8])]) -> Vec<Vec<u8>> {
    let mut generic: Vec<(&str, &[u8])> = vec![
        (".backup/", b""),
        (".backup/.magisk", b"KEEPVERITY=true\n"),
        (".backup/init", b"#!original"),
        ("init", b"#!magisk"),
        ("overlay.d/", b""),
        ("overlay.d/sbin/", b""),
        ("overlay.d/sbin/magisk.xz", b"x"),
    ];
    generic.extend(files);
    let generic = packed(Some(Format::Gzip), &cpio(&generic));
    let mut set = gki(Format::Gzip);
    set[0] = with_section(&set[0], SectionName::Ramdisk, generic);
    set
}

#[test]
fn new_files_for_magisk_are_with_the_runtime_although_its_directories_come_later() {
    let set = with_overlay(&[]);
    let (after, changed) = patched(&set, HookChoice::Auto);
    assert_eq!(changed, [2]);
    let images: Vec<_> = after.iter().map(|bytes| Image::parse(bytes).unwrap()).collect();
    let boots = BootSet::from_images(&images);
    let tree = boots.tree().unwrap();
    for path in ["overlay.d/vfioboot.rc", "overlay.d/sbin/vfiorun", "overlay.d/sbin/magisk.xz"] {
        assert!(tree.find(path.as_bytes(), false).is_some(), "{path}");
    }
}

#[test]
fn a_file_that_replaces_one_of_a_later_ramdisk_is_behind_it() {
    let set = with_overlay(&[("overlay.d/vfioboot.rc", b"old")]);
    let (after, changed) = patched(&set, HookChoice::Auto);
    assert_eq!(changed, [0, 2]);
    assert_eq!(carriers(&after).len(), 2);
    // Each is undone alone, and both together.
    for given in [&after[..], &after[..1], &after[2..]] {
        let images: Vec<_> = given.iter().map(|bytes| Image::parse(bytes).unwrap()).collect();
        let back = patch::unpatch(&BootSet::from_images(&images)).unwrap();
        for (image, original) in std::iter::zip(&images, back) {
            let Some(original) = original else { continue };
            let expected = if image.kind() == ImageKind::InitBoot { &set[0] } else { &set[2] };
            assert!(original.to_vec() == *expected, "{:?}", image.kind());
        }
    }
    // And patched again.
    assert!(patched(&after, HookChoice::Auto).0 == after);
    for mask in [vec![0], vec![2]] {
        let mut mix = set.clone();
        for index in mask {
            mix[index].clone_from(&after[index]);
        }
        assert!(starts(&mix).1);
    }
}

// --- the command line -------------------------------------------------------------------------

#[test]
fn words_that_the_kernel_would_cut_off_are_refused() {
    let set = [image("boot-v4-ramdisk"), vendor_boot(&[("", gzip("vendor"))])];
    let full = |boot: usize, vendor: usize| {
        [with_cmdline(&set[0], &"b".repeat(boot)), with_cmdline(&set[1], &"v".repeat(vendor))]
    };
    let refused = |set: &[Vec<u8>]| {
        planned(
            set,
            |_| {},
            |plan| match plan {
                Ok(_) => false,
                Err(Error::NotProven(Unproven::LineTooLong { kept, .. })) => kept == 2047,
                Err(error) => panic!("{}", message(&error)),
            },
        )
    };
    // "rdinit=/vfioboot/init " takes 22 bytes.
    assert!(!refused(&full(1024, 2047 - 1024 - 1 - 22)));
    assert!(refused(&full(1024, 2047 - 1024 - 1 - 21)));
    // Such a device has a kernel that takes more.
    assert!(!refused(&full(1024, 2047 - 1024)));
}

/// With the init hook no word names a file, so vendor_boot may have the words and init_boot the
/// files.
#[test]
fn words_that_name_no_file_may_be_in_another_image() {
    let set = gki(Format::Gzip);
    let change = |options: &mut Options<'_>| {
        (options.hook, options.parameters) = (HookChoice::Init, vec!["extra=1".to_owned()]);
    };
    planned(&set, change, |plan| {
        let plan = plan.unwrap();
        assert_eq!(plan.hook.kind, HookKind::Init);
        assert_eq!(plan.proof.shadowed, ["/init"]);
        assert!(plan.proof.steps.iter().all(|step| step.boots));
        assert_eq!(plan.proof.steps.len(), 3);
    });
}

#[test]
fn a_header_that_the_patch_does_not_name_is_proven_too() {
    let set = [edited(&image("boot-v2-gzip-dtbo"), |_| {})];
    planned(
        &set,
        |_| {},
        |plan| {
            let proof = plan.unwrap().proof;
            assert!(proof.unchanged > 0);
            assert_eq!(proof.avb, None);
        },
    );
}

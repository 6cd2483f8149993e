//! What other programs do to patched images, and what a patch makes of that: their work is kept.

use crate::common::{self, archives, flows, peers};

use common::{AARCH64, cpio, elf, kernel, pipe, with_cmdline, with_section};
use flows::image;
use peers::{Files, Peer, listing, ramdisk_of, rebuilt, with, with_ramdisk};
use vfioboot::bootset::{BootSet, Ramdisk};
use vfioboot::compression::lz4_legacy::MAGIC;
use vfioboot::compression::{Format, decode_all, encode};
use vfioboot::image::{Image, ImageKind, SectionName};
use vfioboot::patch::{self, Error, HookChoice, Options, Plan, Runtimes, Warning};
use vfioboot::ramdisk::find_ours;

fn looked_at<T>(set: &[Vec<u8>], look: impl FnOnce(&BootSet<'_>) -> T) -> T {
    let images: Vec<_> = set.iter().map(|bytes| Image::parse(bytes).unwrap()).collect();
    look(&BootSet::from_images(&images))
}

fn planned<T>(
    set: &[Vec<u8>],
    hook: HookChoice,
    look: impl FnOnce(Result<Plan<'_>, Error>) -> T,
) -> T {
    let runtime = elf(AARCH64);
    let mut options = Options::new(vec!["1b36:0010".parse().unwrap()], Runtimes::given(&runtime));
    options.hook = hook;
    looked_at(set, |set| look(patch::plan(set, &options)))
}

fn patched(set: &[Vec<u8>], hook: HookChoice) -> Vec<Vec<u8>> {
    planned(set, hook, |plan| {
        let plan = plan.unwrap_or_else(|error| panic!("{}", common::message(&error)));
        let outputs = std::iter::zip(&plan.images, set);
        outputs.map(|(new, old)| new.output.as_ref().map_or(old.clone(), |o| o.to_vec())).collect()
    })
}

fn removed(set: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, Error> {
    looked_at(set, |boot| {
        let removed = std::iter::zip(patch::remove(boot)?, set);
        Ok(removed.map(|(new, old)| new.map_or(old.clone(), |own| own.output.to_vec())).collect())
    })
}

fn unpatched(set: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, Error> {
    looked_at(set, |boot| {
        let originals = std::iter::zip(patch::unpatch(boot)?, set);
        Ok(originals.map(|(new, old)| new.map_or(old.clone(), |own| own.to_vec())).collect())
    })
}

fn cmdline(image: &[u8]) -> Vec<u8> {
    Image::parse(image).unwrap().header().map(|header| header.cmdline()).unwrap_or_default()
}

/// Name, images and hook.
type Set = (String, Vec<Vec<u8>>, HookChoice);

fn sets() -> Vec<Set> {
    let mut sets = Vec::new();
    for name in
        ["boot-v0-gzip", "boot-v2-lz4_legacy", "boot-v2-raw", "boot-v2-zstd", "boot-v4-ramdisk"]
    {
        for hook in [HookChoice::Rdinit, HookChoice::Init] {
            sets.push((name.to_owned(), vec![image(name)], hook));
        }
    }
    for (name, bytes) in [("legacy", flows::rootfs()), ("magisk", flows::magisk_rootfs())] {
        let bytes = with_section(
            &bytes,
            SectionName::Ramdisk,
            encode(Format::Gzip, &ramdisk_of(&bytes).unwrap(), None).unwrap(),
        );
        for hook in [HookChoice::Rdinit, HookChoice::Init] {
            sets.push((name.to_owned(), vec![bytes.clone()], hook));
        }
    }
    let (init_boot, vendor_boot) = (image("init_boot-v4"), image("vendor_boot-v4"));
    let vendor_boot = with_cmdline(&vendor_boot, "console=ttyS0 rdinit=/init");
    sets.push(("init_boot".to_owned(), vec![init_boot.clone()], HookChoice::Auto));
    sets.push(("vendor_boot".to_owned(), vec![vendor_boot.clone()], HookChoice::Auto));
    sets.push(("both".to_owned(), vec![init_boot, vendor_boot], HookChoice::Auto));
    sets
}

/// The images of a patched set, those with the patch rebuilt by a peer that makes a change as well.
fn rebuilt_set(
    set: &[Vec<u8>],
    patched: &[Vec<u8>],
    peer: Peer,
    change: &dyn Fn(&mut Files),
) -> Vec<Vec<u8>> {
    let images = std::iter::zip(set, patched);
    let images = images.map(|(before, after)| match ramdisk_of(before) != ramdisk_of(after) {
        true => with_ramdisk(after, &|ramdisk| rebuilt(ramdisk, peer, change)),
        false => after.clone(),
    });
    images.collect()
}

/// The peer's change.
fn added(files: &mut Files) {
    with(files, "peer.txt", b"of another program");
    with(files, "zz/vfio.txt", b"of another program");
}

/// A set, and what a peer has made of it.
struct Rebuilt {
    name: String,
    set: Vec<Vec<u8>>,
    hook: HookChoice,
    /// Patched, then rebuilt.
    given: Vec<Vec<u8>>,
    /// Rebuilt without having been patched.
    expected: Vec<Vec<u8>>,
}

fn rebuilt_sets() -> Vec<Rebuilt> {
    let mut all = Vec::new();
    for (name, set, hook) in sets() {
        let after = patched(&set, hook);
        for peer in Peer::ALL {
            let given = rebuilt_set(&set, &after, peer, &added);
            let expected = std::iter::zip(&set, &after).map(|(before, after)| {
                match ramdisk_of(before) != ramdisk_of(after) {
                    true => with_ramdisk(before, &|ramdisk| rebuilt(ramdisk, peer, &added)),
                    false => before.clone(),
                }
            });
            let name = format!("{name}, {hook:?}, {peer:?}");
            let (set, expected) = (set.clone(), expected.collect());
            all.push(Rebuilt { name, set, hook, given, expected });
        }
    }
    all
}

fn assert_same_files(name: &str, now: &[Vec<u8>], expected: &[Vec<u8>]) {
    for (now, expected) in std::iter::zip(now, expected) {
        assert_eq!(cmdline(now), cmdline(expected), "{name}");
        let files = |image: &[u8]| {
            let mut files = listing(&ramdisk_of(image).unwrap_or_default());
            // Directories that are there for the patch may stay; they change nothing.
            files.retain(|path, _| !path.starts_with("overlay.d") || path.contains('.'));
            files
        };
        assert_eq!(files(now), files(expected), "{name}");
    }
}

#[test]
fn a_rebuilt_image_is_known_by_its_content_and_has_no_exact_way_back() {
    for Rebuilt { name, given, .. } in rebuilt_sets() {
        looked_at(&given, |set| {
            assert!(patch::is_patched(set).unwrap(), "{name}");
            let marks: Vec<_> = set.ramdisks().iter().filter_map(Ramdisk::mark).collect();
            assert_eq!(marks.len(), 1, "{name}");
            assert!(!marks[0].in_own_segment, "{name}");
        });
        let error = unpatched(&given).unwrap_err();
        assert!(matches!(error, Error::Undo { .. }), "{name}: {error}");
    }
}

#[test]
fn remove_takes_out_the_patch_and_keeps_the_peers_work() {
    for Rebuilt { name, given, expected, .. } in rebuilt_sets() {
        let now = removed(&given).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_same_files(&name, &now, &expected);
        let error = removed(&now).unwrap_err();
        assert!(matches!(error, Error::NotPatched), "{name}: {error}");
    }
}

#[test]
fn patch_starts_over_and_undo_leads_to_what_remove_gives() {
    for Rebuilt { name, set, hook, given, expected } in rebuilt_sets() {
        let again = patched(&given, hook);
        planned(&given, hook, |plan| {
            let over = |warning: &&Warning| matches!(warning, Warning::StartedOver { .. });
            let started_over = plan.unwrap().warnings.iter().filter(over).count();
            assert_eq!(started_over, set.len().min(1), "{name}");
        });
        let back = unpatched(&again).unwrap();
        assert_same_files(&name, &back, &expected);
        let same = std::iter::zip(&back, removed(&given).unwrap());
        assert!(same.into_iter().all(|(back, removed)| *back == removed), "{name}");
        let twice = patched(&again, hook);
        assert!(again == twice, "{name}");
        // There is one runtime, and it does not stand for the original init.
        let ramdisks = again.iter().filter_map(|image| ramdisk_of(image));
        let files: Vec<_> = ramdisks.flat_map(|ramdisk| listing(&ramdisk)).collect();
        let runtimes = files.iter().filter(|(_, (.., data))| *data == elf(AARCH64)).count();
        assert_eq!(runtimes, 1, "{name}");
        assert!(files.iter().any(|(path, _)| path == "peer.txt"), "{name}");
    }
}

/// Magisk and KernelSU put a program of their own at /init and the one that was there aside.
fn moved(path: &'static str, packed: bool) -> impl Fn(&mut Files) {
    move |files| {
        let init = files.iter().rfind(|(name, _)| name == "init").unwrap().1.1.clone();
        let init = if packed { encode(Format::Xz, &init, None).unwrap() } else { init };
        with(files, path, &init);
        with(files, "init", b"\x7fELF of a root manager");
        with(files, ".backup/.magisk", b"KEEPVERITY=true\n");
    }
}

#[test]
fn where_a_root_manager_keeps_the_runtime_as_the_original_init_that_comes_back() {
    let original = image("init_boot-v4");
    let before = listing(&ramdisk_of(&original).unwrap());
    for (path, packed) in [(".backup/init", false), (".backup/init.xz", true), ("init.real", false)]
    {
        let set = [original.clone()];
        let after = patched(&set, HookChoice::Init);
        let given = rebuilt_set(&set, &after, Peer::LastWins, &moved(path, packed));
        let now = removed(&given).unwrap();
        let files = listing(&ramdisk_of(&now[0]).unwrap());
        let (mode, _, _, kept) = &files[path];
        let kept = match packed {
            true => decode_all(Format::Xz, kept, 1 << 20).unwrap().0,
            false => kept.clone(),
        };
        assert_eq!((*mode, &kept), (before["init"].0, &before["init"].3), "{path}");
        assert_eq!(files["init"].3, b"\x7fELF of a root manager");
        // And again the patch has the root manager's for the original.
        let again = patched(&given, HookChoice::Init);
        let again = listing(&ramdisk_of(&again[0]).unwrap());
        assert_eq!(again["vfioboot/init.orig"].3, b"\x7fELF of a root manager");
        assert_eq!(again["init"].3, elf(AARCH64));
    }
}

#[test]
fn a_runtime_is_never_the_original_of_anything() {
    let set = [image("init_boot-v4")];
    let after = patched(&set, HookChoice::Init);
    let lose = |files: &mut Files| {
        files.retain(|(name, _)| !name.starts_with("vfioboot"));
    };
    let lose_original = |files: &mut Files| {
        files.retain(|(name, _)| name != "vfioboot/init.orig");
    };
    for given in [
        rebuilt_set(&set, &after, Peer::LastWins, &lose),
        rebuilt_set(&set, &after, Peer::LastWins, &lose_original),
    ] {
        for hook in [HookChoice::Init, HookChoice::Auto] {
            let error = planned(&given, hook, |plan| plan.map(drop).unwrap_err());
            assert!(matches!(error, Error::InitLost { .. }), "{error}");
        }
    }
    // Nor is it what rdinit= executes afterwards.
    let runtime = cpio(&[("init", &elf(AARCH64))]);
    let given = [with_section(&image("boot-v2-raw"), SectionName::Ramdisk, runtime)];
    let error = planned(&given, HookChoice::Rdinit, |plan| plan.map(drop).unwrap_err());
    assert!(matches!(error, Error::InitLost { .. }), "{error}");
}

#[test]
fn a_hard_link_that_the_peer_dropped_is_a_file_again() {
    let mut archive = vfioboot::ramdisk::cpio::CpioWriter::new(Vec::new());
    archive.dir(b"bin", 0o755).unwrap();
    archive.linked(&[b"bin/busybox", b"init"], 0o755, b"program").unwrap();
    let ramdisk = archive.finish().unwrap();
    let set = [with_section(&image("boot-v2-raw"), SectionName::Ramdisk, ramdisk)];
    let after = patched(&set, HookChoice::Init);
    let given = rebuilt_set(&set, &after, Peer::LastWins, &added);
    let files = listing(&ramdisk_of(&removed(&given).unwrap()[0]).unwrap());
    assert_eq!(files["init"].3, b"program");
}

#[test]
fn a_kernel_that_was_replaced_since_stays_and_the_ramdisk_is_the_original() {
    for name in ["boot-v0-gzip", "boot-v2-lz4_legacy", "boot-v2-raw", "boot-v4-ramdisk"] {
        let original = image(name);
        let after = patched(std::slice::from_ref(&original), HookChoice::Auto);
        let given = [with_section(&after[0], SectionName::Kernel, kernel("CONFIG_VFIO_PCI=y\n"))];
        let expected = with_section(&original, SectionName::Kernel, kernel("CONFIG_VFIO_PCI=y\n"));
        let now = removed(&given).unwrap().remove(0);
        let (now, expected) = (Image::parse(&now).unwrap(), Image::parse(&expected).unwrap());
        let ramdisk = |image: &Image<'_>| {
            let bytes = image.section(SectionName::Ramdisk).unwrap();
            let padding = bytes.iter().rev().take_while(|byte| **byte == 0).count();
            bytes[..bytes.len() - padding.min(4)].to_vec()
        };
        assert_eq!(ramdisk(&now), ramdisk(&expected), "{name}");
        assert_eq!(now.section(SectionName::Kernel), expected.section(SectionName::Kernel));
        assert_eq!(now.header().unwrap().cmdline(), expected.header().unwrap().cmdline());
        assert!(patched(&given, HookChoice::Auto)[0].len() >= given[0].len() / 2);
    }
}

#[test]
fn what_others_put_on_the_command_line_stays_there() {
    for (before, added, expected) in [
        ("quiet", " more=1", "quiet more=1"),
        ("rdinit=/early quiet", " more=1", "rdinit=/early quiet more=1"),
        ("vfio-pci.ids=8086:1234 -- single", "", "vfio-pci.ids=8086:1234 -- single"),
        ("", " more=1", "more=1"),
    ] {
        let ramdisk = cpio(&[("init", b"#!"), ("early", b"#!")]);
        let set = with_section(&image("boot-v2-raw"), SectionName::Ramdisk, ramdisk);
        let set = with_section(&set, SectionName::Kernel, kernel("CONFIG_VFIO_PCI=y\n"));
        let after = patched(&[with_cmdline(&set, before)], HookChoice::Rdinit);
        let line = String::from_utf8(cmdline(&after[0])).unwrap();
        assert!(line.contains("rdinit=/vfioboot/init"), "{line}");
        let given = [with_cmdline(&after[0], &format!("{line}{added}"))];
        let given = if added.is_empty() {
            rebuilt_set(&[set], &given, Peer::LastWins, &self::added)
        } else {
            given.to_vec()
        };
        let now = String::from_utf8(cmdline(&removed(&given).unwrap()[0])).unwrap();
        assert_eq!(now.trim(), expected, "{line}");
    }
}

#[test]
fn an_image_that_was_replaced_by_its_original_is_left_alone() {
    let set = [image("init_boot-v4"), image("vendor_boot-v4")];
    let after = patched(&set, HookChoice::Init);
    assert!(unpatched(&[after[0].clone(), set[1].clone()]).unwrap() == set);
    assert!(removed(&[after[0].clone(), set[1].clone()]).unwrap() == set);
}

#[test]
fn words_without_the_ramdisk_that_they_name_are_taken_off() {
    let set = [image("boot-v2-raw")];
    let after = patched(&set, HookChoice::Rdinit);
    // Another program has put the original ramdisk back.
    let given = [with_ramdisk(&after[0], &|_| ramdisk_of(&set[0]).unwrap())];
    let error = unpatched(&given).unwrap_err();
    assert!(matches!(error, Error::RecordLost(ImageKind::Boot)), "{error}");
    assert_same_files("remove", &removed(&given).unwrap(), &set);
    let again = patched(&given, HookChoice::Rdinit);
    assert_eq!(listing(&ramdisk_of(&again[0]).unwrap())["vfioboot/init"].3, elf(AARCH64));
}

/// A root manager starts from the stock init_boot; vendor_boot still has the words.
#[test]
fn a_set_whose_ramdisk_was_replaced_is_patched_anew() {
    let vendor_boot = with_cmdline(&image("vendor_boot-v4"), "console=ttyS0");
    let stock = cpio(&[("init", b"#!"), ("first_stage_ramdisk/", b"")]);
    let init_boot = with_section(&image("init_boot-v4"), SectionName::Ramdisk, stock);
    // Earlier versions put the words there, and the files into init_boot.
    let words = with_cmdline(&vendor_boot, "rdinit=/vfioboot/init console=ttyS0");
    let given = [init_boot.clone(), words.clone()];
    let error = unpatched(&given).unwrap_err();
    assert!(matches!(error, Error::RecordLost(ImageKind::VendorBoot)), "{error}");
    assert_same_files("remove", &removed(&given).unwrap(), &[init_boot, vendor_boot.clone()]);
    let again = patched(&given, HookChoice::Auto);
    let back = unpatched(&again).unwrap();
    assert_eq!(cmdline(&back[1]), cmdline(&vendor_boot));
    // Without init_boot nobody knows whether it has the files.
    let error = unpatched(std::slice::from_ref(&words)).unwrap_err();
    assert!(matches!(error, Error::CarrierMissing(ImageKind::VendorBoot)), "{error}");
    assert_eq!(cmdline(&removed(&[words]).unwrap()[0]), b"console=ttyS0");
}

/// `cpio` makes hard links again of what was one, with the data at the last name.
#[test]
fn a_runtime_that_is_a_hard_link_without_data_of_its_own_is_known() {
    let mut archive = vfioboot::ramdisk::cpio::CpioWriter::new(Vec::new());
    archive.dir(b"sbin", 0o755).unwrap();
    archive.linked(&[b"sbin/vfiorun", b"init"], 0o755, &elf(AARCH64)).unwrap();
    archive.dir(b"vfioboot", 0o755).unwrap();
    let boot_file = b"version = 1\ninit = \"/init\"\nshadows = [\"/sbin/vfiorun\"]\n";
    archive.file(b"vfioboot/boot.toml", 0o644, boot_file).unwrap();
    archive.file(b"vfioboot/init.orig", 0o750, b"#!original").unwrap();
    let ramdisk = archive.finish().unwrap();
    let given = [with_section(&image("boot-v2-raw"), SectionName::Ramdisk, ramdisk)];
    let files = listing(&ramdisk_of(&removed(&given).unwrap()[0]).unwrap());
    let names: Vec<&str> = files.keys().map(String::as_str).collect();
    assert_eq!(names, ["init", "sbin"]);
    assert_eq!((files["init"].0, &files["init"].3[..]), (0o100_750, &b"#!original"[..]));
}

#[test]
fn a_list_of_modules_is_as_it_was() {
    let list: &[u8] = b"a.ko\n";
    let files: [(&str, &[u8]); 4] = [
        ("init", b"#!"),
        ("lib/modules/modules.load", b"vfio.ko\na.ko\n"),
        ("vfioboot/original/lib/modules/modules.load", list),
        ("lib/modules/vfioboot/vfio.ko", b"module"),
    ];
    let boot_file = b"version = 1\ninit = \"/init\"\nfuture = 1\n\
                      shadows = [\"/lib/modules/modules.load\", \"/lib/modules/modules.options\"]\n";
    let more: [(&str, &[u8]); 2] = [
        ("lib/modules/modules.options", b"options vfio_pci ids=1\n"),
        ("vfioboot/boot.toml", boot_file),
    ];
    let image = image("boot-v2-raw");
    let given = with_section(&image, SectionName::Ramdisk, cpio(&[&files[..], &more].concat()));
    let now = listing(&ramdisk_of(&removed(&[given]).unwrap()[0]).unwrap());
    let names: Vec<&str> = now.keys().map(String::as_str).collect();
    assert_eq!(names, ["init", "lib/modules/modules.load"]);
    assert_eq!(now["lib/modules/modules.load"].3, list);
}

/// Earlier versions began a stream of their own.
#[test]
fn a_segment_with_a_magic_of_its_own_is_undone_as_well() {
    let original = image("boot-v2-lz4_legacy");
    let after = patched(std::slice::from_ref(&original), HookChoice::Auto).remove(0);
    let earlier = with_ramdisk(&after, &|ramdisk| {
        let ours = find_ours(ramdisk).unwrap();
        let magic = MAGIC.to_le_bytes();
        [&ramdisk[..ours.start], &magic, &ramdisk[ours.start..]].concat()
    });
    assert!(unpatched(std::slice::from_ref(&earlier)).unwrap()[0] == original);
    assert!(patched(&[earlier], HookChoice::Auto)[0] == after);
}

#[test]
fn an_lz4_ramdisk_stays_one_stream() {
    let before = ramdisk_of(&image("boot-v2-lz4_legacy")).unwrap();
    let after = patched(&[image("boot-v2-lz4_legacy")], HookChoice::Auto).remove(0);
    let ramdisk = ramdisk_of(&after).unwrap();
    let stream = archives::unlz4(&ramdisk);
    assert_eq!((stream.magics, stream.consumed), (1, ramdisk.len()));
    assert!(ramdisk.starts_with(&before));
    assert!(stream.unpacked == pipe("lz4", &["-dc"], &ramdisk));
}

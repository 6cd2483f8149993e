//! `--hook init`: the runtime is where the kernel looks for init, and the original is kept
//! as it was.

use crate::common;

use common::{AARCH64, cpio, elf, fixture, with_cmdline, with_config, with_section};
use vfioboot::bootset::BootSet;
use vfioboot::image::{Image, SectionName};
use vfioboot::patch::{self, HookChoice, HookKind, Options, Plan, Runtimes, Warning};
use vfioboot::ramdisk::Limits;
use vfioboot::ramdisk::cpio::{CpioWriter, FileType, Header};
use vfioboot::ramdisk::tree::{Tree, TreeEntry, read_file};

fn image(name: &str) -> Vec<u8> {
    fixture(&format!("images/{name}.img"))
}

/// A v2 image whose ramdisk this is.
fn with_ramdisk(ramdisk: Vec<u8>) -> Vec<u8> {
    with_section(&image("boot-v2-raw"), SectionName::Ramdisk, ramdisk)
}

fn planned<T>(
    set: &[Vec<u8>],
    hook: HookChoice,
    look: impl FnOnce(Result<Plan<'_>, patch::Error>) -> T,
) -> T {
    let runtime = elf(AARCH64);
    let mut options = Options::new(vec!["1b36:0010".parse().unwrap()], Runtimes::given(&runtime));
    options.hook = hook;
    let images: Vec<_> = set.iter().map(|bytes| Image::parse(bytes).unwrap()).collect();
    look(patch::plan(&BootSet::from_images(&images), &options))
}

fn kind_of(set: &[Vec<u8>]) -> (HookKind, String) {
    planned(set, HookChoice::Auto, |plan| {
        let hook = plan.unwrap_or_else(|error| panic!("{error}")).hook;
        (hook.kind, hook.reason.to_string())
    })
}

fn patched(set: &[Vec<u8>], hook: HookChoice) -> Vec<Vec<u8>> {
    planned(set, hook, |plan| {
        let plan = plan.unwrap_or_else(|error| panic!("{error}"));
        let outputs = std::iter::zip(&plan.images, set);
        outputs.map(|(new, old)| new.output.as_ref().map_or(old.clone(), |o| o.to_vec())).collect()
    })
}

fn ramdisk_of(bytes: &[u8]) -> Vec<u8> {
    Image::parse(bytes).unwrap().section(SectionName::Ramdisk).unwrap().to_vec()
}

fn find(ramdisk: &[u8], path: &str) -> Option<TreeEntry> {
    Tree::read(ramdisk, Limits::default()).unwrap().find(path.as_bytes(), false)
}

fn read(ramdisk: &[u8], path: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    read_file(ramdisk, path.as_bytes(), &mut bytes, Limits::default()).unwrap();
    bytes
}

#[test]
fn rdinit_is_the_choice_where_a_command_line_reaches_the_kernel() {
    assert_eq!(kind_of(&[image("boot-v2-raw")]).0, HookKind::Rdinit);
    assert_eq!(kind_of(&[image("init_boot-v4"), image("vendor_boot-v4")]).0, HookKind::Rdinit);
}

#[test]
fn init_is_the_choice_for_a_kernel_that_ignores_its_command_line() {
    for symbol in ["CMDLINE_FORCE", "CMDLINE_OVERRIDE"] {
        let set = [with_config(&image("boot-v2-raw"), &format!("CONFIG_{symbol}=y\n"))];
        let (kind, reason) = kind_of(&set);
        assert_eq!(kind, HookKind::Init);
        assert!(reason.starts_with("CONFIG_CMDLINE_FORCE=y: the kernel ignores"), "{reason}");
    }
}

#[test]
fn init_is_the_choice_for_init_boot_alone() {
    let (kind, reason) = kind_of(&[image("init_boot-v4")]);
    assert_eq!(kind, HookKind::Init);
    assert!(reason.starts_with("bootloaders take no command line from init_boot"), "{reason}");
}

#[test]
fn the_runtime_is_at_init_and_the_original_in_the_segment() {
    let before = ramdisk_of(&image("boot-v2-raw"));
    let after = ramdisk_of(&patched(&[image("boot-v2-raw")], HookChoice::Init)[0]);
    assert_eq!(read(&after, "/init"), elf(AARCH64));
    assert_eq!(read(&after, "/vfioboot/init.orig"), read(&before, "/init"));
    assert_eq!(find(&after, "/init").unwrap().file_type, FileType::Regular);
    assert_eq!(find(&after, "/vfioboot/init"), None);
    assert!(after.starts_with(&before));
}

#[test]
fn the_command_line_has_no_rdinit_and_is_unchanged() {
    let line = "quiet console=ttyS0";
    let set = [with_cmdline(&image("boot-v2-raw"), line)];
    let after = patched(&set, HookChoice::Init).remove(0);
    let after = Image::parse(&after).unwrap().header().unwrap().cmdline();
    let after = String::from_utf8(after).unwrap();
    assert!(after.starts_with(line) && !after.contains("rdinit"), "{after}");
}

#[test]
fn a_symbolic_link_at_init_is_kept_as_one() {
    let mut archive = CpioWriter::new(Vec::new());
    archive.dir(b"sbin", 0o755).unwrap();
    archive.file(b"sbin/real", 0o755, b"program").unwrap();
    archive.symlink(b"init", b"sbin/real").unwrap();
    let set = [with_ramdisk(archive.finish().unwrap())];
    let after = ramdisk_of(&patched(&set, HookChoice::Init)[0]);
    let original = find(&after, "/vfioboot/init.orig").unwrap();
    assert_eq!((original.file_type, &original.target[..]), (FileType::Symlink, &b"sbin/real"[..]));
    // The runtime did not go where the link led.
    assert_eq!(read(&after, "/sbin/real"), b"program");
}

/// Two names of one file, as `cpio` writes them: the data with the last.
fn hard_linked() -> Vec<u8> {
    let entry = |name: &str, data: &[u8]| {
        let header = Header {
            ino: 7,
            mode: 0o100_755,
            nlink: 2,
            filesize: data.len() as u32,
            namesize: name.len() as u32 + 1,
            ..Header::default()
        };
        let mut bytes = header.to_bytes().to_vec();
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(0);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend_from_slice(data);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    };
    [cpio(&[("bin/", b"")]), entry("init", b""), entry("bin/busybox", b"program"), cpio(&[])]
        .concat()
}

#[test]
fn the_other_name_of_a_hard_linked_init_keeps_its_program() {
    let before = hard_linked();
    assert_eq!(read(&before, "/init"), b"program");
    let after = ramdisk_of(&patched(&[with_ramdisk(before)], HookChoice::Init)[0]);
    assert_eq!(read(&after, "/bin/busybox"), b"program");
    assert_eq!(read(&after, "/init"), elf(AARCH64));
    assert_eq!(find(&after, "/vfioboot/init.orig"), None);
    assert_eq!(find(&after, "/vfioboot/init.link").unwrap().target, b"/bin/busybox");
}

#[test]
fn a_former_rdinit_is_the_program_that_is_shadowed() {
    let ramdisk = cpio(&[("init", b"one"), ("early", b"two")]);
    let set = [with_cmdline(&with_ramdisk(ramdisk), "rdinit=/early")];
    let after = ramdisk_of(&patched(&set, HookChoice::Init)[0]);
    assert_eq!(read(&after, "/early"), elf(AARCH64));
    assert_eq!(read(&after, "/init"), b"one");
    assert_eq!(read(&after, "/vfioboot/init.orig"), b"two");
}

#[test]
fn the_line_built_into_a_kernel_that_forces_it_names_the_program() {
    let ramdisk = cpio(&[("init", b"one"), ("early", b"two")]);
    let config = "CONFIG_CMDLINE_FORCE=y\nCONFIG_CMDLINE=\"quiet rdinit=/early\"\n";
    let set = [with_config(&with_ramdisk(ramdisk), config)];
    let after = ramdisk_of(&patched(&set, HookChoice::Auto)[0]);
    assert_eq!(read(&after, "/vfioboot/init.orig"), b"two");
}

#[test]
fn parameters_that_a_kernel_ignores_are_reported() {
    let config = "CONFIG_CMDLINE_FORCE=y\nCONFIG_VFIO_PCI=y\n";
    let set = [with_config(&image("boot-v2-raw"), config)];
    let before = Image::parse(&set[0]).unwrap().header().unwrap().cmdline();
    planned(&set, HookChoice::Auto, |plan| {
        let plan = plan.unwrap();
        let parameters = "vfio-pci.ids=1b36:0010".to_owned();
        assert!(plan.warnings.contains(&Warning::CmdlineIgnored { parameters }));
        let after = plan.images[0].output.as_ref().unwrap().to_vec();
        assert_eq!(Image::parse(&after).unwrap().header().unwrap().cmdline(), before);
    });
}

#[test]
fn unpatch_takes_it_back() {
    let hard_linked = with_ramdisk(hard_linked());
    for original in [image("boot-v2-raw"), image("boot-v2-lz4_legacy"), hard_linked] {
        let set = patched(std::slice::from_ref(&original), HookChoice::Init);
        let images: Vec<_> = set.iter().map(|bytes| Image::parse(bytes).unwrap()).collect();
        let back =
            patch::unpatch(&BootSet::from_images(&images)).unwrap().remove(0).unwrap().to_vec();
        assert!(back == original);
    }
}

#[test]
fn without_an_init_the_hook_is_refused() {
    let refusals = [(cpio(&[("etc/", b"")]), true), (cpio(&[("init/", b"")]), false)];
    for (ramdisk, missing) in refusals {
        let error =
            planned(&[with_ramdisk(ramdisk)], HookChoice::Init, |plan| plan.map(drop).unwrap_err());
        let expected = match missing {
            true => matches!(error, patch::Error::InitNotInRamdisk { .. }),
            false => matches!(error, patch::Error::InitNotAFile { .. }),
        };
        assert!(expected, "{error}");
    }
}

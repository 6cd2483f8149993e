//! Every command works with the same set: the roles of its images, and its boot flow.

use std::os::unix::fs::symlink;

use serde_json::{Value, json};
use vfioboot::audit::{self, CheckError, Profile, Provenance};
use vfioboot::bootset::{BootSet, File, Role};

use crate::common::cli::Scratch;
use crate::common::flows::{self, beside, image};
use crate::common::{AARCH64, avb, elf, kernel};

/// A directory with these files and the runtime `rt`.
fn scratch(files: &[(&str, Vec<u8>)]) -> Scratch {
    let scratch = Scratch::new();
    scratch.file("rt", &elf(AARCH64));
    files.iter().for_each(|(name, bytes)| scratch.file(name, bytes));
    scratch
}

/// The output of the command, for any exit status.
fn json(scratch: &Scratch, arguments: &str) -> Value {
    let output = scratch.run(arguments).get_output().clone();
    let error = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{arguments}: {error}"))
}

fn texts<'v>(list: &'v Value, key: &str) -> Vec<&'v str> {
    list.as_array().unwrap().iter().map(|item| item[key].as_str().unwrap()).collect()
}

/// `info`, `verify` and `patch` of the files have these images in these roles, and one boot flow.
fn agree(scratch: &Scratch, files: &[&str], expected: &[(&str, Role)]) {
    let arguments = files.join(" ");
    let info = json(scratch, &format!("info --json {arguments}"));
    let verify = json(scratch, &format!("verify --json {arguments}"));
    let patch = format!("patch --runtime rt --device 1b36:0010 --dry-run --json {arguments}");
    let patch = json(scratch, &patch);
    let names: Vec<&str> = expected.iter().map(|(name, _)| *name).collect();
    let roles: Vec<&str> = expected.iter().map(|(_, role)| role.name()).collect();
    assert_eq!(texts(&info["images"], "file"), names, "info");
    assert_eq!(texts(&verify["images"], "file"), names, "verify");
    assert_eq!(patch["files"], json!(names), "patch");
    assert_eq!(info["flow"]["roles"], json!(roles), "info");
    assert_eq!(texts(&patch["plan"]["images"], "role"), roles, "patch");
    assert_eq!(patch["plan"]["flow"], info["flow"]);
    assert_eq!(library(scratch, files), roles_of(expected));
}

fn roles_of(expected: &[(&str, Role)]) -> Vec<Role> {
    expected.iter().map(|(_, role)| *role).collect()
}

/// The roles for a program that links the library.
fn library(scratch: &Scratch, files: &[&str]) -> Vec<Role> {
    let bytes: Vec<Vec<u8>> = files.iter().map(|name| scratch.read(name)).collect();
    let files = std::iter::zip(files, &bytes).map(|(name, bytes)| File::new(*name, bytes));
    BootSet::new(files).unwrap().roles().to_vec()
}

/// The report of `check` on the one kernel of these files.
fn check(scratch: &Scratch, arguments: &str) -> Value {
    let report = json(scratch, &format!("check --format json {arguments}"));
    assert_eq!(report["inputs"].as_array().unwrap().len(), 1, "{report:#}");
    report["inputs"][0].clone()
}

#[test]
fn the_images_of_a_device_with_generic_ramdisk() {
    let scratch = scratch(&[
        ("a.img", image("boot-v4")),
        ("b.img", image("init_boot-v4")),
        ("c.img", image("vendor_boot-v4")),
    ]);
    let expected = [("a.img", Role::Boot), ("b.img", Role::InitBoot), ("c.img", Role::VendorBoot)];
    agree(&scratch, &["a.img", "b.img", "c.img"], &expected);
    let expected = [("c.img", Role::VendorBoot), ("b.img", Role::InitBoot), ("a.img", Role::Boot)];
    agree(&scratch, &["c.img", "b.img", "a.img"], &expected);
}

#[test]
fn a_recovery_image_beside_a_boot_image() {
    let scratch = scratch(&[("r.img", beside("recovery-v2")), ("b.img", flows::two_stage())]);
    let expected = [("r.img", Role::Recovery), ("b.img", Role::Boot)];
    agree(&scratch, &["r.img", "b.img"], &expected);
}

/// Its ramdisk says nothing, as an encrypted or an empty one does.
#[test]
fn a_recovery_image_is_known_by_its_name_where_the_contents_do_not_decide() {
    let scratch =
        scratch(&[("recovery.img", image("boot-v2-raw")), ("boot_a.img", flows::two_stage())]);
    let expected = [("recovery.img", Role::Recovery), ("boot_a.img", Role::Boot)];
    agree(&scratch, &["recovery.img", "boot_a.img"], &expected);
    // What the ramdisk says comes first.
    scratch.file("recovery.img", &flows::two_stage());
    scratch.file("boot_a.img", &beside("recovery-v2"));
    let expected = [("recovery.img", Role::Boot), ("boot_a.img", Role::Recovery)];
    agree(&scratch, &["recovery.img", "boot_a.img"], &expected);
}

#[test]
fn a_vendor_kernel_boot_image_beside_vendor_boot() {
    let scratch = scratch(&[
        ("boot.img", image("boot-v4")),
        ("k.img", beside("vendor_kernel_boot-v4")),
        ("v.img", image("vendor_boot-v4")),
        ("i.img", image("init_boot-v4")),
    ]);
    let expected = [
        ("boot.img", Role::Boot),
        ("k.img", Role::VendorKernelBoot),
        ("v.img", Role::VendorBoot),
        ("i.img", Role::InitBoot),
    ];
    agree(&scratch, &["boot.img", "k.img", "v.img", "i.img"], &expected);
}

#[test]
fn chained_vbmeta_images_are_a_tree() {
    let scratch = scratch(&[
        ("boot.img", image("boot-v4")),
        ("init_boot.img", image("init_boot-v4")),
        ("system.img", avb::image("vbmeta_system")),
        ("top.img", avb::image("vbmeta-tree")),
    ]);
    let files = ["boot.img", "init_boot.img", "system.img", "top.img"];
    let expected = [
        ("boot.img", Role::Boot),
        ("init_boot.img", Role::InitBoot),
        ("system.img", Role::ChainedVbmeta),
        ("top.img", Role::Vbmeta),
    ];
    agree(&scratch, &files, &expected);
    let report = json(&scratch, &format!("verify --json {}", files.join(" ")));
    assert_eq!(report["verified"], true, "{report:#}");
    // Alone each is a top-level one, and a set has one of these.
    assert_eq!(library(&scratch, &["system.img"]), [Role::Vbmeta]);
    for command in ["verify", "patch --runtime rt --device 1b36:0010 --anyway --dry-run"] {
        scratch.file("other.img", &avb::image("vbmeta-unsigned"));
        scratch.error(&format!("{command} boot.img top.img other.img"));
    }
}

#[test]
fn the_same_file_twice_is_one_image() {
    let scratch = scratch(&[("boot.img", flows::two_stage()), ("dtbo.img", dtbo())]);
    symlink("boot.img", scratch.path("link.img")).unwrap();
    let expected = [("boot.img", Role::Boot), ("dtbo.img", Role::Dtbo)];
    agree(&scratch, &["boot.img", "dtbo.img"], &expected);
    for files in [["boot.img", "boot.img", "dtbo.img"], ["boot.img", "dtbo.img", "link.img"]] {
        agree(&scratch, &files, &expected);
    }
}

fn dtbo() -> Vec<u8> {
    crate::common::fixture("vendor/dtbo.img")
}

#[test]
fn a_bare_kernel_beside_a_bare_ramdisk() {
    let ramdisk = crate::common::cpio(&[("init", flows::TWO_STAGE_INIT), ("apex/", b"")]);
    let scratch = scratch(&[("Image", kernel("")), ("ramdisk", ramdisk)]);
    let expected = [("Image", Role::Kernel), ("ramdisk", Role::Ramdisk)];
    agree(&scratch, &["Image", "ramdisk"], &expected);
}

#[test]
fn check_uses_the_kernel_of_the_boot_image_in_any_set() {
    let boot = flows::two_stage();
    let boot = crate::common::with_config(&boot, "CONFIG_KVM=y\n");
    let scratch = scratch(&[
        ("boot.img", boot),
        ("vendor_boot.img", image("vendor_boot-v4")),
        ("system.img", avb::image("vbmeta_system")),
        ("vbmeta.img", avb::image("vbmeta-tree")),
        ("dtbo.img", dtbo()),
    ]);
    let alone = check(&scratch, "boot.img");
    let set = check(&scratch, "boot.img vendor_boot.img system.img vbmeta.img dtbo.img");
    assert_eq!(
        [&set["input"], &set["description"], &set["config"]],
        [&alone["input"], &alone["description"], &alone["config"]]
    );
    for (file, role) in [("vendor_boot.img", Role::VendorBoot), ("dtbo.img", Role::Dtbo)] {
        let bytes = scratch.read(file);
        let options = audit::Options::new(Profile::builtin("passthrough").unwrap());
        let error = audit::check_files(&[File::new(file, &bytes)], &options).unwrap_err();
        assert!(matches!(error, CheckError::WithoutKernel(own) if own == role), "{error}");
    }
}

#[test]
fn a_config_file_is_a_member_of_the_set_and_counts_instead_of_the_embedded_one() {
    let config = b"CONFIG_ARM64=y\nCONFIG_KVM=y\n# CONFIG_VFIO is not set\n";
    let gzip = vfioboot::compression::encode(vfioboot::compression::Format::Gzip, config, None);
    let scratch = scratch(&[("boot.img", flows::two_stage()), ("config.gz", gzip.unwrap())]);
    assert_eq!(library(&scratch, &["boot.img", "config.gz"]), [Role::Boot, Role::Config]);
    let info = json(&scratch, "info --json boot.img config.gz");
    assert_eq!(texts(&info["images"], "kind"), ["boot", "config"]);
    assert_eq!(info["flow"]["roles"], json!(["boot", "other"]));
    let files = ["boot.img", "config.gz"].map(|name| (name, scratch.read(name)));
    let files: Vec<_> = files.iter().map(|(name, bytes)| File::new(*name, bytes)).collect();
    let options = || audit::Options::new(Profile::builtin("passthrough").unwrap());
    let set = audit::check_files(&files, &options()).unwrap();
    let mut given = options();
    let config = vfioboot::kernel::config_file::read(files[1].bytes).unwrap();
    given.config = Some((config, Provenance::File("config.gz".into())));
    let given = audit::check_files(&files[..1], &given).unwrap();
    let verdicts = |own: &audit::Report| {
        let findings = own.evaluation.findings.iter();
        findings.map(|own| (own.rule.id.clone(), own.verdict)).collect::<Vec<_>>()
    };
    assert_eq!(verdicts(&set), verdicts(&given));
    let provenance = &set.evaluation.finding("VB-KVM-001").unwrap().provenance;
    assert_eq!(*provenance, Provenance::File("config.gz".into()));
    // The command checks a config that is given beside an image on its own.
    let report = json(&scratch, "check --format json boot.img config.gz");
    assert_eq!(report["inputs"].as_array().unwrap().len(), 2);
}

#[test]
fn one_flow_in_one_plan() {
    let sets = [
        vec![flows::rootfs()],
        vec![flows::two_stage()],
        vec![flows::magisk_two_stage()],
        vec![flows::magisk_rootfs()],
        vec![flows::magisk_legacy_sar()],
        vec![flows::silent_legacy_sar()],
        vec![flows::kernelsu()],
        vec![flows::recovery_in_boot()],
        vec![beside("recovery-v4")],
        vec![beside("recovery-v2"), flows::two_stage()],
        vec![image("boot-v4"), image("vendor_boot-v4"), image("init_boot-v4")],
    ];
    let distributions = flows::distributions().into_iter().map(|(_, image)| vec![image]);
    for (number, set) in sets.into_iter().chain(distributions).enumerate() {
        let names: Vec<String> = (0..set.len()).map(|file| format!("{file}.img")).collect();
        let scratch = Scratch::new();
        scratch.file("rt", &elf(AARCH64));
        std::iter::zip(&names, &set).for_each(|(name, bytes)| scratch.file(name, bytes));
        let files = names.join(" ");
        let info = json(&scratch, &format!("info --json {files}"));
        let arguments = "patch --runtime rt --device 1b36:0010 --anyway --dry-run --json";
        let patch = json(&scratch, &format!("{arguments} {files}"));
        assert!(info["flow"]["kind"].is_string(), "set {number}");
        assert_eq!(patch["plan"]["flow"], info["flow"], "set {number}");
    }
}

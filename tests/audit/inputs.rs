//! `vfioboot check`: modules from everywhere, images that belong together, the effective command
//! line, and tables of verdicts for real kernels.

use crate::common;
use crate::common::synthetic;

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use assert_cmd::assert::Assert;
use common::archives::{sparse, super_image, tar, tar_md5, zip};
use common::fixture_path;
use serde_json::Value;
use synthetic::*;
use tempfile::TempDir;
use vfioboot::audit::check::GivenModules;
use vfioboot::audit::{self, Options, Profile, Verdict};
use vfioboot::bootset::{BootSet, File};
use vfioboot::compression::Format;
use vfioboot::container::{self, Memory};
use vfioboot::image::{Chunk, Edit, Image, SectionName};
use vfioboot::ramdisk::cpio::CpioWriter;
use vfioboot::rules::Fit;
use zip::CompressionMethod::{Deflated, Stored};

fn check<S: AsRef<std::ffi::OsStr>>(words: impl IntoIterator<Item = S>) -> Assert {
    Command::cargo_bin("vfioboot").unwrap().args(["check", "--format", "json"]).args(words).assert()
}

fn write(dir: &TempDir, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, bytes).unwrap();
    path
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn json(assert: &Assert) -> Value {
    serde_json::from_slice(&assert.get_output().stdout).unwrap()
}

fn finding<'a>(report: &'a Value, id: &str) -> &'a Value {
    let findings = report["inputs"][0]["findings"].as_array().unwrap();
    findings.iter().find(|finding| finding["id"] == id).unwrap()
}

fn vfio_pci(vermagic: &str) -> Vec<u8> {
    module(&["name=vfio_pci", &format!("vermagic={vermagic} SMP preempt mod_unload aarch64")])
}

const PATH: &str = "lib/modules/6.1.99/kernel/drivers/vfio/pci/vfio-pci.ko";

fn ramdisk(ko: &[u8]) -> Vec<u8> {
    let mut writer = CpioWriter::new(Vec::new());
    writer.file(b"init", 0o755, b"#!/bin/sh\n").unwrap();
    writer.file(PATH.as_bytes(), 0o644, ko).unwrap();
    writer.finish().unwrap()
}

fn tar_of(ko: &[u8]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(ko.len() as u64);
    header.set_mode(0o644);
    // A path of more than 100 bytes is in an entry of its own.
    let path = format!("{}/{PATH}", "long".repeat(30));
    builder.append_data(&mut header, path, ko).unwrap();
    builder.into_inner().unwrap()
}

/// A fixture image with another kernel, ramdisk or command line in it.
fn rebuilt(fixture: &str, change: impl FnOnce(&mut Edit<'_>)) -> Vec<u8> {
    let bytes = common::fixture(&format!("images/{fixture}"));
    let image = Image::parse(&bytes).unwrap();
    let mut edit = image.edit().unwrap();
    change(&mut edit);
    image.rebuild(edit).unwrap().output.to_vec()
}

#[test]
fn modules_come_from_everything_that_holds_them() {
    let dir = tempfile::tempdir().unwrap();
    let config = CONFIG.replace("CONFIG_VFIO_PCI=y", "CONFIG_VFIO_PCI=m");
    let kernel = write(&dir, "Image", arm64_image(&body(Some(&config)), 1 << 20));
    assert_eq!(finding(&json(&check([&kernel]).code(3)), "VB-VFIO-003")["verdict"], "unknown");
    let ko = vfio_pci(RELEASE);
    write(&dir, &format!("tree/{PATH}.xz"), pack(Format::Xz, &ko));
    let mut vendor = rebuilt("vendor_boot-v3.img", |edit| {
        let ramdisk = pack(Format::Lz4Legacy, &ramdisk(&ko));
        edit.sections.push((SectionName::VendorRamdisk, vec![Chunk::owned(ramdisk)]));
    });
    vendor.resize(vendor.len().next_multiple_of(4096), 0);
    let vbmeta = common::avb::image("vbmeta");
    let vbmeta = ("vbmeta.img", &vbmeta[..]);
    let places = [
        dir.path().join("tree"),
        write(&dir, "vfio-pci.ko", &ko),
        write(&dir, "ramdisk", ramdisk(&ko)),
        write(&dir, "ramdisk.lz4", pack(Format::Lz4Legacy, &ramdisk(&ko))),
        write(&dir, "modules.tar", tar_of(&ko)),
        write(&dir, "modules.tar.xz", pack(Format::Xz, &tar_of(&ko))),
        write(&dir, "modules.tgz", pack(Format::Gzip, &tar_of(&ko))),
        write(&dir, "modules.zip", zip(&[("a.txt", b"x"), (PATH, &ko)], Deflated)),
        write(&dir, "stored.zip", zip(&[(PATH, &ko)], Stored)),
        // Images with it in their ramdisks.
        write(&dir, "vendor_boot.img", &vendor),
        write(&dir, "vendor_boot.img.lz4", pack(Format::Lz4Frame, &vendor)),
        write(&dir, "sparse.img", sparse(&vendor)),
        write(&dir, "images.zip", zip(&[("vendor_boot.img", &vendor), vbmeta], Deflated)),
        write(&dir, "AP_x.tar.md5", tar_md5(&[("vendor_boot.img", &vendor), vbmeta])),
        write(&dir, "images.tar.xz", pack(Format::Xz, &tar(&[("vendor_boot.img", &vendor)]))),
    ];
    for place in &places {
        let report = json(&check([text(&kernel), "--modules", text(place)]).code(0));
        let reason = finding(&report, "VB-VFIO-003")["reason"].as_str().unwrap();
        assert!(reason.contains(text(place)) && reason.contains("vermagic"), "{reason}");
    }
    // One for another kernel beside the right one does no harm; alone it fails.
    let other = write(&dir, "other.ko", vfio_pci("6.1.98-other"));
    check([text(&kernel), "--modules", text(&other), "--modules", text(&places[0])]).code(0);
    check([text(&kernel), "--modules", text(&other)]).code(1);
    // What holds none is a mistake of the user.
    fs::create_dir(dir.path().join("empty")).unwrap();
    let mut ext4 = vec![0; 8192];
    ext4[0x438..0x43a].copy_from_slice(&[0x53, 0xef]);
    for nothing in [
        dir.path().join("empty"),
        write(&dir, "text", "no module at all"),
        write(&dir, "vendor_dlkm.img", &ext4),
        write(&dir, "nothing.zip", zip(&[("readme", b"x")], Stored)),
        write(&dir, "super.img", super_image(&[("vendor_dlkm", &ext4)])),
    ] {
        check([text(&kernel), "--modules", text(&nothing)]).code(2);
    }
    // A broken one is reported, and the others count.
    write(&dir, "tree/broken.ko", "broken");
    let report = json(&check([text(&kernel), "--modules", text(&places[0])]).code(0));
    assert!(report["inputs"][0]["notes"].to_string().contains("broken.ko"));
}

#[test]
fn images_without_a_kernel_belong_to_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let config = CONFIG.replace("CONFIG_VFIO_PCI=y", "CONFIG_VFIO_PCI=m")
        + "CONFIG_CMDLINE=\"kvm-arm.mode=protected\"\nCONFIG_CMDLINE_EXTEND=y\n";
    let kernel = arm64_image(&body(Some(&config)), 1 << 20);
    let boot = rebuilt("boot-v4.img", |edit| {
        edit.sections.push((SectionName::Kernel, vec![Chunk::owned(kernel.clone())]));
        edit.header.set_cmdline(b"iommu.strict=1").unwrap();
    });
    let packed = pack(Format::Lz4Legacy, &ramdisk(&vfio_pci(RELEASE)));
    let vendor = rebuilt("vendor_boot-v3.img", |edit| {
        edit.sections.push((SectionName::VendorRamdisk, vec![Chunk::owned(packed.clone())]));
        edit.header.set_cmdline(b"iommu.passthrough=1 kvm-arm.mode=nvhe").unwrap();
    });
    let boot = write(&dir, "boot.img", boot);
    let vendor = write(&dir, "vendor_boot.img", vendor);
    let report = json(&check([&boot]).code(3));
    let reason = finding(&report, "VB-VFIO-003")["reason"].as_str().unwrap();
    assert!(reason.contains("was not looked for"), "{reason}");
    // In whichever order, one report comes of it.
    for order in [[&boot, &vendor], [&vendor, &boot]] {
        let report = json(&check(order).code(0));
        assert_eq!(report["inputs"].as_array().unwrap().len(), 1);
        let reason = finding(&report, "VB-VFIO-003")["reason"].as_str().unwrap();
        assert!(reason.contains("vendor_boot.img"), "{reason}");
        let line = &report["inputs"][0]["effective_cmdline"];
        assert_eq!(line["mode"], "extend");
        let words: Vec<(&str, &str)> = line["words"]
            .as_array()
            .unwrap()
            .iter()
            .map(|word| (word["word"].as_str().unwrap(), word["origin"].as_str().unwrap()))
            .collect();
        assert_eq!(
            words,
            [
                ("iommu.passthrough=1", "vendor_boot"),
                ("kvm-arm.mode=nvhe", "vendor_boot"),
                ("iommu.strict=1", "boot"),
                ("kvm-arm.mode=protected", "config"),
            ]
        );
        // Which of the two modes comes last depends on the kernel.
        assert_eq!(finding(&report, "VB-KVM-004")["verdict"], "unknown");
        assert_eq!(finding(&report, "VB-IOMMU-007")["verdict"], "pass");
        let notes = report["inputs"][0]["notes"].to_string();
        assert!(notes.contains("iommu.passthrough=1 (from") && notes.contains("is not needed"));
    }
    // Alone it is an error of its own.
    check([&vendor]).code(2);
    // With several kernels it belongs to the one in its own directory, whatever their names are.
    let two = tempfile::tempdir().unwrap();
    for (from, to) in [(&boot, "a/boot.img"), (&vendor, "b/a.img"), (&boot, "b/z.img")] {
        let to = two.path().join(to);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap();
    }
    let report = json(&check([two.path()]).code(3));
    let verdicts: Vec<(&str, bool)> = report["inputs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|input| {
            (input["verdict"].as_str().unwrap(), input["input"].to_string().contains("z.img"))
        })
        .collect();
    assert_eq!(verdicts, [("inconclusive", false), ("pass", true)]);
    let report = json(&check([&boot, &vendor, &boot]).code(3));
    assert_eq!(report["inputs"].as_array().unwrap().len(), 2);
}

#[test]
fn words_decide_rules() {
    let dir = tempfile::tempdir().unwrap();
    let verdict = |config: &str, line: &str, profile: &str, id: &str| {
        let path = write(&dir, "the.config", config);
        let words = [text(&path), "--cmdline", line, "--profile", profile];
        let report = json(&check(words));
        finding(&report, id)["verdict"].as_str().unwrap().to_owned()
    };
    let strict = CONFIG.replace("6.1.99", "6.6.1") + "CONFIG_IOMMU_DEFAULT_DMA_STRICT=y\n";
    for (config, line, profile, id, expected) in [
        (strict.as_str(), "quiet", "passthrough", "VB-IOMMU-007", "pass"),
        (&strict, "iommu.strict=0", "passthrough", "VB-IOMMU-007", "fail"),
        (&strict, "iommu.strict=0 iommu.strict=1", "passthrough", "VB-IOMMU-007", "pass"),
        (CONFIG, "iommu.strict=1", "hardened", "VB-IOMMU-007", "pass"),
        (CONFIG, "iommu.passthrough=1", "hardened", "VB-IOMMU-008", "fail"),
        (CONFIG, "arm_smmu.disable_bypass=1", "hardened", "VB-IOMMU-005", "pass"),
        (CONFIG, "kvm-arm.mode=protected", "hardened", "VB-KVM-004", "fail"),
    ] {
        assert_eq!(verdict(config, line, profile, id), expected, "{line} in {profile}: {id}");
    }
    let notes = |value: &str| {
        let config = CONFIG.replace("CONFIG_VFIO_PCI=y", &format!("CONFIG_VFIO_PCI={value}"));
        let path = write(&dir, "the.config", config);
        json(&check([text(&path), "--cmdline", "vfio-pci.ids=1234:5678"]))["inputs"][0]["notes"]
            .to_string()
    };
    assert!(notes("y").contains("binds these devices"));
    assert!(notes("m").contains("insmod does not"));
    assert!(notes("n").contains("no effect"));
}

/// Verdicts of the configs in `fixtures/configs`, by what they say. No stock Android kernel can
/// pass PCI devices through, and it is never the SMMU that is to blame.
#[test]
fn real_devices() {
    const RULES: [&str; 7] = [
        "VB-KVM-001",
        "VB-KVM-004",
        "VB-VFIO-001",
        "VB-VFIO-003",
        "VB-IOMMU-002",
        "VB-INFO-001",
        "VB-HOST-004",
    ];
    let (p, f, u, n) = ("pass", "fail", "unknown", "not_applicable");
    for (name, verdicts) in [
        ("pixel-3a-4.9", [f, n, f, f, p, p, f]),
        ("pixel-7-5.10", [p, f, f, f, u, p, f]),
        ("galaxy-s23-5.15", [p, f, f, f, u, p, f]),
        ("gki-a15-6.6", [p, f, f, f, u, p, f]),
        ("gki-a16-6.12", [p, f, p, f, u, p, f]),
    ] {
        let path = fixture_path(&format!("configs/{name}.config"));
        let report = json(&check([&path]).code(1));
        for (rule, expected) in RULES.iter().zip(verdicts) {
            assert_eq!(finding(&report, rule)["verdict"], expected, "{name}: {rule}");
        }
        // What decides and fails is KVM and VFIO, as it is.
        for finding in report["inputs"][0]["findings"].as_array().unwrap() {
            let id = finding["id"].as_str().unwrap();
            let fails = finding["verdict"] == "fail" && finding["level"] == "required";
            assert!(
                !fails || id.starts_with("VB-KVM") || id.starts_with("VB-VFIO"),
                "{name}: {id}"
            );
        }
    }
    // The one of them that has something of VFIO has what QEMU no longer drives.
    let report = json(&check([fixture_path("configs/gki-a16-6.12.config")]).code(1));
    let notes = report["inputs"][0]["notes"].to_string();
    assert!(notes.contains("VFIO_PLATFORM is for devices that are not on PCI"), "{notes}");
    // A GKI kernel's SMMU driver among the modules is one.
    let dir = tempfile::tempdir().unwrap();
    let smmu = module(&["name=arm_smmu_v3", "vermagic=5.10.107-android13 SMP modversions"]);
    let smmu = write(&dir, "arm-smmu-v3.ko", smmu);
    let pixel = fixture_path("configs/pixel-7-5.10.config");
    let report = json(&check([text(&pixel), "--modules", text(&smmu)]).code(1));
    let reason = finding(&report, "VB-IOMMU-002")["reason"].as_str().unwrap();
    assert!(reason.contains("but arm_smmu_v3.ko ("), "{reason}");
}

/// Verdicts worked out by hand from the .config files of the lab's kernels and of Debian's: pass,
/// fail, unknown, not applicable, `.` where only a config could tell. The columns are `good`;
/// `vfio-m` alone and with its modules; `bad`, which has no config inside, alone and with its
/// config; Debian's config.
const VERDICTS: &str = "
    VB-KVM-001    p p p p p p   KVM=y everywhere
    VB-KVM-002    n n n n n n   x86
    VB-KVM-003    n n n n n n   no command line, CMDLINE is empty
    VB-KVM-004    n n n n n n   no command line
    VB-KVM-005    n n n n n n   before 5.14
    VB-VFIO-001   p u p u f u   VFIO: y, m, n, m
    VB-VFIO-002   p u p u f u   VFIO_IOMMU_TYPE1: y, m, n, m
    VB-VFIO-003   p u p u f u   VFIO_PCI: y, m, n, m
    VB-VFIO-004   n n n n n n   from 6.6 on
    VB-VFIO-005   f f f . p p   VFIO_NOIOMMU: y, y, n, n
    VB-VFIO-006   n n n n n n   from 6.6 on
    VB-IOMMU-001  p p p p p p
    VB-IOMMU-002  p p p p p p   ARM_SMMU and ARM_SMMU_V3 are y
    VB-IOMMU-003  n n n n n n   x86
    VB-IOMMU-004  n n n n n n   x86
    VB-IOMMU-005  f f f . f p   ARM_SMMU_DISABLE_BYPASS_BY_DEFAULT is y in Debian's only
    VB-IOMMU-006  n n n . n p   ARCH_QCOM and ARM_SMMU_QCOM are y in Debian's only
    VB-IOMMU-007  p p p . p p   IOMMU_DEFAULT_DMA_STRICT=y
    VB-PCI-001    p p p p p p
    VB-PCI-002    p p p p p p   PCI_HOST_GENERIC=y
    VB-PCI-003    p p p p p p   ARM_GIC_V3_ITS=y
    VB-HOST-001   p p p p p p
    VB-HOST-002   p p p p p p
    VB-HOST-003   p p p p p p
    VB-HOST-004   p p p p p p
    VB-HOST-005   p p p p p p
    VB-HOST-006   f f f . f p   CMA is y in Debian's only
    VB-HOST-007   p p p p p p
    VB-HOST-008   n n n n n n   from 6.12 on
    VB-NET-001    p p p p p p   TUN and BRIDGE: y, y, y, m
    VB-NET-002    f f f . f p   IP_MULTIPLE_TABLES, NAT and MASQUERADE: Debian's only
    VB-NET-003    p p p p p p   VHOST_NET and VHOST_VSOCK: y, y, y, m
    VB-BOOT-001   p p p . p p   CMDLINE_FORCE is not set
    VB-MOD-001    p p p . p p   TRIM_UNUSED_KSYMS is not set
    VB-MOD-002    p p p . p p   MODULE_SIG_PROTECT is not set
    VB-MOD-003    n p p . p f   MODVERSIONS is y in Debian's only; not asked with VFIO_PCI=y
    VB-INFO-001   p p p f f f   IKCONFIG: y, y, n, n; without a config, IKCFG_ST is not in the kernel
";

#[test]
fn lab_kernels() {
    let modules = ["--modules", "vfio-m-modules.tar.xz"];
    let config = ["--config", "bad.config"];
    for (column, (kernel, options, status)) in [
        ("good-Image.gz", &[][..], 0),
        ("vfio-m-Image.gz", &[][..], 3),
        ("vfio-m-Image.gz", &modules[..], 0),
        // By the symbol table: VFIO is not built in, which a module may make up for.
        ("bad-Image.gz", &[][..], 3),
        ("bad-Image.gz", &config[..], 1),
        ("debian-6.1-cloud-arm64.config", &[][..], 3),
    ]
    .into_iter()
    .enumerate()
    {
        let Some(path) = real(kernel) else { return };
        let mut words = vec![text(&path).to_owned()];
        for option in options {
            let file = path.with_file_name(option);
            words.push(if file.exists() { text(&file).to_owned() } else { (*option).to_owned() });
        }
        let report = json(&check(&words).code(status));
        for line in VERDICTS.lines().filter(|line| !line.trim().is_empty()) {
            let cells: Vec<&str> = line.split_whitespace().collect();
            let expected = match cells[column + 1] {
                "p" => "pass",
                "f" => "fail",
                "u" => "unknown",
                "n" => "not_applicable",
                _ => continue,
            };
            let found = finding(&report, cells[0]);
            assert_eq!(found["verdict"], expected, "{kernel} {options:?}: {found}");
        }
        if kernel.starts_with("bad") && options.is_empty() {
            let kvm = finding(&report, "VB-KVM-001");
            assert_eq!(kvm["provenance"]["source"], "kallsyms");
            assert_eq!(kvm["provenance"]["confidence"], "certain");
            assert!(kvm["reason"].as_str().unwrap().contains("kvm_dev_ioctl is in the symbol"));
        }
    }
}

/// Another kernel's modules with the same vermagic: their symbols are looked for in the kernel's
/// own table of exports, and they really load.
#[test]
fn symbols_of_modules_are_compared_with_the_kernel() {
    let (Some(kernel), Some(modules)) = (real("bad-Image.gz"), real("vfio-m-modules.tar.xz"))
    else {
        return;
    };
    let (image, modules) = (fs::read(kernel).unwrap(), fs::read(modules).unwrap());
    let set = BootSet::new([File::new("bad-Image.gz", &image)]).unwrap();
    let archive = container::modules(&modules, "modules.tar.xz", &Memory).unwrap();
    let mut given = GivenModules::default();
    given.add(archive.sources(&modules, "modules.tar.xz")).unwrap();
    let mut options = Options::new(Profile::builtin("passthrough").unwrap());
    options.modules = Some(given);

    let report = audit::check(&set, &options).unwrap();
    let finding = report.evaluation.finding("VB-VFIO-003").unwrap();
    assert_eq!(finding.verdict, Verdict::Pass);
    let module = finding.reason.module().unwrap();
    assert!(matches!(module.fit, Fit::Matches { linked: true, .. }), "{:?}", module.fit);
}

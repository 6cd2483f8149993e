//! `vfioboot check`: verdicts, exit status, and reports in both formats.

use crate::common::synthetic;

use std::fs;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use assert_cmd::assert::Assert;
use predicates::prelude::*;
use serde_json::Value;
use synthetic::*;
use tempfile::TempDir;
use vfioboot::compression::Format;

fn check<S: AsRef<std::ffi::OsStr>>(words: impl IntoIterator<Item = S>) -> Assert {
    Command::cargo_bin("vfioboot").unwrap().arg("check").args(words).assert()
}

fn write(dir: &TempDir, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.path().join(name);
    fs::write(&path, bytes).unwrap();
    path
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn json(assert: &Assert) -> Value {
    serde_json::from_slice(&assert.get_output().stdout).unwrap()
}

/// The verdict of a rule in the first input of a JSON report.
fn verdict<'a>(report: &'a Value, id: &str) -> &'a str {
    let findings = report["inputs"][0]["findings"].as_array().unwrap();
    let finding = findings.iter().find(|finding| finding["id"] == id).unwrap();
    finding["verdict"].as_str().unwrap()
}

#[test]
fn every_kind_of_input_and_every_exit_status() {
    let dir = tempfile::tempdir().unwrap();
    let bad = CONFIG.replace("CONFIG_VFIO_PCI=y", "# CONFIG_VFIO_PCI is not set");
    let modular = CONFIG.replace("CONFIG_VFIO_PCI=y", "CONFIG_VFIO_PCI=m");
    let kernel = pack(Format::Gzip, &image());
    check([write(&dir, "Image.gz", &kernel)]).code(0);
    check([write(&dir, "good.config", CONFIG)]).code(0);
    check([write(&dir, "config.gz", pack(Format::Gzip, CONFIG.as_bytes()))]).code(0);
    check([write(&dir, "crlf.config", CONFIG.replace('\n', "\r\n"))]).code(0);
    let bad = write(&dir, "bad.config", bad);
    check([&bad]).code(1);
    check([write(&dir, "m.config", modular)]).code(3);
    let bare = write(&dir, "Image", arm64_image(&body(None), 1 << 20));
    check([&bare]).code(3).stdout(predicate::str::contains("/proc/config.gz"));
    check([text(&bare), "--config", text(&bad)]).code(1);
    check([&write(&dir, "nothing", "no kernel")]).code(2);
    check([&dir.path().join("missing")]).code(2);
    check(["--profile", "softened", text(&bad)])
        .code(2)
        .stderr(predicate::str::contains("softened"));
    let mut stdin = Command::cargo_bin("vfioboot").unwrap();
    stdin.args(["check", "-"]).write_stdin(kernel).assert().code(0);
}

#[test]
fn text_shows_what_fails_first_with_its_fix_and_ends_in_the_verdict() {
    let dir = tempfile::tempdir().unwrap();
    let bad = CONFIG.replace("CONFIG_KVM=y\n", "").replace("CONFIG_VFIO=y", "CONFIG_VFIO=m");
    let path = write(&dir, "bad.config", bad);
    let assert = check([&path]).code(1).stderr("");
    let report = String::from_utf8(assert.get_output().stdout.clone()).unwrap();
    let place = |text: &str| report.find(text).unwrap_or_else(|| panic!("no {text} in {report}"));
    assert!(place("FAILS") < place("VB-KVM-001"));
    assert!(place("VB-KVM-001") < place("Set CONFIG_VIRTUALIZATION=y"));
    assert!(place("Set CONFIG_VIRTUALIZATION=y") < place("UNKNOWN"));
    assert!(place("UNKNOWN") < place("VB-VFIO-001"));
    assert!(place("VB-VFIO-001") < place("\nRECOMMENDED"));
    let last = report.lines().last().unwrap();
    assert!(last.contains("FAIL: 1 required rule fails, 1 unknown"), "{last}");
    assert!(!report.contains('\x1b'), "colours where there is no terminal");
}

#[test]
fn json_is_versioned_and_says_where_values_come_from() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(&dir, "Image.gz", pack(Format::Gzip, &image()));
    let report = json(&check([text(&path), "--format", "json"]).code(0));
    assert_eq!(report["format"], 2);
    assert_eq!(report["profile"], "passthrough");
    let input = &report["inputs"][0];
    assert_eq!(input["verdict"], "pass");
    assert_eq!(input["description"], "gzip → arm64 Image");
    assert_eq!((&input["release"], &input["arch"]), (&RELEASE.into(), &"arm64".into()));
    assert_eq!(input["config"]["source"], "ikconfig");
    let offset = input["config"]["offset"].as_u64().unwrap() as usize;
    assert!(image()[offset..].starts_with(b"IKCFG_ST"));
    let finding = &input["findings"][0];
    let rule = &report["rules"][0];
    assert_eq!(rule["id"], finding["id"]);
    let of_rule = ["title", "why", "effect", "fix"].map(|field| (rule, field));
    let own = ["id", "level", "verdict", "reason"].map(|field| (finding, field));
    for (value, field) in of_rule.into_iter().chain(own) {
        assert!(value[field].as_str().is_some_and(|text| !text.is_empty()), "{field}");
    }
    assert_eq!(finding["provenance"], input["config"]);
}

#[test]
fn a_broken_input_does_not_keep_the_others_from_being_checked() {
    let dir = tempfile::tempdir().unwrap();
    let good = write(&dir, "good.config", CONFIG);
    let broken = write(&dir, "broken.gz", &pack(Format::Gzip, &image())[..1000]);
    let missing = dir.path().join("missing");
    let assert = check([&broken, &missing, &good]).code(2);
    assert.stdout(predicate::str::contains("good.config: PASS")).stderr(
        predicate::str::contains("broken.gz: gzip stream")
            .and(predicate::str::contains("missing: No such file"))
            .and(predicate::function(|text: &str| text.lines().count() == 2)),
    );
    let words = [text(&broken), text(&good), "--format", "json"];
    let report = json(&check(words).code(2));
    assert_eq!(report["inputs"][0]["verdict"], "error");
    assert!(report["inputs"][0]["error"].as_str().unwrap().contains("gzip stream"));
    assert_eq!(report["inputs"][1]["verdict"], "pass");
}

#[test]
fn a_given_command_line_and_a_given_profile_count() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(&dir, "good.config", CONFIG);
    let words = [text(&path), "--format", "json", "--cmdline", "kvm-arm.mode=none"];
    let report = json(&check(words).code(1));
    assert_eq!(verdict(&report, "VB-KVM-003"), "fail");
    assert_eq!(report["inputs"][0]["cmdline"], "kvm-arm.mode=none");
    let rule = "title = \"mine\"\n[[rule]]\nid = \"MY-1\"\ntitle = \"no KVM\"\n\
        level = \"forbidden\"\nsymbol = \"KVM\"\nwhy = \"w\"\neffect = \"e\"\nfix = \"f\"\n";
    let profile = write(&dir, "mine.toml", rule);
    let report = check([text(&path), "--profile", text(&profile)]).code(1);
    report.stdout(predicate::str::contains("MY-1 no KVM (forbidden): KVM=y"));
    let profile = write(&dir, "bad.toml", rule.replace("symbol", "symbl"));
    let report = check([text(&path), "--profile", text(&profile)]).code(2);
    report.stderr(predicate::str::contains("bad.toml").and(predicate::str::contains("line 6")));
}

#[test]
fn a_report_goes_to_a_file_but_never_onto_an_input() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(&dir, "good.config", CONFIG);
    let target = dir.path().join("report.txt");
    check([text(&path), "-o", text(&target)]).code(0).stdout("");
    assert!(fs::read_to_string(&target).unwrap().contains("good.config: PASS"));
    check([text(&path), "-o", text(&path)]).code(2);
    let config = write(&dir, "other.config", CONFIG);
    let kernel = write(&dir, "Image", image());
    check([text(&kernel), "--config", text(&config), "-o", text(&config)]).code(2);
    assert_eq!(fs::read_to_string(&path).unwrap(), CONFIG);
    assert_eq!(fs::read_to_string(&config).unwrap(), CONFIG);
}

/// By hand from the file: all that is required is y; VFIO_NOIOMMU is y, which is no reason to
/// fail; DISABLE_BYPASS_BY_DEFAULT and CMA are not set.
#[test]
fn the_config_of_the_labs_kernel() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/configs/lab-6.1-arm64.config");
    let report = json(&check([text(&path), "--format", "json"]).code(0));
    for (id, expected) in [
        ("VB-VFIO-003", "pass"),
        ("VB-VFIO-005", "fail"),
        ("VB-IOMMU-005", "fail"),
        ("VB-HOST-006", "fail"),
        ("VB-KVM-003", "not_applicable"),
    ] {
        assert_eq!(verdict(&report, id), expected, "{id}");
    }
}

/// Worked out by hand from each kernel's .config.
#[test]
fn real_kernels() {
    for (kernel, config, status) in [
        ("good-Image.gz", None, 0),
        ("good-zboot-gzip.efi", None, 0),
        ("good-zboot-zstd.efi", None, 0),
        ("vfio-m-Image.gz", None, 3),
        ("bad-Image.gz", None, 3),
        ("bad-Image.gz", Some("bad.config"), 1),
    ] {
        let Some(kernel) = real(kernel) else { return };
        let mut words = vec![kernel.into_os_string()];
        if let Some(config) = config.and_then(real) {
            words.extend(["--config".into(), config.into_os_string()]);
        }
        check(words).code(status);
    }
    // VFIO, VFIO_PCI and type1 are m; KVM, both SMMU drivers, the ITS, PCI_HOST_GENERIC, EVENTFD
    // and BLK_DEV_INITRD are y; DISABLE_BYPASS and DMA_STRICT are y; VFIO_NOIOMMU, IKCONFIG are
    // not set; BRIDGE, TUN, VHOST and the NAT modules are m.
    let Some(debian) = real("debian-6.1-cloud-arm64.config") else { return };
    let report = json(&check([text(&debian), "--format", "json"]).code(3));
    for (id, expected) in [
        ("VB-KVM-001", "pass"),
        ("VB-KVM-002", "not_applicable"),
        ("VB-VFIO-001", "unknown"),
        ("VB-VFIO-002", "unknown"),
        ("VB-VFIO-003", "unknown"),
        ("VB-VFIO-004", "not_applicable"),
        ("VB-VFIO-005", "pass"),
        ("VB-IOMMU-001", "pass"),
        ("VB-IOMMU-002", "pass"),
        ("VB-IOMMU-005", "pass"),
        ("VB-IOMMU-007", "pass"),
        ("VB-PCI-001", "pass"),
        ("VB-PCI-002", "pass"),
        ("VB-PCI-003", "pass"),
        ("VB-HOST-001", "pass"),
        ("VB-HOST-002", "pass"),
        ("VB-NET-001", "pass"),
        ("VB-NET-002", "pass"),
        ("VB-INFO-001", "fail"),
    ] {
        assert_eq!(verdict(&report, id), expected, "{id}");
    }
}

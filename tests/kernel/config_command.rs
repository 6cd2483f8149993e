//! `vfioboot config`: the .config of the build, byte for byte.

use crate::common::synthetic;

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use predicates::prelude::*;
use synthetic::*;
use vfioboot::compression::Format;

fn vfioboot(words: &[&str]) -> Command {
    let mut command = Command::cargo_bin("vfioboot").unwrap();
    command.args(words);
    command
}

fn config(path: &Path) -> assert_cmd::assert::Assert {
    vfioboot(&["config"]).arg(path).assert()
}

#[test]
fn the_config_of_a_kernel_a_boot_image_and_standard_input() {
    let dir = tempfile::tempdir().unwrap();
    let gzip = pack(Format::Gzip, &image());
    for (name, bytes) in [
        ("Image", image()),
        ("Image.gz", gzip.clone()),
        ("Image.gz-dtb", [gzip.clone(), dtb(100)].concat()),
        ("vmlinuz.efi", zboot(&pack(Format::Zstd, &image()), "zstd22", true)),
        ("mtk", mtk(&gzip)),
        ("boot.img", boot_image(&gzip)),
    ] {
        let path = dir.path().join(name);
        fs::write(&path, &bytes).unwrap();
        config(&path).code(0).stdout(CONFIG).stderr("");
    }
    vfioboot(&["config", "-"]).write_stdin(gzip).assert().code(0).stdout(CONFIG);
}

/// A boot image of header v2 with this kernel and nothing else.
fn boot_image(kernel: &[u8]) -> Vec<u8> {
    let mut file = vec![0; 4096];
    file[..8].copy_from_slice(b"ANDROID!");
    file[8..12].copy_from_slice(&(kernel.len() as u32).to_le_bytes());
    file[36..40].copy_from_slice(&4096u32.to_le_bytes());
    file[40..44].copy_from_slice(&2u32.to_le_bytes());
    file[1644..1648].copy_from_slice(&1660u32.to_le_bytes());
    file.extend_from_slice(kernel);
    file.resize(file.len().next_multiple_of(4096), 0);
    file
}

#[test]
fn without_one_it_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("Image");
    fs::write(&path, arm64_image(&body(None), 1 << 20)).unwrap();
    config(&path).code(2).stdout("").stderr(
        predicate::str::contains(RELEASE)
            .and(predicate::str::contains("Image: the kernel"))
            .and(predicate::str::contains("CONFIG_IKCONFIG=y"))
            .and(predicate::str::contains("/proc/config.gz"))
            .and(predicate::str::contains("--config")),
    );
    for (name, bytes, message) in [
        ("empty", vec![], "empty"),
        ("words", b"just words".to_vec(), "just wor"),
        ("cut", pack(Format::Gzip, &image())[..900].to_vec(), "gzip stream"),
        ("ramdisk", pack(Format::Gzip, b"070701").to_vec(), "a ramdisk"),
    ] {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        let named = predicate::str::contains(format!("{name}: "));
        config(&path).code(2).stdout("").stderr(named.and(predicate::str::contains(message)));
    }
    config(&dir.path().join("missing"))
        .code(2)
        .stderr(predicate::str::contains("missing: No such"));
}

#[test]
fn of_real_kernels() {
    for (kernel, truth) in [
        ("good-Image.gz", "good.config"),
        ("good-zboot-gzip.efi", "good.config"),
        ("good-zboot-zstd.efi", "zboot-zstd.config"),
        ("vfio-m-Image.gz", "vfio-m.config"),
    ] {
        let (Some(kernel), Some(truth)) = (real(kernel), real(truth)) else { return };
        config(&kernel).code(0).stdout(fs::read(truth).unwrap());
    }
    let Some(bad) = real("bad-Image.gz") else { return };
    config(&bad).code(2).stdout("").stderr(predicate::str::contains("CONFIG_IKCONFIG=y"));
}

/// A kernel that unpacks to far more than the memory there is: it is read through a window.
#[test]
#[cfg(target_os = "linux")]
fn memory_stays_small() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("Image.gz");
    let mut body = vec![0; 192 << 20];
    body.extend_from_slice(&ikconfig(CONFIG));
    let image = arm64_image(&body, 1 << 30);
    fs::write(&path, pack(Format::Gzip, &image)).unwrap();
    let program = assert_cmd::cargo::cargo_bin("vfioboot");
    let script = "ulimit -v 100000 && exec \"$0\" config \"$1\"";
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(script).arg(program).arg(&path).assert().code(0).stdout(CONFIG);
}

//! `vfioboot check` on what is not a kernel, and on directories: each input has a line of its own, the
//! others are still reported, and the exit status is 2.

use crate::common;
use crate::common::cli;
use crate::common::synthetic;

use cli::Scratch;
use synthetic::{CONFIG, arm64_image, image, noise, pack};
use vfioboot::compression::Format;
use vfioboot::image::SectionName;

/// What standard error says of `inputs`, checked in this order.
fn refused(dir: &Scratch, arguments: &str) -> String {
    let output = dir.command(&format!("check {arguments}")).assert().code(2).get_output().clone();
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn each_bad_input_has_its_own_line_and_the_good_one_its_verdict() {
    let dir = Scratch::new();
    let packed = pack(Format::Gzip, &image());
    let riscv = CONFIG.replace("Linux/arm64", "Linux/riscv") + "CONFIG_64BIT=y\n";
    dir.file("empty", b"");
    dir.file("cut.gz", &packed[..packed.len() / 2]);
    dir.file("noise", &noise(8192, 1));
    dir.file("openssl", b"Salted__12345678");
    dir.file("luks", b"LUKS\xba\xbe\0\x02");
    dir.file("letter.txt", b"Dear kernel,\n");
    dir.file("riscv.config", riscv.as_bytes());
    dir.file("program", &common::elf(common::AARCH64));
    dir.file("uefi", &arm64_image(&[0; 9000], 0));
    dir.file("good.config", CONFIG.as_bytes());
    let names = "empty cut.gz noise openssl luks letter.txt riscv.config program uefi missing";
    let assert = dir.command(&format!("check {names} good.config")).assert().code(2);
    let output = assert.get_output();
    assert!(String::from_utf8_lossy(&output.stdout).contains("good.config: PASS"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let lines: Vec<&str> = said.lines().collect();
    let expected = [
        "empty: is empty, expected a boot image, a kernel or a kernel config",
        "cut.gz: gzip stream: ",
        "noise: cannot be read: it is encrypted, or compressed in an unknown way; expected",
        "openssl: is encrypted by openssl enc: decrypt it first",
        "luks: is encrypted with LUKS: decrypt it first",
        "letter.txt: is text but not a kernel config: the first setting must be like CONFIG_KVM=y",
        "riscv.config: is for riscv64; the profile passthrough has rules only for arm64 and x86_64",
        "program: is not a Linux kernel: arm64 ELF without a Linux banner or a config",
        "uefi: is not a Linux kernel: arm64 Image without a Linux banner or a config",
        "missing: No such file or directory",
    ];
    assert_eq!(lines.len(), expected.len(), "{said}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(&format!("vfioboot: {expected}")), "{line}");
    }
}

#[test]
fn encrypted_kernels_in_boot_images_and_bare_ones_have_different_errors() {
    let dir = Scratch::new();
    let boot = dir.image("boot.img", "boot-v2-raw");
    let encrypted = common::with_section(&boot, SectionName::Kernel, noise(8192, 2));
    dir.file("encrypted.img", &encrypted);
    let said = refused(&dir, "encrypted.img");
    assert_eq!(
        said,
        "vfioboot: encrypted.img: has no readable kernel: it is encrypted, or compressed \
         in an unknown way\n"
    );
}

#[test]
fn a_config_for_another_architecture_is_not_used() {
    let dir = Scratch::new();
    dir.file("Image", &image());
    let riscv = CONFIG.replace("Linux/arm64", "Linux/riscv") + "CONFIG_64BIT=y\n";
    dir.file("riscv.config", riscv.as_bytes());
    let said = refused(&dir, "Image --config riscv.config");
    assert_eq!(
        said,
        "vfioboot: Image: the kernel is for arm64, but config file riscv.config is for riscv64\n"
    );
}

#[test]
fn line_ends_of_windows_change_nothing() {
    let dir = Scratch::new();
    dir.file("dos.config", CONFIG.replace('\n', "\r\n").as_bytes());
    dir.file("unix.config", CONFIG.as_bytes());
    let report = |name: &str| {
        let output = dir.command(&format!("check {name}")).assert().code(0).get_output().clone();
        String::from_utf8(output.stdout).unwrap().replace(name, "")
    };
    assert_eq!(report("dos.config"), report("unix.config"));
}

#[test]
fn a_directory_is_replaced_by_its_kernels_and_configs() {
    let dir = Scratch::new();
    dir.file("out/a.config", CONFIG.as_bytes());
    dir.file("out/arm64/Image.gz", &pack(Format::Gzip, &image()));
    dir.file("out/arm64/vfio.ko", &synthetic::module(&["name=vfio"]));
    dir.file("out/README", b"hello\n");
    dir.file("out/noise.bin", &noise(8192, 3));
    let assert = dir.command("check out --format json").assert().code(0);
    let report: serde_json::Value = serde_json::from_slice(&assert.get_output().stdout).unwrap();
    let inputs = report["inputs"].as_array().unwrap();
    let names: Vec<_> = inputs.iter().map(|input| input["input"].as_str().unwrap()).collect();
    assert_eq!(names, ["out/a.config", "out/arm64/Image.gz"]);

    dir.file("none/README", b"hello\n");
    assert_eq!(
        refused(&dir, "none"),
        "vfioboot: none: is a directory without a readable boot image, kernel or config\n"
    );
    // What is damaged is reported.
    dir.file("out/cut.gz", &pack(Format::Gzip, &image())[..2000]);
    assert!(refused(&dir, "out").starts_with("vfioboot: out/cut.gz: gzip stream: "));
}

#[test]
fn what_looks_encrypted_has_every_byte_about_as_often() {
    let dir = Scratch::new();
    let says = |bytes: &[u8]| {
        dir.file("x", bytes);
        refused(&dir, "x").contains("it is encrypted, or compressed in an unknown way")
    };
    assert!(says(&noise(4096, 1)));
    // Too short to tell; and much of one byte, as in machine code.
    assert!(!says(&noise(4095, 1)));
    assert!(!says(&[noise(6000, 1), vec![0x1f; 3000]].concat()));
    // Only the start counts.
    assert!(says(&[noise(64 << 10, 1), vec![0; 1 << 20]].concat()));
}

#[test]
fn directories_are_searched_sixteen_levels_deep() {
    let dir = Scratch::new();
    let at = |depth: usize| format!("top/{}", "d/".repeat(depth));
    std::fs::create_dir_all(dir.path(&at(18))).unwrap();
    for depth in [0, 15, 16, 17] {
        dir.file(&format!("{}{depth}.config", at(depth)), CONFIG.as_bytes());
    }
    let text = dir.ok("check top --format jsonl");
    let found = |depth: usize| text.contains(&format!("/{depth}.config"));
    assert_eq!([0, 15, 16, 17].map(found), [true, true, true, false], "{text}");
}

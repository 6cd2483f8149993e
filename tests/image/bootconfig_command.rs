//! `vfioboot cmdline`: the bootconfig of vendor_boot, and the line as the kernel will see it.

use crate::common;
use crate::common::cli;
use crate::wrappers::with_bootconfig;

use cli::Scratch;
use common::{device_tree, edited, images, kernel, with_cmdline};
use vfioboot::image::{Chunk, SectionName};

/// A directory with `vendor_boot.img`, whose bootconfig is `text`.
fn scratch(text: &str) -> Scratch {
    let scratch = Scratch::new();
    let original = scratch.image("vendor_boot.img", "vendor_boot-v4");
    let image = edited(&original, |edit| {
        let chunk = Chunk::owned(text.as_bytes().to_vec());
        edit.sections.push((SectionName::Bootconfig, vec![chunk]));
    });
    scratch.file("vendor_boot.img", &image);
    scratch
}

/// The bootconfig after `cmdline ARGUMENTS`.
fn after(text: &str, arguments: &str) -> String {
    let scratch = scratch(text);
    scratch.ok(&format!("cmdline vendor_boot.img {arguments} -o out.img"));
    scratch.ok("cmdline --bootconfig out.img")
}

/// What an edit says on standard error.
fn notes(text: &str, arguments: &str) -> String {
    let run = scratch(text).run(&format!("cmdline vendor_boot.img {arguments} -o out.img"));
    String::from_utf8(run.success().get_output().stderr.clone()).unwrap()
}

#[test]
fn bootconfig_is_printed_unchanged() {
    let text = "# a comment\na = 1  # and one more\nb { c }\n";
    assert_eq!(scratch(text).ok("cmdline --bootconfig vendor_boot.img"), text);
}

#[test]
fn bootconfig_edits_keep_comments_and_order() {
    let text = "# first\na = 1 # one\nb = 2\n";
    assert_eq!(after(text, "--bootconfig-set a=3"), "# first\na = 3 # one\nb = 2\n");
    assert_eq!(after(text, "--bootconfig-remove b"), "# first\na = 1 # one\n");
    assert_eq!(
        after(text, "--bootconfig-remove a --bootconfig-set a=4"),
        "# first\n# one\nb = 2\na = 4\n"
    );
}

#[test]
fn a_bootconfig_is_added_to_an_image_without_one() {
    let scratch = scratch("");
    assert!(scratch.error("cmdline --bootconfig vendor_boot.img").contains("has no bootconfig"));
    scratch.ok("cmdline vendor_boot.img --bootconfig-set a.b=c -o out.img");
    assert_eq!(scratch.ok("cmdline --bootconfig out.img"), "a.b = c\n");
}

#[test]
fn setting_a_key_back_gives_the_same_image() {
    let scratch = scratch("a = 1\n");
    scratch.ok("cmdline vendor_boot.img --bootconfig-set a=longer -o out.img");
    scratch.ok("cmdline out.img --bootconfig-set a=1 -o back.img");
    assert!(scratch.read("back.img") == scratch.read("vendor_boot.img"));
}

#[test]
fn parameters_and_keys_are_edited_together() {
    let scratch = scratch("a = 1\n");
    scratch.ok("cmdline vendor_boot.img --add quiet --bootconfig-set a=2 -o out.img");
    assert!(scratch.ok("cmdline out.img").ends_with(" quiet\n"));
    assert_eq!(scratch.ok("cmdline --bootconfig out.img"), "a = 2\n");
}

#[test]
fn edits_that_would_void_the_bootconfig_are_refused_and_nothing_is_written() {
    for (text, arguments, expected) in [
        (
            "a = 1\na = 2\n",
            "--bootconfig-set b=1",
            "bootconfig line 2: a has a value already, from line 1",
        ),
        ("a = 1\n", "--bootconfig-set a=1;2", "\"1;2\" is not a bootconfig value"),
        ("a = 1\n", "--bootconfig-set b", "--bootconfig-set b: expected KEY=VALUE"),
        ("a = 1\n", "--bootconfig-set b$=1", "\"b$\" is not a bootconfig key"),
        ("a.b = 1\n", "--bootconfig-remove a", "no key a itself, only a.b"),
        ("a = \"1\n", "--bootconfig-set b=1", "bootconfig line 1 (offset 4): the quote"),
    ] {
        let scratch = scratch(text);
        let error = scratch.error(&format!("cmdline vendor_boot.img {arguments} -o out.img"));
        assert!(
            error.contains(&format!("vendor_boot.img: {expected}")) || error.contains(expected),
            "{error}"
        );
        assert!(!scratch.exists("out.img"));
    }
}

#[test]
fn a_bootconfig_that_is_too_large_is_refused_with_its_size() {
    let scratch = scratch(&format!("# {}\n", "x".repeat(32 * 1024 - 5)));
    let error = scratch.error("cmdline vendor_boot.img --bootconfig-set a=1 -o out.img");
    assert!(
        error.contains("has 32772 bytes, the kernel accepts at most 32766 (6 too many)"),
        "{error}"
    );
}

#[test]
fn images_without_a_bootconfig_section_are_refused() {
    let scratch = Scratch::new();
    scratch.image("boot.img", "boot-v4");
    let error = scratch.error("cmdline boot.img --bootconfig-set a=1 -o out.img");
    assert!(error.contains("only vendor_boot of header version 4 has a bootconfig"), "{error}");
}

#[test]
fn notes_warn_about_the_bootloader_and_old_kernels() {
    let text = notes("", "--remove bootconfig --bootconfig-set a=1");
    assert!(text.contains("only with the parameter bootconfig on its command line"), "{text}");
    let text = notes("", "--bootconfig-set androidboot.slot_suffix=_a");
    assert!(
        text.contains("androidboot.slot_suffix: bootloaders add this key themselves"),
        "{text}"
    );
    let many: String = (0..600).map(|i| format!("k{i}=1\n")).collect();
    let text = notes(&many, "--bootconfig-set a=1");
    assert!(text.contains("has 1202 nodes: kernels before 5.19 take 1024"), "{text}");
    assert_eq!(notes("a = 1\n", "--bootconfig-set a=2"), "");
}

#[test]
fn every_fixture_with_a_bootconfig_has_a_valid_one() {
    let scratch = Scratch::new();
    let mut seen = 0;
    for (name, bytes) in images() {
        scratch.file("in.img", &bytes);
        if scratch.command("cmdline --bootconfig in.img").output().unwrap().status.success() {
            seen += 1;
            scratch.run("cmdline in.img --bootconfig-set lab.new=1 -o out.img").success();
            assert!(
                scratch.ok("cmdline --bootconfig out.img").ends_with("lab.new = 1\n"),
                "{name}"
            );
        }
    }
    assert!(seen >= 2, "{seen}");
}

// --- the effective line -----------------------------------------------------------------------

/// `cmdline --effective` of a vendor_boot with this bootconfig and a boot.img with this line.
fn effective(bootconfig: &str, line: &str) -> String {
    let scratch = scratch(bootconfig);
    let boot = edited(&scratch.image("boot.img", "boot-v4"), |edit| {
        let kernel = Chunk::owned(kernel("CONFIG_BOOT_CONFIG=y\n"));
        edit.sections.push((SectionName::Kernel, vec![kernel]));
    });
    scratch.file("boot.img", &with_cmdline(&boot, line));
    scratch.ok("cmdline --effective boot.img vendor_boot.img")
}

#[test]
fn keys_below_kernel_come_first_and_those_below_init_last() {
    let text = effective("kernel.a = 1\nkernel.b\ninit.c = 'x y'\n", "quiet");
    let words: Vec<_> = text.lines().take(6).map(|line| line.split("  ").next().unwrap()).collect();
    assert_eq!(words, ["a=1", "b", "console=ttyAMA0", "bootconfig", "quiet", "--"]);
    assert!(text.contains("\n\"c=x y\"  bootconfig of vendor_boot.img\n"), "{text}");
}

#[test]
fn without_the_parameter_bootconfig_its_keys_do_not_count() {
    let scratch = scratch("kernel.a = 1\n");
    scratch.ok("cmdline vendor_boot.img --remove bootconfig -o out.img");
    let text = scratch.ok("cmdline --effective out.img");
    assert!(text.starts_with("a=1  bootconfig of out.img, ignored\n"), "{text}");
}

#[test]
fn keys_for_user_space_are_listed_with_their_values() {
    let text = effective("androidboot.x = 1, 2\n", "");
    assert!(text.contains("\n  androidboot.x = \"1\", \"2\"\n"), "{text}");
}

#[test]
fn the_last_of_two_parameters_with_the_same_name_counts() {
    let text = effective("", "iommu.strict=1 a iommu.strict=0");
    assert!(
        text.contains("iommu.strict=1  boot.img  overridden by iommu.strict=0 (boot.img)\n"),
        "{text}"
    );
    assert!(text.contains("\niommu.strict=0  boot.img\n"), "{text}");
}

#[test]
fn the_first_of_two_androidboot_parameters_counts() {
    let text = effective("", "androidboot.x=1 androidboot.x=2");
    assert!(
        text.contains("androidboot.x=2  boot.img  overridden by androidboot.x=1 (boot.img)"),
        "{text}"
    );
}

#[test]
fn all_consoles_count() {
    let text = effective("", "console=ttyS0 console=tty0");
    assert!(!text.contains("overridden"), "{text}");
}

#[test]
fn a_bootconfig_that_the_kernel_ignores_is_a_note() {
    let text = effective("a = 1\na = 2\n", "");
    assert!(
        text.contains("note: vendor_boot.img: bootconfig line 2: a has a value already"),
        "{text}"
    );
}

#[test]
fn bootargs_of_device_trees_are_shown_with_their_number() {
    let scratch = Scratch::new();
    let original = scratch.image("boot.img", "boot-v2-gzip-dtbo");
    let trees = [device_tree("earlycon"), device_tree("earlycon"), device_tree("")].concat();
    let image = edited(&original, |edit| {
        edit.sections.push((SectionName::Dtb, vec![Chunk::owned(trees)]));
    });
    scratch.file("boot.img", &image);
    let text = scratch.ok("cmdline --effective boot.img");
    assert!(text.contains("2 device trees of boot.img (/chosen/bootargs"), "{text}");
    assert!(text.contains("keeps it): earlycon\n"), "{text}");
}

#[test]
fn the_effective_line_as_json_has_origins_and_winners() {
    let scratch = scratch("kernel.a = 1\n");
    let text = scratch.ok("cmdline --effective --json vendor_boot.img");
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["format"], 1);
    assert_eq!(json["words"][0]["word"], "a=1");
    assert_eq!(json["words"][0]["origin"], "bootconfig");
    assert_eq!(json["words"][1]["file"], "vendor_boot.img");
    // The kernel puts quotes around the values of a bootconfig.
    assert_eq!(json["length"], "a=\"1\" console=ttyAMA0 bootconfig".len());
}

/// The words of `cmdline --effective`: text, and whether the kernel sees it.
fn effective_words(scratch: &Scratch, files: &str) -> Vec<(String, bool)> {
    let report = scratch.ok(&format!("cmdline --effective --json {files}"));
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let words = report["words"].as_array().unwrap().iter();
    words
        .map(|own| (own["word"].as_str().unwrap().to_owned(), own["counts"].as_bool().unwrap()))
        .collect()
}

#[test]
fn a_bootconfig_behind_the_last_ramdisk_counts_where_the_kernel_reads_it() {
    let on = "CONFIG_BOOT_CONFIG=y\n";
    let forced = "CONFIG_BOOT_CONFIG=y\nCONFIG_BOOT_CONFIG_FORCE=y\n";
    let off = "# CONFIG_BOOT_CONFIG is not set\n";
    let ramdisk = common::cpio(&[("init", b"x")]);
    let initrd = with_bootconfig(&ramdisk, b"kernel.quiet_too\n\0\0\0");
    let base = common::flows::image("boot-v2-raw");
    for (config, line, counts) in [
        (on, "bootconfig", true),
        (on, "x=1", false),
        (forced, "x=1", true),
        (off, "bootconfig", false),
    ] {
        let image = common::with_config(&with_cmdline(&base, line), config);
        let scratch = Scratch::new();
        let within = common::with_section(&image, SectionName::Ramdisk, initrd.clone());
        scratch.file("boot.img", &within);
        let words = effective_words(&scratch, "boot.img");
        assert!(words.contains(&("quiet_too".to_owned(), counts)), "{config}, {line}: {words:?}");
        // A ramdisk file by itself, with a kernel without one.
        let empty = common::with_section(&image, SectionName::Ramdisk, Vec::new());
        scratch.file("kernel.img", &empty);
        scratch.file("initrd", &initrd);
        let words = effective_words(&scratch, "kernel.img initrd");
        assert!(words.contains(&("quiet_too".to_owned(), counts)), "{config}, {line}: {words:?}");
    }
}

#[test]
fn a_bootconfig_behind_another_ramdisk_than_the_last_does_not_reach_the_kernel() {
    let ramdisk = common::cpio(&[("init", b"x")]);
    let initrd = with_bootconfig(&ramdisk, b"kernel.quiet_too\n\0\0\0");
    let boot = common::with_section(
        &with_cmdline(&common::flows::image("boot-v4-ramdisk"), "bootconfig"),
        SectionName::Ramdisk,
        initrd,
    );
    let scratch = Scratch::new();
    scratch.file("boot.img", &boot);
    let is_there =
        |files: &str| effective_words(&scratch, files).iter().any(|(word, _)| word == "quiet_too");
    assert!(is_there("boot.img"));
    // init_boot is loaded instead, and a bootconfig of vendor_boot comes behind everything.
    scratch.image("init_boot.img", "init_boot-v4");
    assert!(!is_there("boot.img init_boot.img"));
    scratch.image("vendor_boot.img", "vendor_boot-v4");
    assert!(!is_there("boot.img vendor_boot.img"));
}

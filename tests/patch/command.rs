//! `vfioboot patch` and `vfioboot unpatch` as programs: what they write, where, and what they say
//! when they cannot.

use crate::common;
use crate::common::cli;
use crate::common::synthetic;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use cli::{Scratch, error_of};
use common::{AARCH64, RELEASE, X86_64, elf, module, with_avb_footer, with_cmdline, with_config};
use serde_json::Value;
use vfioboot::image::SectionName;

const PATCH: &str = "patch --runtime rt --device 1b36:0010 --anyway";

/// A directory with `boot.img` and the runtime `rt`.
fn scratch() -> Scratch {
    let scratch = Scratch::new();
    scratch.file("rt", &elf(AARCH64));
    scratch.image("boot.img", "boot-v2-gzip-dtbo");
    scratch
}

/// Makes two images of a set change: one has the runtime, the other the word.
const TWO: &str = "--hook init --add-word extra=1";

/// The same with the three images of a device.
fn set() -> Scratch {
    let scratch = scratch();
    scratch.image("boot.img", "boot-v4");
    scratch.image("vendor_boot.img", "vendor_boot-v4");
    scratch.image("init_boot.img", "init_boot-v4");
    scratch
}

#[test]
fn patch_writes_the_image_and_leaves_the_input() {
    let scratch = scratch();
    let before = scratch.read("boot.img");
    let text = scratch.ok(&format!("{PATCH} boot.img -o out.img"));
    assert!(text.contains("wrote out.img"), "{text}");
    assert!(scratch.read("boot.img") == before);
    assert!(scratch.read("out.img") != before);
}

#[test]
fn unpatch_gives_the_original_back() {
    let scratch = scratch();
    scratch.ok(&format!("{PATCH} boot.img -o out.img"));
    let text = scratch.ok("unpatch out.img -o back.img");
    assert_eq!(text, "wrote back.img: the original, byte for byte\n");
    assert!(scratch.read("back.img") == scratch.read("boot.img"));
}

#[test]
fn patching_a_patched_image_gives_the_same_as_patching_the_original() {
    let scratch = scratch();
    scratch.ok(&format!("{PATCH} boot.img -o one.img"));
    scratch.ok(&format!("{PATCH} one.img -o two.img"));
    assert!(scratch.read("one.img") == scratch.read("two.img"));
}

#[test]
fn patching_again_with_another_device_starts_from_the_original() {
    let scratch = scratch();
    scratch.ok(&format!("{PATCH} boot.img -o direct.img --device 0000:00:03.0"));
    scratch.ok(&format!("{PATCH} boot.img -o one.img"));
    scratch.ok(&format!("{PATCH} one.img -o two.img --device 0000:00:03.0"));
    assert!(scratch.read("two.img") == scratch.read("direct.img"));
}

#[test]
fn the_mode_of_an_existing_output_stays() {
    let scratch = scratch();
    scratch.file("out.img", b"old");
    fs::set_permissions(scratch.path("out.img"), fs::Permissions::from_mode(0o640)).unwrap();
    scratch.ok(&format!("{PATCH} boot.img -o out.img"));
    let mode = fs::metadata(scratch.path("out.img")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
}

#[test]
fn a_set_is_written_into_a_directory_and_only_what_changed() {
    let scratch = set();
    scratch.ok(&format!("{PATCH} boot.img vendor_boot.img init_boot.img {TWO} -d new/dir"));
    assert_eq!(scratch.names("new/dir"), ["init_boot.img", "vendor_boot.img"]);
    scratch.ok("unpatch new/dir/init_boot.img new/dir/vendor_boot.img -d back");
    for name in ["init_boot.img", "vendor_boot.img"] {
        assert!(scratch.read(&format!("back/{name}")) == scratch.read(name), "{name}");
    }
}

#[test]
fn a_patched_set_can_be_patched_again_into_the_same_bytes() {
    let scratch = set();
    scratch.ok(&format!("{PATCH} boot.img vendor_boot.img init_boot.img {TWO} -d one"));
    scratch.ok(&format!("{PATCH} boot.img one/vendor_boot.img one/init_boot.img {TWO} -d two"));
    for name in ["init_boot.img", "vendor_boot.img"] {
        assert!(scratch.read(&format!("one/{name}")) == scratch.read(&format!("two/{name}")));
    }
}

#[test]
fn several_changed_images_need_a_directory() {
    let error = set().error(&format!("{PATCH} vendor_boot.img init_boot.img {TWO} -o out.img"));
    assert!(error.contains("2 images change (vendor_boot.img, init_boot.img): name a directory"));
}

#[test]
fn two_results_do_not_overwrite_each_other() {
    let scratch = scratch();
    scratch.image("a/boot.img", "vendor_boot-v4");
    scratch.image("b/boot.img", "init_boot-v4");
    let error = scratch.error(&format!("{PATCH} a/boot.img b/boot.img {TWO} -d out"));
    assert!(error.contains("out/boot.img: two images would be written to this file"), "{error}");
    assert!(!scratch.exists("out"));
}

#[test]
fn without_a_name_the_result_has_a_word_more() {
    let scratch = scratch();
    let text = scratch.ok(&format!("{PATCH} boot.img"));
    assert!(text.contains("wrote boot.patched.img"), "{text}");
    assert!(text.contains("vfioboot unpatch boot.patched.img -o boot.original.img"), "{text}");
    let text = scratch.ok("undo boot.patched.img");
    assert!(text.contains("wrote boot.original.img: the original, byte for byte"), "{text}");
    assert!(scratch.read("boot.original.img") == scratch.read("boot.img"));
    let error = scratch.error(&format!("{PATCH} boot.patched.img --wait 1"));
    assert!(error.contains("boot.patched.img: is an input file"), "{error}");
    assert_eq!(scratch.names("."), ["boot.img", "boot.original.img", "boot.patched.img", "rt"]);
}

#[test]
fn a_directory_that_is_missing_is_named() {
    let scratch = scratch();
    let error = scratch.error(&format!("{PATCH} boot.img -o no/such/out.img"));
    assert!(error.contains("no/such/out.img: the directory no/such does not exist"), "{error}");
    assert!(!error.contains("os error"), "{error}");
}

#[test]
fn standard_output_has_only_the_image() {
    let scratch = scratch();
    scratch.ok(&format!("{PATCH} boot.img -o out.img"));
    let run = scratch.run(&format!("{PATCH} boot.img -o -")).success();
    assert!(run.get_output().stdout == scratch.read("out.img"));
    let run = scratch.run("unpatch out.img -o -").success();
    assert!(run.get_output().stdout == scratch.read("boot.img"));
}

#[test]
fn standard_input_is_read() {
    let scratch = scratch();
    let mut command = scratch.command(&format!("{PATCH} - -o out.img"));
    command.write_stdin(scratch.read("boot.img")).assert().success();
    let mut command = scratch.command("unpatch - -o -");
    let run = command.write_stdin(scratch.read("out.img")).assert().success();
    assert!(run.get_output().stdout == scratch.read("boot.img"));
}

#[test]
fn standard_input_needs_an_output_name() {
    let scratch = scratch();
    let mut command = scratch.command(&format!("{PATCH} - -d out"));
    let error = error_of(command.write_stdin(scratch.read("boot.img")).assert());
    assert!(
        error.contains("standard input has no name to write under: name a file with -o"),
        "{error}"
    );
}

#[test]
fn a_pipe_takes_the_image_and_stays_a_pipe() {
    use std::os::unix::fs::FileTypeExt;
    let scratch = scratch();
    scratch.ok(&format!("{PATCH} boot.img -o out.img"));
    let pipe = scratch.path("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || fs::read(pipe).unwrap()
    });
    scratch.ok(&format!("{PATCH} boot.img -o pipe"));
    assert!(fs::metadata(&pipe).unwrap().file_type().is_fifo());
    assert!(reader.join().unwrap() == scratch.read("out.img"));
}

// --- an input is never written to -------------------------------------------------------------

/// The names under which `boot.img` is refused as an output.
fn refused_as_output(scratch: &Scratch, output: &str) {
    let before = scratch.read("boot.img");
    let error = scratch.error(&format!("{PATCH} boot.img -o {output}"));
    assert!(error.contains(&format!("{output}: is an input file")), "{error}");
    assert!(scratch.read("boot.img") == before);
}

#[test]
fn the_input_is_not_an_output() {
    refused_as_output(&scratch(), "boot.img");
}

#[test]
fn the_input_with_another_spelling_is_not_an_output() {
    let scratch = scratch();
    fs::create_dir(scratch.path("dir")).unwrap();
    refused_as_output(&scratch, "dir/../boot.img");
}

#[test]
fn a_symbolic_link_to_the_input_is_not_an_output() {
    let scratch = scratch();
    symlink("boot.img", scratch.path("link.img")).unwrap();
    refused_as_output(&scratch, "link.img");
}

#[test]
fn a_hard_link_to_the_input_is_not_an_output() {
    let scratch = scratch();
    fs::hard_link(scratch.path("boot.img"), scratch.path("hard.img")).unwrap();
    refused_as_output(&scratch, "hard.img");
}

#[test]
fn the_directory_of_the_input_is_not_a_destination() {
    let scratch = set();
    let error = scratch.error(&format!("{PATCH} vendor_boot.img init_boot.img -d ."));
    assert!(error.contains("is an input file"), "{error}");
}

#[test]
fn an_image_of_the_set_is_not_an_output() {
    let scratch = set();
    let error = scratch.error(&format!("{PATCH} vendor_boot.img boot.img -o boot.img"));
    assert!(error.contains("boot.img: is an input file"), "{error}");
}

#[test]
fn the_runtime_and_the_modules_are_inputs_too() {
    let scratch = scratch();
    scratch.file("boot.img", &with_config(&scratch.read("boot.img"), ""));
    scratch.file("a.ko", &module("a", RELEASE, ""));
    for output in ["rt", "a.ko"] {
        let arguments = format!("{PATCH} boot.img --add-module a.ko -o {output}");
        let error = scratch.error(&arguments);
        assert!(error.contains(&format!("{output}: is an input file")), "{error}");
    }
}

#[test]
fn unpatch_does_not_write_onto_its_input() {
    let scratch = scratch();
    scratch.ok(&format!("{PATCH} boot.img -o out.img"));
    let error = scratch.error("unpatch out.img -o ./out.img");
    assert!(error.contains("out.img: is an input file"), "{error}");
}

// --- whole or not at all ----------------------------------------------------------------------

#[test]
fn a_refusal_leaves_an_existing_output_alone() {
    let scratch = scratch();
    scratch.file("out.img", b"old");
    scratch.file("boot.img", &with_avb_footer(&scratch.read("boot.img"), 24 << 10));
    scratch.file("rt", &[elf(AARCH64), vec![7; 64 << 10]].concat());
    let image = common::with_section(
        &common::fixture("images/boot-v2-raw.img"),
        SectionName::Second,
        vec![1; 100],
    );
    scratch.file("boot.img", &with_avb_footer(&image, 32 << 10));
    let error = scratch.error(&format!("{PATCH} boot.img -o out.img"));
    assert!(error.contains("does not fit the partition of 32768 bytes: "), "{error}");
    assert_eq!(scratch.read("out.img"), b"old");
}

#[test]
fn a_write_that_fails_leaves_the_old_output_and_no_temporary() {
    let scratch = scratch();
    scratch.file("out.img", b"old");
    let before = scratch.names(".");
    // The file size limit makes the write fail in the middle, as a full disk does.
    let script = "trap '' XFSZ; ulimit -f 1; exec \"$0\" patch --runtime rt --device 1b36:0010 --anyway \
                  boot.img -o out.img";
    let mut command = assert_cmd::Command::new("bash");
    command.current_dir(scratch.dir()).args(["-c", script, env!("CARGO_BIN_EXE_vfioboot")]);
    let error = error_of(command.assert());
    assert!(error.contains("out.img: File too large"), "{error}");
    assert_eq!(scratch.read("out.img"), b"old");
    assert_eq!(scratch.names("."), before);
}

#[test]
fn a_full_device_is_an_error_and_stays_a_device() {
    use std::os::unix::fs::FileTypeExt;
    let scratch = scratch();
    // A link, so that a mistake would replace the link and not the machine's device.
    symlink("/dev/full", scratch.path("full")).unwrap();
    let error = scratch.error(&format!("{PATCH} boot.img -o full"));
    assert!(error.contains("full: No space left on device"), "{error}");
    assert!(fs::metadata(scratch.path("full")).unwrap().file_type().is_char_device());
}

/// Run with standard output going to a full device.
fn into_full(scratch: &Scratch, arguments: &str) -> String {
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_vfioboot"))
        .current_dir(scratch.dir())
        .args(arguments.split(' '))
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_full_standard_output_is_an_error() {
    let scratch = scratch();
    for arguments in ["-o -", "--dry-run", "--dry-run --json"] {
        let error = into_full(&scratch, &format!("{PATCH} boot.img {arguments}"));
        assert!(error.contains("No space left on device"), "{arguments}: {error}");
        assert!(!error.contains("panicked"), "{arguments}: {error}");
    }
}

#[test]
fn a_closed_pipe_is_not_a_failure() {
    let scratch = scratch();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_vfioboot"))
        .current_dir(scratch.dir())
        .args(format!("{PATCH} boot.img --dry-run").split(' '))
        .stdout(writer)
        .output()
        .unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
}

#[test]
fn an_output_through_a_symbolic_link_replaces_what_it_names() {
    let scratch = scratch();
    scratch.file("target.img", b"old");
    symlink("target.img", scratch.path("link.img")).unwrap();
    scratch.ok(&format!("{PATCH} boot.img -o link.img"));
    assert!(fs::symlink_metadata(scratch.path("link.img")).unwrap().is_symlink());
    assert!(scratch.read("target.img").starts_with(b"ANDROID!"));
}

#[test]
fn a_missing_directory_is_named() {
    let error = scratch().error(&format!("{PATCH} boot.img -o none/out.img"));
    assert!(error.contains("none/out.img: "), "{error}");
}

#[test]
fn a_directory_is_not_an_output() {
    let scratch = scratch();
    fs::create_dir(scratch.path("out")).unwrap();
    let error = scratch.error(&format!("{PATCH} boot.img -o out"));
    assert!(error.contains("out: is a directory, expected a file"), "{error}");
}

// --- the plan ---------------------------------------------------------------------------------

#[test]
fn a_dry_run_shows_the_plan_and_writes_nothing() {
    let scratch = scratch();
    let before = scratch.names(".");
    let text = scratch.ok(&format!("{PATCH} boot.img --dry-run -o out.img"));
    for part in ["boot.img (boot): ", "+ rdinit=/vfioboot/init ", "ramdisk", "nothing written"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(scratch.names("."), before);
}

#[test]
fn json_has_a_format_and_the_edits() {
    let scratch = scratch();
    let report: Value =
        serde_json::from_str(&scratch.ok(&format!("{PATCH} boot.img --json -o out.img"))).unwrap();
    assert_eq!(report["format"], 1);
    assert_eq!(report["files"], serde_json::json!(["boot.img"]));
    assert_eq!(report["written"], serde_json::json!(["out.img"]));
    let edits = report["plan"]["edits"].as_array().unwrap();
    let what: Vec<_> = edits.iter().map(|edit| edit["what"].as_str().unwrap()).collect();
    assert_eq!(what, ["cmdline", "ramdisk", "id"]);
    let size = report["plan"]["images"][0]["size_after"].as_u64().unwrap();
    assert_eq!(size, scratch.read("out.img").len() as u64);
}

#[test]
fn json_does_not_mix_with_an_image_on_standard_output() {
    let error = scratch().error(&format!("{PATCH} boot.img --json -o -"));
    assert!(error.contains("-o - and --json both write to standard output"), "{error}");
}

#[test]
fn a_pipe_has_no_colours() {
    let text = scratch().ok(&format!("{PATCH} boot.img --dry-run"));
    assert!(!text.contains('\x1b'), "{text}");
}

#[test]
fn no_color_wins_over_a_forced_terminal() {
    let scratch = scratch();
    let coloured = |name: &str| {
        let mut command = scratch.command(&format!("{PATCH} boot.img --dry-run"));
        command.env("CLICOLOR_FORCE", "1").env_remove("NO_COLOR");
        if !name.is_empty() {
            command.env(name, "1").env_remove("CLICOLOR_FORCE");
        }
        let run = command.assert().success();
        run.get_output().stdout.contains(&0x1b)
    };
    assert_eq!((coloured(""), coloured("NO_COLOR")), (true, false));
}

#[test]
fn the_consequence_for_avb_is_reported() {
    let scratch = scratch();
    scratch.file("boot.img", &with_avb_footer(&scratch.read("boot.img"), 128 << 10));
    let text = scratch.ok(&format!("{PATCH} boot.img -o out.img"));
    assert!(text.contains("unlocked (orange): boots: verification errors are tolerated"), "{text}");
    assert!(text.contains("locked (green): does not boot: the signed digest"), "{text}");
    assert_eq!(scratch.read("out.img").len(), 128 << 10);
}

#[test]
fn words_and_modules_go_where_they_belong() {
    let scratch = scratch();
    scratch.file("boot.img", &with_config(&scratch.read("boot.img"), ""));
    scratch.file("a.ko", &module("a", RELEASE, ""));
    scratch.ok(&format!("{PATCH} boot.img --add-word x.y=1 --add-module a.ko -o out.img"));
    let line = scratch.ok("cmdline out.img");
    assert!(line.trim_end().ends_with("x.y=1"), "{line}");
}

// --- errors -----------------------------------------------------------------------------------

#[test]
fn a_refusal_names_the_files_and_the_reason() {
    let scratch = scratch();
    scratch.image("b4.img", "boot-v4");
    let error = scratch.error(&format!("{PATCH} b4.img -o out.img"));
    assert!(error.starts_with("vfioboot: b4.img: no ramdisk to put the runtime into"), "{error}");
    assert!(!scratch.exists("out.img"));
}

#[test]
fn a_missing_input_is_named() {
    let error = scratch().error(&format!("{PATCH} none.img -o out.img"));
    assert_eq!(error, "vfioboot: none.img: No such file or directory (os error 2)\n");
}

#[test]
fn a_directory_is_not_an_input() {
    let scratch = scratch();
    fs::create_dir(scratch.path("dir")).unwrap();
    let error = scratch.error(&format!("{PATCH} dir -o out.img"));
    assert_eq!(error, "vfioboot: dir: is a directory, expected a file\n");
}

#[test]
fn an_empty_input_is_named() {
    let scratch = scratch();
    scratch.file("empty.img", b"");
    let error = scratch.error(&format!("{PATCH} empty.img -o out.img"));
    assert!(error.starts_with("vfioboot: empty.img: is not a boot image: "), "{error}");
}

#[test]
fn a_lying_header_names_file_field_offset_and_expectation() {
    let scratch = scratch();
    let mut bytes = scratch.read("boot.img");
    bytes[36..40].copy_from_slice(&7u32.to_le_bytes());
    scratch.file("boot.img", &bytes);
    let error = scratch.error(&format!("{PATCH} boot.img -o out.img"));
    let expected = "boot.img: page_size at offset 36: is 7, expected a page size of 512";
    assert!(error.contains(expected), "{error}");
}

#[test]
fn the_plan_shows_modes_options_and_drivers() {
    let scratch = scratch();
    let mut names: Vec<String> = (0..1000).map(|i| format!("tsome_function_{i}")).collect();
    names.push("tnvme_init".to_owned());
    let config = "CONFIG_VFIO=y\nCONFIG_VFIO_PCI=y\nCONFIG_VFIO_IOMMU_TYPE1=y\n";
    let table = synthetic::symbol_table(synthetic::LAYOUTS[2], &names);
    let kernel = [common::kernel(config), table, b"\0vfio_pci.disable_idle_d3\0".to_vec()].concat();
    let image = common::with_section(&scratch.read("boot.img"), SectionName::Kernel, kernel);
    scratch.file("boot.img", &image);
    let options = "--iommu strict --vfio-option disable_idle_d3=1 --block-driver nvme";
    let text = scratch.ok(&format!("{PATCH} boot.img {options} --dry-run"));
    for part in [
        "IOMMU strict: ",
        "does not require iommu.passthrough=1",
        "iommu.strict=1",
        "option vfio_pci.disable_idle_d3=1",
        "nvme is kept away",
        "initcall_blacklist=nvme_init",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let error = scratch.error(&format!("{PATCH} boot.img --iommu on -o out.img"));
    assert!(error.contains("[possible values: auto, translated,"), "{error}");
    for (option, part) in [
        ("--block-driver nvmee", "the driver nvmee cannot be kept away"),
        ("--vfio-option disable_vga=1", "vfio-pci.disable_idle_d3"),
        ("--vfio-option disable_vga", "NAME=VALUE"),
    ] {
        let error = scratch.error(&format!("{PATCH} boot.img {option} -o out.img"));
        assert!(error.contains(part), "{option}: {error}");
    }
    assert!(!scratch.exists("out.img"));
}

#[test]
fn a_device_that_is_none_is_refused_with_the_forms() {
    let error = scratch().error("patch boot.img --device 1b36 -o out.img");
    assert!(error.contains("\"1b36\" is not a PCI device: expected VENDOR:DEVICE"), "{error}");
}

#[test]
fn a_device_must_be_given() {
    let error = scratch().error("patch boot.img -o out.img");
    assert!(error.contains("--device <DEVICE>"), "{error}");
}

#[test]
fn a_parameter_with_an_open_quote_is_refused() {
    let error = scratch().error(&format!("{PATCH} boot.img -o out.img --add-word a=\"b"));
    assert!(error.contains("a quote that is not closed"), "{error}");
}

#[test]
fn a_deadline_out_of_range_is_refused() {
    let error = scratch().error(&format!("{PATCH} boot.img -o out.img --deadline 5"));
    assert!(error.contains("100..=60000"), "{error}");
}

#[test]
fn a_runtime_for_another_machine_is_refused() {
    let scratch = scratch();
    scratch.file("rt", &elf(X86_64));
    let error = scratch.error(&format!("{PATCH} boot.img -o out.img"));
    assert!(error.contains("the runtime is built for X86_64, the kernel is aarch64"), "{error}");
}

#[test]
fn unpatch_refuses_what_is_not_patched() {
    let error = scratch().error("unpatch boot.img -o out.img");
    assert!(error.starts_with("vfioboot: boot.img: not patched by vfioboot"), "{error}");
}

#[test]
fn unpatch_names_a_missing_sibling() {
    let scratch = set();
    scratch.ok(&format!("{PATCH} boot.img init_boot.img --hook rdinit -d out"));
    let error = scratch.error("unpatch out/init_boot.img -o back.img");
    assert!(error.contains("the set was patched with boot, which is missing"), "{error}");
    let error = scratch.error("unpatch out/boot.img -o back.img");
    assert!(error.contains("give the image with the ramdisk as well"), "{error}");
}

#[test]
fn unpatch_refuses_what_was_changed_since() {
    let scratch = scratch();
    scratch.ok(&format!("{PATCH} boot.img -o out.img"));
    let mut bytes = scratch.read("out.img");
    bytes[4000] ^= 1;
    scratch.file("out.img", &bytes);
    let error = scratch.error("unpatch out.img -o back.img");
    assert!(error.contains("boot was changed after it was patched"), "{error}");
    assert!(!scratch.exists("back.img"));
}

#[test]
fn an_unterminated_line_is_a_warning_and_mended() {
    let scratch = scratch();
    let mut bytes = with_cmdline(&scratch.read("boot.img"), "x");
    bytes[64..576].fill(b'x');
    scratch.file("boot.img", &bytes);
    let run = scratch.run(&format!("{PATCH} boot.img -o out.img")).success();
    let error = String::from_utf8(run.get_output().stderr.clone()).unwrap();
    assert!(error.contains("warning: boot.img: cmdline at offset 64: all 512 bytes"), "{error}");
}

/// A boot image with a legacy rootfs that has `init.rc` and `sbin`.
fn legacy_rootfs() -> Scratch {
    let scratch = scratch();
    let entries: [(&str, &[u8]); 4] = [
        ("init", b"\x7fELF"),
        ("init.rc", b"import /init.usb.rc\n"),
        ("sbin/", b""),
        ("default.prop", b"ro.debuggable=1\n"),
    ];
    let bytes = common::with_section(
        &scratch.read("boot.img"),
        SectionName::Ramdisk,
        common::cpio(&entries),
    );
    scratch.file("boot.img", &bytes);
    scratch
}

#[test]
fn rc_files_are_put_in_and_shown() {
    let scratch = legacy_rootfs();
    scratch.file("mine.rc", b"on boot\n    start mine\n");
    let text = scratch.ok(&format!("{PATCH} boot.img --rc mine.rc -o out.img"));
    assert!(text.contains("+ /init.vfioboot.mine.rc: mine.rc, yours"), "{text}");
    assert!(text.contains("autostart of guests: by init, as u:r:su:s0"), "{text}");
    let init_rc = scratch.ok("ramdisk out.img cat init.rc");
    assert_eq!(init_rc, "import /init.usb.rc\nimport /init.vfioboot.rc\n");
    scratch.ok("unpatch out.img -o back.img");
    assert!(scratch.read("back.img") == scratch.read("boot.img"));
}

#[test]
fn no_autostart_leaves_init_rc_alone() {
    let scratch = legacy_rootfs();
    scratch.ok(&format!("{PATCH} boot.img --no-autostart -o out.img"));
    assert_eq!(scratch.ok("ramdisk out.img cat init.rc"), "import /init.usb.rc\n");
}

#[test]
fn another_label_can_be_named_and_must_be_one() {
    let scratch = legacy_rootfs();
    scratch.ok(&format!("{PATCH} boot.img --seclabel u:r:sudaemon:s0 -o out.img"));
    let text = scratch.ok("ramdisk out.img cat init.vfioboot.rc");
    assert!(text.contains("    seclabel u:r:sudaemon:s0\n"), "{text}");
    let error = scratch.error(&format!("{PATCH} boot.img --seclabel su -o out.img"));
    assert!(error.contains("expected USER:ROLE:TYPE:LEVEL"), "{error}");
}

#[test]
fn an_rc_file_that_init_would_not_read_is_refused() {
    let scratch = scratch();
    scratch.file("mine.rc", b"on boot\n    start mine\n");
    scratch.image("boot.img", "init_boot-v4");
    let error = scratch.error(&format!("{PATCH} boot.img --rc mine.rc -o out.img"));
    assert!(
        error.contains("mine.rc: init would not read an rc file in this ramdisk: two-stage"),
        "{error}"
    );
    assert!(!scratch.exists("out.img"));
}

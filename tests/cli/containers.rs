//! Images within other files: each container with each command, and what is in it byte for byte.

use crate::common;
use crate::common::archives::{self, sparse, super_image, tar, tar_md5, zip};
use crate::common::avb;
use crate::common::cli;

use cli::Scratch;
use common::{AARCH64, elf, fixture};
use serde_json::Value;
use vfioboot::compression::{Format, encode};
use zip::CompressionMethod::{Deflated, Stored};

const PATCH: &str = "patch --runtime rt --device 1b36:0010 --anyway";
/// What makes `check` pass.
const CONFIG: &str = common::synthetic::CONFIG;

fn packed(format: Format, bytes: &[u8]) -> Vec<u8> {
    encode(format, bytes, None).unwrap()
}

/// A boot image with a kernel that has a config, in whole blocks.
fn boot() -> Vec<u8> {
    let mut bytes = common::with_config(&fixture("images/boot-v2-gzip-dtbo.img"), CONFIG);
    bytes.resize(bytes.len().next_multiple_of(4096), 0);
    bytes
}

/// A directory with the runtime `rt` and the image `plain.img`.
fn scratch() -> Scratch {
    let scratch = Scratch::new();
    scratch.file("rt", &elf(AARCH64));
    scratch.file("plain.img", &boot());
    scratch
}

/// Files around one boot image, each with the form that `info` gives in JSON.
fn around_one() -> Vec<(&'static str, Vec<u8>, Vec<&'static str>)> {
    let boot = boot();
    let lz4 = packed(Format::Lz4Frame, &boot);
    // As pbzip2 and pigz do it: a stream for each part.
    let (one, two) = boot.split_at(5000);
    let two_streams = [packed(Format::Gzip, one), packed(Format::Gzip, two)].concat();
    let of_tar = [("boot.img.lz4", &lz4[..])];
    vec![
        ("boot.img.lz4", lz4.clone(), vec!["lz4"]),
        ("legacy.img.lz4", packed(Format::Lz4Legacy, &boot), vec!["lz4_legacy"]),
        ("boot.img.gz", packed(Format::Gzip, &boot), vec!["gzip"]),
        ("parts.img.gz", two_streams, vec!["gzip"]),
        ("boot.img.xz", packed(Format::Xz, &boot), vec!["xz"]),
        ("boot.img.zst", packed(Format::Zstd, &boot), vec!["zstd"]),
        ("boot.img.bz2", packed(Format::Bzip2, &boot), vec!["bzip2"]),
        ("boot.img.lzma", packed(Format::Lzma, &boot), vec!["lzma"]),
        // Contents decide, not names.
        ("boot.img", packed(Format::Xz, &boot), vec!["xz"]),
        (
            "twice.img.lz4",
            packed(Format::Lz4Frame, &packed(Format::Gzip, &boot)),
            vec!["lz4", "gzip"],
        ),
        ("sparse.img", sparse(&boot), vec!["sparse"]),
        ("sparse.img.lz4", packed(Format::Lz4Frame, &sparse(&boot)), vec!["lz4", "sparse"]),
        ("AP_x.tar.md5", tar_md5(&of_tar), vec!["tar"]),
        ("one.tgz", packed(Format::Gzip, &tar(&of_tar)), vec!["gzip", "tar"]),
        ("one.zip", zip(&[("x/boot.img", &boot)], Deflated), vec!["zip"]),
        ("within.zip", zip(&[("x/boot.img", &sparse(&boot))], Deflated), vec!["zip", "sparse"]),
    ]
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

// --- one image --------------------------------------------------------------------------------

#[test]
fn info_shows_the_image_and_what_is_around_it() {
    let scratch = scratch();
    let plain = json(&scratch.ok("info --json plain.img"));
    assert_eq!(plain["images"][0]["container"], serde_json::json!([]));
    for (name, bytes, forms) in around_one() {
        scratch.file(name, &bytes);
        let mut report = json(&scratch.ok(&format!("info --json {name}")));
        let image = &mut report["images"][0];
        assert_eq!(image["container"], serde_json::json!(forms), "{name}");
        image["file"] = plain["images"][0]["file"].clone();
        image["container"] = plain["images"][0]["container"].clone();
        assert_eq!(image, &plain["images"][0], "{name}");
        let text = scratch.ok(&format!("info {name}"));
        assert!(text.contains("out of"), "{name}: {text}");
    }
}

#[test]
fn check_and_config_read_the_kernel_in_it() {
    let scratch = scratch();
    let verdict = |name: &str| {
        let output = scratch.run(&format!("check --format json {name}")).get_output().clone();
        let report = json(&String::from_utf8(output.stdout).unwrap());
        (output.status.code(), report["inputs"][0]["findings"].clone())
    };
    let plain = verdict("plain.img");
    assert!(plain.1.as_array().is_some_and(|findings| !findings.is_empty()));
    let config = scratch.ok("config plain.img");
    for (name, bytes, _) in around_one() {
        scratch.file(name, &bytes);
        let found = verdict(name);
        assert_eq!(found.0, plain.0, "{name}");
        assert_eq!(found.1.as_array().unwrap().len(), plain.1.as_array().unwrap().len(), "{name}");
        assert!(scratch.ok(&format!("config {name}")) == config, "{name}");
    }
}

#[test]
fn patch_writes_the_plain_image_and_says_so() {
    let scratch = scratch();
    scratch.ok(&format!("{PATCH} plain.img -o expected.img"));
    for (number, (name, bytes, _)) in around_one().into_iter().enumerate() {
        scratch.file(name, &bytes);
        let dir = format!("out{number}");
        let run = scratch.run(&format!("{PATCH} {name} -d {dir}")).success();
        let said = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
        assert!(said.contains(&format!("note: {name}")), "{name}: {said}");
        let names = scratch.names(&dir);
        let [written] = &names[..] else { panic!("{name}: {names:?}") };
        assert!(written.ends_with(".img"), "{name}: {written}");
        assert!(
            scratch.read(&format!("{dir}/{written}")) == scratch.read("expected.img"),
            "{name}"
        );
        assert!(scratch.read(name) == bytes, "{name}: the input stays");
    }
    // A patched image in a container is undone to the plain image.
    scratch.file("patched.img.gz", &packed(Format::Gzip, &scratch.read("expected.img")));
    scratch.ok("unpatch patched.img.gz -o back.img");
    assert!(scratch.read("back.img") == boot());
}

#[test]
fn extract_gives_the_image_byte_for_byte() {
    let scratch = scratch();
    for (number, (name, bytes, forms)) in around_one().into_iter().enumerate() {
        scratch.file(name, &bytes);
        let dir = format!("out{number}");
        scratch.ok(&format!("extract {name} -d {dir}"));
        let names = scratch.names(&dir);
        let [written] = &names[..] else { panic!("{name}: {names:?}") };
        // A sparse image in an archive is what fastboot takes.
        let expected = if forms == ["zip", "sparse"] { sparse(&boot()) } else { boot() };
        assert!(scratch.read(&format!("{dir}/{written}")) == expected, "{name}");
    }
}

#[test]
fn the_other_commands_for_images_take_it_too() {
    let scratch = scratch();
    scratch.file("boot.img.lz4", &packed(Format::Lz4Frame, &boot()));
    for [arguments, result] in [
        ["ramdisk NAME add etc/x rt -o OUT", "added.img"],
        ["cmdline NAME --add quiet2 -o OUT", "line.img"],
    ] {
        let run = |name: &str, out: &str| {
            scratch.ok(&arguments.replace("NAME", name).replace("OUT", out));
            scratch.read(out)
        };
        assert!(run("plain.img", result) == run("boot.img.lz4", "packed.img"), "{arguments}");
    }
    scratch.ok("unpack plain.img -d one");
    scratch.ok("unpack boot.img.lz4 -d two");
    assert_eq!(scratch.names("one"), scratch.names("two"));
    scratch.ok("repack two -o again.img");
    assert!(scratch.read("again.img") == boot());
    assert_eq!(scratch.ok("ramdisk boot.img.lz4 ls"), scratch.ok("ramdisk plain.img ls"));
}

#[test]
fn standard_input_may_be_a_container() {
    let scratch = scratch();
    let lz4 = packed(Format::Lz4Frame, &boot());
    let run = |arguments: &str| scratch.command(arguments).write_stdin(lz4.clone()).assert();
    run("info -").success();
    run("config -").success();
    let checked = run("check -").get_output().status.code();
    assert_eq!(checked, scratch.run("check plain.img").get_output().status.code());
    run(&format!("{PATCH} - -o out.img")).success();
    scratch.ok(&format!("{PATCH} plain.img -o expected.img"));
    assert!(scratch.read("out.img") == scratch.read("expected.img"));
}

// --- several images ---------------------------------------------------------------------------

/// The images of a device, by file name.
fn set() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("boot.img", common::with_config(&fixture("images/boot-v4.img"), CONFIG)),
        ("init_boot.img", fixture("images/init_boot-v4.img")),
        ("vendor_boot.img", fixture("images/vendor_boot-v4.img")),
        ("vbmeta.img", avb::image("vbmeta")),
    ]
}

fn borrowed<'f>(files: &'f [(&'f str, Vec<u8>)]) -> Vec<(&'f str, &'f [u8])> {
    files.iter().map(|(name, bytes)| (*name, &bytes[..])).collect()
}

/// Files with the images of a device, as vendors publish them.
fn around_a_set() -> Vec<(&'static str, Vec<u8>)> {
    let images = set();
    let noise = archives::noise(5000);
    let system = [("system.img", noise.clone()), ("recovery.img", noise.clone())];
    let all: Vec<_> = images.iter().cloned().chain(system).collect();
    let inner = zip(&borrowed(&all), Deflated);
    let google = [
        ("oriole-x1/flash-all.sh", &b"#!/bin/sh\n"[..]),
        ("oriole-x1/bootloader-oriole-slider-1.0-1.img", &noise),
        ("oriole-x1/radio-oriole-g5123b-1.img", &noise),
        ("oriole-x1/image-oriole-x1.zip", &inner),
    ];
    let lz4: Vec<(String, Vec<u8>)> = all
        .iter()
        .map(|(name, bytes)| (format!("{name}.lz4"), packed(Format::Lz4Frame, bytes)))
        .collect();
    let lz4: Vec<_> = lz4.iter().map(|(name, bytes)| (name.as_str(), &bytes[..])).collect();
    let samsung = tar_md5(&lz4);
    let xiaomi: Vec<(String, &[u8])> =
        all.iter().map(|(name, bytes)| (format!("x_global_1/images/{name}"), &bytes[..])).collect();
    let xiaomi: Vec<_> = xiaomi.iter().map(|(name, bytes)| (name.as_str(), *bytes)).collect();
    let odin = [
        ("AP_x.tar.md5", &samsung[..]),
        ("BL_x.tar.md5", &tar(&[("sboot.bin", &noise)])),
        ("CSC_x.tar.md5", &tar(&[("cache.img.lz4", &noise)])),
    ];
    vec![
        ("factory-stored.zip", zip(&google, Stored)),
        ("factory-deflated.zip", zip(&google, Deflated)),
        // Without a bootloader, and under another name.
        ("other.zip", zip(&[("readme.txt", b"x"), ("images.zip", &inner)], Deflated)),
        ("images.zip", inner.clone()),
        ("AP_x.tar.md5", samsung.clone()),
        ("samsung.zip", zip(&odin, Deflated)),
        ("xiaomi.tgz", packed(Format::Gzip, &tar(&xiaomi))),
        ("xiaomi.tar.xz", packed(Format::Xz, &tar(&xiaomi))),
    ]
}

#[test]
fn extract_takes_the_images_out_of_every_archive() {
    for (name, bytes) in around_a_set() {
        let scratch = Scratch::new();
        scratch.file(name, &bytes);
        scratch.ok(&format!("extract {name} -d out"));
        for (image, expected) in set() {
            assert!(scratch.read(&format!("out/{image}")) == expected, "{name}: {image}");
        }
        assert_eq!(scratch.names("out").len(), set().len() + 1, "{name}: and recovery.img");
        scratch.ok(&format!("extract {name} system vendor_boot -d named"));
        assert_eq!(scratch.names("named"), ["system.img", "vendor_boot.img"], "{name}");
        assert!(scratch.read("named/system.img") == archives::noise(5000), "{name}");
        let list = json(&scratch.ok(&format!("extract {name} --list --json")));
        assert_eq!(list["partitions"].as_array().unwrap().len(), 6, "{name}");
    }
}

#[test]
fn info_check_and_verify_take_the_boot_set_of_every_archive() {
    let plain = Scratch::new();
    for (name, bytes) in set() {
        plain.file(name, &bytes);
    }
    let files = "boot.img init_boot.img vendor_boot.img vbmeta.img";
    let verified = plain.run(&format!("verify {files}")).get_output().status.code();
    let checked = plain.run(&format!("check {files}")).get_output().status.code();
    assert_ne!(checked, Some(2));
    for (name, bytes) in around_a_set() {
        let scratch = Scratch::new();
        scratch.file(name, &bytes);
        let report = json(&scratch.ok(&format!("info --json {name}")));
        let kinds: Vec<_> =
            report["images"].as_array().unwrap().iter().map(|own| &own["kind"]).collect();
        assert_eq!(kinds, ["boot", "init_boot", "vendor_boot", "vbmeta"], "{name}");
        assert_eq!(report["images"][0]["file"], format!("{name}/boot.img"));
        let run = scratch.run(&format!("check --format json {name}"));
        assert_eq!(run.get_output().status.code(), checked, "{name}");
        let report = json(&String::from_utf8_lossy(&run.get_output().stdout));
        let inputs = report["inputs"].as_array().unwrap();
        assert_eq!(inputs.len(), 1, "{name}: one set");
        assert_eq!(inputs[0]["input"], format!("{name}/boot.img"));
        assert_eq!(scratch.run(&format!("verify {name}")).get_output().status.code(), verified);
    }
}

#[test]
fn verify_takes_the_partition_of_an_image_in_a_container() {
    let image = avb::image("boot-of-another-name");
    let others = avb::image("init_boot-SHA256_RSA2048");
    for (name, bytes) in [
        ("x.zip", zip(&[("a/boot.img", &image), ("a/init_boot.img", &others)], Deflated)),
        ("AP_x.tar.md5", tar_md5(&[("boot.img", &image), ("init_boot.img", &others)])),
    ] {
        let scratch = Scratch::new();
        scratch.file(name, &bytes);
        let verdict = |arguments: &str| {
            let run = scratch.run(&format!("verify --json {name} {arguments}"));
            let output = run.get_output();
            let report = json(&String::from_utf8_lossy(&output.stdout));
            (output.status.code(), report["images"][0]["verified"] == true)
        };
        assert_eq!(verdict(""), (Some(1), false), "{name}");
        let named = verdict(&format!("--partition {name}/boot.img=kernel_boot"));
        assert_eq!(named, (Some(0), true), "{name}");
        let wrong = verdict(&format!("--partition {name}/boot.img=dtbo"));
        assert_eq!(wrong, (Some(1), false), "{name}");
        // A file that is not there, and a name for one of two.
        scratch.error(&format!("verify {name} --partition {name}/recovery.img=recovery"));
        let error = scratch.error(&format!("verify {name} --partition kernel_boot"));
        assert!(error.contains(&format!("{name}/boot.img=kernel_boot")), "{error}");
    }
}

#[test]
fn patch_names_the_command_that_takes_the_images_out() {
    for (name, bytes) in around_a_set() {
        let scratch = scratch();
        scratch.file(name, &bytes);
        let error = scratch.error(&format!("{PATCH} {name} -d out"));
        let command = format!("vfioboot extract {name} -d DIR boot init_boot vendor_boot vbmeta");
        assert!(error.contains(&command), "{name}: {error}");
        assert!(!scratch.exists("out"), "{name}");
        // It works.
        scratch.ok(&command["vfioboot ".len()..].replace("DIR", "images"));
        scratch.ok(&format!(
            "{PATCH} images/boot.img images/init_boot.img images/vendor_boot.img -d out"
        ));
    }
}

#[test]
fn an_image_under_another_name_is_found_by_its_header() {
    let scratch = scratch();
    let files = [("readme.txt", &b"x"[..]), ("magisk_patched-27000_abc.img", &boot())];
    for (name, bytes) in [("m.zip", zip(&files, Deflated)), ("m.tar", tar(&files))] {
        scratch.file(name, &bytes);
        scratch.ok(&format!("extract {name} -d out"));
        assert!(scratch.read("out/magisk_patched-27000_abc.img") == boot(), "{name}");
        scratch.ok(&format!("info {name}"));
        scratch.ok(&format!("{PATCH} {name} -o {name}.img"));
    }
}

// --- kernels ----------------------------------------------------------------------------------

#[test]
fn an_anykernel_zip_has_a_kernel_to_check() {
    let kernel = common::kernel(CONFIG);
    let gz = packed(Format::Gzip, &kernel);
    for (file, bytes) in [("Image.gz-dtb", &gz), ("Image", &kernel), ("zImage-dtb", &gz)] {
        let scratch = scratch();
        let files = [
            ("anykernel.sh", &b"# AnyKernel3\n"[..]),
            (file, bytes),
            ("tools/busybox", &elf(AARCH64)),
            // Only the name of a kernel.
            ("Image.txt", b"text"),
        ];
        scratch.file("ak3.zip", &zip(&files, Deflated));
        scratch.file("kernel", bytes);
        let checked = scratch.run("check kernel").get_output().status.code();
        assert_eq!(scratch.run("check ak3.zip").get_output().status.code(), checked, "{file}");
        assert_eq!(scratch.ok("config ak3.zip"), scratch.ok("config kernel"), "{file}");
        scratch.ok("info ak3.zip");
        scratch.ok("extract ak3.zip -d out");
        assert_eq!(scratch.names("out"), [file]);
        assert!(scratch.read(&format!("out/{file}")) == *bytes, "{file}: as it is in the zip");
        let error = scratch.error(&format!("{PATCH} ak3.zip -d patched"));
        assert!(error.contains(file) && error.contains("boot image of the device"), "{error}");
    }
}

// --- sparse and super images ------------------------------------------------------------------

#[test]
fn super_images_have_partitions() {
    let system = archives::noise(512 * 7);
    let vendor = [&archives::noise(512)[..], &[0; 4096]].concat();
    let partitions = [("system_a", &system[..]), ("vendor_a", &vendor), ("system_b", b"")];
    let image = super_image(&partitions);
    for (name, bytes) in [
        ("super.img", image.clone()),
        ("sparse.img", sparse(&image)),
        ("super.img.lz4", packed(Format::Lz4Frame, &sparse(&image))),
    ] {
        let scratch = Scratch::new();
        scratch.file(name, &bytes);
        let list = json(&scratch.ok(&format!("extract {name} --list --json")));
        let names: Vec<_> =
            list["partitions"].as_array().unwrap().iter().map(|own| &own["name"]).collect();
        assert_eq!(names, ["system_a", "vendor_a"], "{name}");
        scratch.ok(&format!("extract {name} vendor_a system_a -d out"));
        let with_zeros = |bytes: &[u8]| [bytes, &[0; 512]].concat();
        assert!(scratch.read("out/system_a.img") == with_zeros(&system), "{name}");
        assert!(scratch.read("out/vendor_a.img") == with_zeros(&vendor), "{name}");
        let error = scratch.error(&format!("info {name}"));
        assert!(error.contains("system_a") && error.contains("vfioboot extract"), "{error}");
    }
    // The copies are read where the first ones are damaged.
    let mut damaged = image;
    damaged[4100] ^= 1;
    damaged[12288 + 20] ^= 1;
    let scratch = Scratch::new();
    scratch.file("super.img", &damaged);
    scratch.ok("extract super.img system_a -d out");
    damaged[12288 + 2 * 4096 + 20] ^= 1;
    scratch.file("super.img", &damaged);
    scratch.error("extract super.img system_a -d other");
}

#[test]
fn sparse_chunks_of_every_kind_are_expanded() {
    let mut image = archives::noise(4096);
    image.extend([0; 8192]);
    image.extend(b"fill".repeat(1024));
    image.extend(archives::noise(4096));
    let scratch = Scratch::new();
    scratch.file("system.img", &sparse(&image));
    scratch.ok("extract system.img -d out");
    assert!(scratch.read("out/system.img") == image);
}

//! `vfioboot ramdisk` as a user runs it.

use crate::common::archives;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command as Process;

use archives::{archive, names, noise, packed, vendor_boot};
use assert_cmd::Command;
use predicates::prelude::*;
use vfioboot::compression::{Format, decode_all};
use vfioboot::image::{Image, SectionName};
use vfioboot::ramdisk::cpio::{CpioWriter, Header};

fn vfioboot() -> Command {
    Command::cargo_bin("vfioboot").unwrap()
}

/// A directory with a gzip ramdisk in it.
struct Fixture {
    dir: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Self {
        let mut writer = CpioWriter::new(Vec::new());
        writer.dir(b"dev", 0o755).unwrap();
        writer.node(b"dev/null", 0o020_666, (1, 3)).unwrap();
        writer.file(b"init", 0o4750, b"old").unwrap();
        writer.symlink(b"link", b"init").unwrap();
        writer.file(b"init", 0o755, b"new\n").unwrap();
        let fixture = Fixture { dir: tempfile::tempdir().unwrap() };
        fixture.write("rd", &packed(Some(Format::Gzip), &writer.finish().unwrap()));
        fixture
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        fs::write(self.path(name), bytes).unwrap();
        self.path(name)
    }

    fn run(&self, arguments: &[&str]) -> assert_cmd::assert::Assert {
        vfioboot().current_dir(self.dir.path()).arg("ramdisk").args(arguments).assert()
    }
}

#[test]
fn ls_is_like_ls() {
    let lines = "\
drwxr-xr-x   2     0     0         0 1970-01-01 00:00 dev
crw-rw-rw-   1     0     0      1, 3 1970-01-01 00:00 dev/null
-rwsr-x---   1     0     0         3 1970-01-01 00:00 init
lrwxrwxrwx   1     0     0         4 1970-01-01 00:00 link -> init
-rwxr-xr-x   1     0     0         4 1970-01-01 00:00 init
";
    Fixture::new().run(&["rd", "ls"]).success().stdout(lines).stderr("");
}

#[test]
fn ls_json_has_everything() {
    let fixture = Fixture::new();
    let mut bytes = fs::read(fixture.path("rd")).unwrap();
    let end = bytes.len();
    bytes.resize(end.next_multiple_of(4) + 4, 0);
    let mut writer = CpioWriter::new(Vec::new());
    writer.file(b"not \xff utf-8", 0o644, b"").unwrap();
    bytes.extend(writer.finish().unwrap());
    bytes.extend(b"junk");
    fixture.write("rd", &bytes);
    let output = fixture.run(&["rd", "ls", "--json"]).success();
    let json: serde_json::Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    assert_eq!(json["format"], 1);
    let entries = json["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 6);
    assert_eq!(entries[1]["rdev"], serde_json::json!([1, 3]));
    assert_eq!(entries[1]["type"], "char_device");
    assert_eq!((&entries[2]["mode"], &entries[2]["segment"]), (&"4750".into(), &0.into()));
    assert_eq!(entries[3]["target"], "init");
    assert_eq!(
        (&entries[5]["name"], &entries[5]["segment"]),
        (&"not \\xff utf-8".into(), &1.into())
    );
    assert_eq!(entries[5]["name_hex"], base16ct::lower::encode_string(b"not \xff utf-8"));
    assert_eq!(json["segments"][0]["compression"], "gzip");
    assert_eq!(json["segments"][0]["size"], end);
    assert_eq!(json["segments"][1]["compression"], serde_json::Value::Null);
    assert_eq!(json["segments"][1]["reach"], "always");
    assert_eq!(json["padding"][0]["offset"], end);
    assert_eq!(json["trailing"]["size"], 4);
}

#[test]
fn ls_says_what_no_kernel_unpacks() {
    let fixture = Fixture::new();
    let lz4 = packed(Some(Format::Lz4Legacy), &archive(&[("a", b"")]));
    let gzip = packed(Some(Format::Gzip), &archive(&[("b", b"")]));
    fixture.write("trap", &[&lz4[..], &gzip].concat());
    let expected = format!("trap: no kernel unpacks what follows offset {:#x}", lz4.len());
    fixture.run(&["trap", "ls"]).success().stderr(predicate::str::contains(expected));
}

#[test]
fn cat_prints_the_last_of_several() {
    let fixture = Fixture::new();
    for path in ["init", "/init", "./link"] {
        fixture.run(&["rd", "cat", path]).success().stdout("new\n");
    }
    fixture
        .run(&["rd", "cat", "dev"])
        .code(2)
        .stderr(predicate::str::contains("vfioboot: rd: \"dev\": is not a regular file"));
    fixture.run(&["rd", "cat", "none"]).code(2).stderr(predicate::str::contains("no such entry"));
    let bytes = fs::read(fixture.path("rd")).unwrap();
    vfioboot().args(["ramdisk", "-", "cat", "init"]).write_stdin(bytes).assert().stdout("new\n");
}

#[test]
fn extract_says_what_it_skips() {
    let fixture = Fixture::new();
    fixture
        .run(&["rd", "extract", "out"])
        .success()
        .stderr(predicate::str::contains("vfioboot: skipped dev/null: device nodes are not made"));
    assert_eq!(fs::read(fixture.path("out/init")).unwrap(), b"new\n");
    fixture.run(&["rd", "extract", "out"]).code(2).stderr(predicate::str::contains("is not empty"));
}

/// An entry with names that [`CpioWriter`] does not write.
fn by_hand(name: &[u8], mode: u32, data: &[u8]) -> Vec<u8> {
    let header = Header {
        mode,
        nlink: 1,
        filesize: data.len() as u32,
        namesize: name.len() as u32 + 1,
        ..Header::default()
    };
    let mut bytes = header.to_bytes().to_vec();
    for part in [&[name, &[0]].concat()[..], data] {
        bytes.extend_from_slice(part);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    }
    bytes
}

#[test]
fn extract_makes_what_can_be_made_and_names_the_rest() {
    let long = "n".repeat(256);
    let deep = "d/".repeat(2500);
    let longest = "x".repeat(5000);
    let cases: [(&[u8], u32, &[u8], &str); 6] = [
        (b"lnk", 0o120_777, b"a\0b", "lnk"),
        (b"empty", 0o120_777, b"", "empty"),
        (long.as_bytes(), 0o100_644, b"x", "nnnnnnnn"),
        (deep.as_bytes(), 0o040_755, b"", "d/d/d/"),
        (longest.as_bytes(), 0o100_644, b"data", "xxxxxxxx"),
        (b"", 0o100_644, b"data", "skipped"),
    ];
    for (name, mode, data, named) in cases {
        let fixture = Fixture::new();
        let mut bytes = by_hand(b"before", 0o100_644, b"one");
        bytes.extend(by_hand(name, mode, data));
        bytes.extend(by_hand(b"after", 0o100_644, b"two"));
        bytes.extend(by_hand(b"TRAILER!!!", 0, b""));
        fixture.write("rd", &packed(Some(Format::Gzip), &bytes));
        let run = fixture.run(&["rd", "extract", "out"]).code(1);
        run.stderr(predicate::str::contains(named));
        for (file, expected) in [("before", "one"), ("after", "two")] {
            let found = fs::read_to_string(fixture.path("out").join(file)).unwrap();
            assert_eq!(found, expected, "{named}");
        }
    }
}

#[test]
fn an_entry_that_the_kernel_skips_is_none() {
    // do_header skips a name of more than PATH_MAX bytes, or of none; the tree does not have it.
    let longest = "x".repeat(5000);
    let mut bytes = by_hand(b"first", 0o100_644, b"1");
    bytes.extend(by_hand(longest.as_bytes(), 0o100_644, b"data"));
    let mut nameless = by_hand(b"abc", 0o100_644, b"");
    nameless[94..102].copy_from_slice(b"00000000");
    // Its data is what was its name.
    nameless[54..62].copy_from_slice(b"00000004");
    bytes.extend(nameless);
    bytes.extend(by_hand(b"last", 0o100_644, b"2"));
    bytes.extend(by_hand(b"TRAILER!!!", 0, b""));
    let fixture = Fixture::new();
    for compression in [None, Some(Format::Gzip)] {
        fixture.write("rd", &packed(compression, &bytes));
        assert_eq!(names(&fs::read(fixture.path("rd")).unwrap()), ["first", "last"]);
        let run = fixture.run(&["rd", "ls"]).success();
        run.stderr(
            predicate::str::contains("rd: no kernel unpacks \"xxx")
                .and(predicate::str::contains(
                    "its name has 5001 bytes with its NUL, expected 1 to 4096",
                ))
                .and(predicate::str::contains("rd: no kernel unpacks \"\": its name has 0 bytes")),
        );
        // What is rewritten keeps it.
        fixture.run(&["rd", "rm", "first", "-o", "less"]).success();
        let less = fs::read(fixture.path("less")).unwrap();
        assert_eq!(names(&less), ["last"]);
        let whole = match compression {
            None => less,
            Some(format) => decode_all(format, &less, 1 << 20).unwrap().0,
        };
        assert!(whole == bytes[by_hand(b"first", 0o100_644, b"1").len()..], "{compression:?}");
    }
}

#[test]
fn the_fragment_is_chosen_before_and_after_the_subcommand() {
    let fixture = Fixture::new();
    let one = packed(Some(Format::Gzip), &archive(&[("one", b"1")]));
    let two = packed(Some(Format::Gzip), &archive(&[("two", b"2")]));
    fixture.write("vendor_boot.img", &vendor_boot(&[("", one), ("other", two)]));
    let image = "vendor_boot.img";
    for arguments in [
        &["--fragment", "1", image, "ls"][..],
        &[image, "--fragment", "1", "ls"],
        &[image, "ls", "--fragment", "1"],
        &[image, "cat", "two", "--fragment=1"],
        &[image, "extract", "--fragment", "1", "out"],
    ] {
        fixture.run(arguments).success();
    }
    assert_eq!(fs::read_to_string(fixture.path("out/two")).unwrap(), "2");
    fixture.run(&[image, "ls", "--fragment", "2"]).code(2);
}

#[test]
fn add_then_rm() {
    let fixture = Fixture::new();
    let plain = fs::read(fixture.path("rd")).unwrap();
    fixture.write("file", b"#!/bin/sh\n");
    fixture.run(&["rd", "add", "sbin/x", "file", "--mode", "0750", "-o", "out"]).success();
    let added = fs::read(fixture.path("out")).unwrap();
    assert!(added.starts_with(&plain));
    fixture
        .run(&["out", "ls"])
        .stdout(predicate::str::is_match("(?m)^-rwxr-x---.* 10 .* sbin/x$").unwrap());
    fixture.run(&["out", "rm", "-r", "sbin", "-o", "less"]).success();
    fixture.run(&["less", "ls"]).stdout(predicate::str::contains("sbin").not());
    // Never onto an input.
    fixture.run(&["rd", "rm", "init", "-o", "rd"]).code(2);
    fixture.run(&["rd", "add", "x", "file", "-o", "file"]).code(2);
    assert_eq!(fs::read(fixture.path("rd")).unwrap(), plain);
    fixture.run(&["rd", "add", "x", "file", "--mode", "0999", "-o", "out"]).code(2);
}

#[test]
fn a_closed_pipe_is_not_an_error() {
    let fixture = Fixture::new();
    fixture.write("big", &packed(Some(Format::Gzip), &archive(&[("f", &noise(1 << 20))])));
    let program = assert_cmd::cargo::cargo_bin("vfioboot");
    let script = format!("set -o pipefail; {} ramdisk big cat f | head -c 1", program.display());
    let status = Process::new("bash")
        .args(["-c", &script])
        .current_dir(fixture.dir.path())
        .stdout(std::process::Stdio::null())
        .status();
    assert!(status.unwrap().success());
}

#[test]
fn damage_is_reported_with_its_offset() {
    let fixture = Fixture::new();
    let mut bytes = fs::read(fixture.path("rd")).unwrap();
    bytes.truncate(bytes.len() - 6);
    fixture.write("cut", &bytes);
    fixture.run(&["cut", "ls"]).code(2).stderr(predicate::str::contains(
        "vfioboot: cut: ramdisk segment at offset 0x0: gzip stream: ",
    ));
    let mut raw = archive(&[("init", b"x")]);
    raw[20] = b'g';
    fixture.write("bad", &raw);
    fixture.run(&["bad", "ls"]).code(2).stderr(predicate::str::contains("mode at offset 0xe is"));
    fixture.write("text", b"hello");
    fixture.run(&["text", "ls"]).code(2);
}

/// A boot image v4 by hand: header page, kernel page, ramdisk.
fn boot_v4(ramdisk: &[u8]) -> Vec<u8> {
    let mut image = b"ANDROID!".to_vec();
    for word in [4096, ramdisk.len() as u32, 0, 1584, 0, 0, 0, 0, 4] {
        image.extend(word.to_le_bytes());
    }
    image.resize(4096, 0);
    image.extend(noise(4096));
    image.extend(ramdisk);
    image.resize(image.len().next_multiple_of(4096), 0);
    image
}

#[test]
fn a_boot_image_keeps_all_but_its_ramdisk() {
    let fixture = Fixture::new();
    let ramdisk = fs::read(fixture.path("rd")).unwrap();
    let image = boot_v4(&ramdisk);
    fixture.write("boot.img", &image);
    fixture.write("file", b"data");
    fixture.run(&["boot.img", "cat", "init"]).success().stdout("new\n");
    fixture.run(&["boot.img", "add", "x", "file", "-o", "new.img"]).success();
    let new = fs::read(fixture.path("new.img")).unwrap();
    let parsed = Image::parse(&new).unwrap();
    assert_eq!(parsed.section(SectionName::Kernel).unwrap(), &image[4096..8192]);
    let grown = parsed.section(SectionName::Ramdisk).unwrap();
    assert!(grown.starts_with(&ramdisk));
    assert_eq!(names(grown).last().unwrap(), "x");
    fixture.run(&["boot.img", "--fragment", "0", "ls"]).code(2);
}

#[test]
fn a_fragment_of_vendor_boot_is_changed_alone() {
    let fixture = Fixture::new();
    let lz4 = |name: &str| packed(Some(Format::Lz4Legacy), &archive(&[(name, &noise(3000))]));
    let image = vendor_boot(&[("", lz4("one")), ("dlkm", lz4("two")), ("last", lz4("three"))]);
    fixture.write("vendor.img", &image);
    fixture.run(&["vendor.img", "ls"]).code(2).stderr(
        predicate::str::contains("has 3 ramdisk fragments")
            .and(predicate::str::contains("1: \"dlkm\"")),
    );
    fixture.run(&["vendor.img", "--fragment", "3", "ls"]).code(2);
    fixture.write("file", &noise(5000));
    fixture
        .run(&["vendor.img", "--fragment", "1", "add", "lib/x.ko", "file", "-o", "new.img"])
        .success();
    let new = fs::read(fixture.path("new.img")).unwrap();
    let parsed = Image::parse(&new).unwrap();
    let fragments = parsed.fragments();
    assert_eq!(fragments[0].bytes, lz4("one"));
    assert_eq!(names(fragments[1].bytes), ["two", "lib", "lib/x.ko"]);
    assert_eq!(fragments[2].bytes, lz4("three"));
    assert_eq!(fragments[2].name, b"last");
}

/// The program with an address space of 256 MiB.
fn limited(dir: &Path, arguments: &str) -> std::process::Output {
    let program = assert_cmd::cargo::cargo_bin("vfioboot");
    let script = format!("ulimit -v 262144; exec {} ramdisk {arguments}", program.display());
    Process::new("bash").args(["-c", &script]).current_dir(dir).output().unwrap()
}

#[test]
fn a_bomb_is_listed_in_little_memory() {
    let fixture = Fixture::new();
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    let size = 320u32 << 20;
    let mut header = archive(&[("zeros", b"")]);
    header[54..62].copy_from_slice(format!("{size:08X}").as_bytes());
    header.truncate(116);
    std::io::Write::write_all(&mut encoder, &header).unwrap();
    std::io::copy(&mut std::io::Read::take(std::io::repeat(0), size.into()), &mut encoder).unwrap();
    fixture.write("bomb", &encoder.finish().unwrap());
    let output = limited(fixture.dir.path(), "bomb ls");
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8(output.stdout).unwrap().contains(&size.to_string()));
    let output = limited(fixture.dir.path(), "bomb --limit 1G cat zeros | wc -c");
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), size.to_string());
}

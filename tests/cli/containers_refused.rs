//! What only looks like a container, damaged containers, and those that would unpack to more than any
//! image.

use crate::common;
use crate::common::archives::{self, sparse, super_image, tar, tar_md5, zip};
use crate::common::cli;

use cli::Scratch;
use common::fixture;
use proptest::prelude::*;
use vfioboot::compression::{Budget, Format, encode};
use vfioboot::container::{self, Choice, Error, Form, Given, Memory, recognise};

fn packed(format: Format, bytes: &[u8]) -> Vec<u8> {
    encode(format, bytes, None).unwrap()
}

fn read(bytes: &[u8], choice: Choice) -> Result<Given, Error> {
    container::read(bytes, "file.img", choice, &Memory)
}

// --- no containers ----------------------------------------------------------------------------

#[test]
fn compressed_ramdisks_kernels_and_configs_are_used_as_they_are() {
    let ramdisk =
        archives::archive(&[("init", b"x"), ("boot.img", &fixture("images/boot-v4.img"))]);
    let kernel = common::kernel("");
    for compression in archives::COMPRESSIONS {
        for content in [&ramdisk[..], &kernel, b"CONFIG_KVM=y\n", b"text", b""] {
            let bytes = archives::packed(compression, content);
            assert_eq!(recognise(&bytes), Form::Plain, "{compression:?}");
        }
    }
    // Segments, of which the first one is not a container either.
    let segments = [packed(Format::Gzip, &ramdisk), packed(Format::Lz4Legacy, &ramdisk)].concat();
    assert_eq!(recognise(&segments), Form::Plain);
    assert_eq!(recognise(&packed(Format::Gzip, &ramdisk)[..40]), Form::Plain, "cut short");
}

#[test]
fn every_image_is_an_image() {
    let all = common::images().into_iter().chain(common::vendor_images());
    for (name, bytes) in all.chain(common::real_images()) {
        assert_eq!(recognise(&bytes), Form::Plain, "{name}");
    }
}

#[test]
fn an_image_with_the_header_of_an_archive_in_it_stays_an_image() {
    // The command line of a boot image is where a tar header has its magic and its checksum.
    let mut image = fixture("images/boot-v2-raw.img");
    image[257..262].copy_from_slice(b"ustar");
    image[148..156].fill(b' ');
    let sum: u32 = image[..512].iter().map(|byte| u32::from(*byte)).sum();
    image[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    assert_eq!(recognise(&image), Form::Plain);
    image[..8].copy_from_slice(b"boot.img");
    let sum = sum + b"boot.img".iter().map(|b| u32::from(*b)).sum::<u32>()
        - b"ANDROID!".iter().map(|b| u32::from(*b)).sum::<u32>();
    image[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    assert_eq!(recognise(&image), Form::Tar, "the test's header is one");
    image[148] ^= 1;
    assert_eq!(recognise(&image), Form::Plain, "its checksum is wrong");
}

#[test]
fn file_systems_and_others_are_named_with_the_program_that_opens_them() {
    let at = |offset: usize, magic: &[u8]| {
        let mut bytes = vec![0; 8192];
        bytes[offset..offset + magic.len()].copy_from_slice(magic);
        bytes
    };
    let cases = [
        (at(0x438, &[0x53, 0xef]), "debugfs"),
        (at(0x400, &[0xe2, 0xe1, 0xf5, 0xe0]), "fsck.erofs --extract"),
        (at(0x400, &[0x10, 0x20, 0xf5, 0xf2]), "f2fs"),
        (at(512, b"EFI PART"), "losetup"),
        (at(0, b"7z\xbc\xaf\x27\x1c"), "7z x"),
        (at(0, b"Rar!\x1a\x07"), "unrar x"),
    ];
    for (bytes, tool) in cases {
        assert_eq!(recognise(&bytes), Form::Plain, "{tool}");
        let scratch = Scratch::new();
        scratch.file("file.img", &bytes);
        // Also after what is around it.
        scratch.file("sparse.img", &sparse(&bytes));
        for name in ["file.img", "sparse.img"] {
            for command in ["info", "verify", "unpack -d d", "patch --device 1b36:0010 -o o"] {
                let error = scratch.error(&format!("{command} {name}"));
                assert!(error.contains(tool), "{command} {name}: {error}");
            }
        }
        let error = scratch.error("extract file.img -d out");
        assert!(error.contains(tool), "{error}");
    }
}

#[test]
fn commands_in_a_message_name_the_file() {
    let mut ext4 = vec![0; 8192];
    ext4[0x438..0x43a].copy_from_slice(&[0x53, 0xef]);
    let scratch = Scratch::new();
    scratch.file("sub/file.img", &ext4);
    let commands = ["info", "verify", "unpack -d d", "ramdisk", "extract -d d", "check"];
    for command in commands {
        let tail = if command == "ramdisk" { " ls" } else { "" };
        let run = scratch.run(&format!("{command} sub/file.img{tail}"));
        let error = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
        assert!(error.contains("debugfs -R \"dump /PATH OUT\" sub/file.img"), "{command}: {error}");
        assert!(!error.contains("FILE"), "{command}: {error}");
    }
    // As a shell reads it.
    scratch.file("a b.img", &ext4);
    let run = scratch.command("info").arg("a b.img").assert();
    let error = cli::error_of(run);
    assert!(error.contains("\"ls -l /\" 'a b.img'"), "{error}");
    // The command would not open what is in a container, nor standard input.
    scratch.file("sparse.img", &sparse(&ext4));
    let inside = scratch.error("info sparse.img");
    let stdin = cli::error_of(scratch.command("info -").write_stdin(ext4).assert());
    for error in [inside, stdin] {
        assert!(error.contains("\"ls -l /\" FILE"), "{error}");
    }
}

/// Odin compares it, too.
#[test]
fn a_tar_archive_with_another_md5_is_refused() {
    let boot = fixture("images/boot-v4.img");
    let right = tar_md5(&[("boot.img", &boot)]);
    let scratch = Scratch::new();
    let mut damaged = right.clone();
    damaged[600] ^= 1;
    let mut line = right.clone();
    let digit = line.iter().rposition(|byte| *byte == 0).unwrap() + 1;
    line[digit] = if line[digit] == b'0' { b'1' } else { b'0' };
    let upper = [&right[..digit], &right[digit..].to_ascii_uppercase()].concat();
    // The digest of nothing is none.
    let nothing = [&right[..digit], b"d41d8cd98f00b204e9800998ecf8427e  AP.tar\n"].concat();
    for (bytes, is_right) in
        [(&right, true), (&damaged, false), (&line, false), (&upper, true), (&nothing, true)]
    {
        let found = read(bytes, Choice::Only);
        let refused = matches!(found.as_ref().err(), Some(Error::TarDigest { .. }));
        assert_eq!((found.is_ok(), refused), (is_right, !is_right));
    }
    scratch.file("AP_x.tar.md5", &damaged);
    scratch.file("all.zip", &zip(&[("AP_x.tar.md5", &damaged)], zip::CompressionMethod::Deflated));
    for name in ["AP_x.tar.md5", "all.zip"] {
        for command in ["info", "check", "extract -d out", "verify"] {
            scratch.error(&format!("{command} {name}"));
        }
        assert!(!scratch.exists("out/boot.img"), "{name}");
    }
    // Without the line it is a tar archive like any other.
    scratch.file("x.tar", &damaged[..digit]);
    scratch.ok("extract x.tar -d out");
}

// --- damage -----------------------------------------------------------------------------------

#[test]
fn what_follows_a_stream_is_not_left_out_silently() {
    let boot = fixture("images/boot-v4.img");
    for format in [Format::Gzip, Format::Lz4Frame, Format::Xz, Format::Zstd, Format::Bzip2] {
        let stream = packed(format, &boot);
        let zeros = [&stream[..], &[0; 512]].concat();
        assert!(read(&zeros, Choice::Only).is_ok(), "{format}: zeros fill a partition");
        let more = [&stream[..], b"SEANDROIDENFORCE"].concat();
        let error = read(&more, Choice::Only).err();
        assert!(matches!(error, Some(Error::Trailing { size: 16, .. })), "{format}: {error:?}");
    }
}

#[test]
fn a_stream_that_ends_early_is_not_an_image() {
    // Longer than what decides what a stream has in it.
    let mut boot = fixture("images/boot-v4.img");
    boot.extend(archives::noise(300 << 10));
    for format in Format::all() {
        let stream = packed(format, &boot);
        // At the end of a block, too; lz4_legacy has no other end.
        let cuts = [stream.len() - 9, stream.len() - 4, stream.len() - 1];
        for cut in cuts.into_iter().filter(|_| format != Format::Lz4Legacy) {
            // Where not even its beginning can be read, nothing says that it has an image in it.
            let given = read(&stream[..cut], Choice::Only);
            let refused = matches!(given, Err(Error::Compression(_)) | Ok(Given::Plain));
            assert!(refused, "{format} {cut}");
        }
        let scratch = Scratch::new();
        scratch.file("boot.img", &stream[..30]);
        scratch.error("info boot.img");
    }
}

#[test]
fn archives_that_do_not_say_which_image_are_refused() {
    let boot = fixture("images/boot-v4.img");
    let method = zip::CompressionMethod::Stored;
    let two = [("one/boot.img", &boot[..]), ("two/boot.img", &boot)];
    for archive in [zip(&two, method), tar(&two)] {
        let error = read(&archive, Choice::BootSet).err();
        assert!(matches!(error, Some(Error::Ambiguous { .. })), "{error:?}");
    }
    // tar extracts the last one of a path.
    let other = fixture("images/boot-v3.img");
    let updated = tar(&[("boot.img", &boot), ("boot.img", &other)]);
    let Ok(Given::Images(images)) = read(&updated, Choice::Only) else { panic!() };
    assert!((*images[0].bytes).as_ref() == other);
    let archives = [("a.zip", &zip(&two[..1], method)[..]), ("b.tar", &tar(&two[..1]))];
    let error = read(&zip(&archives, method), Choice::BootSet).err();
    assert!(matches!(error, Some(Error::SeveralArchives { .. })), "{error:?}");
    let error = read(&tar(&[("readme", b"x")]), Choice::BootSet).err();
    assert!(matches!(error, Some(Error::NothingInside { form: Form::Tar, .. })), "{error:?}");
    let error = read(&tar(&[("system.img", b"x")]), Choice::BootSet).err();
    assert!(matches!(error, Some(Error::NoBootImage { .. })), "{error:?}");
}

#[test]
fn a_tar_archive_that_is_cut_short_is_refused() {
    let whole = tar(&[("boot.img", &fixture("images/boot-v4.img"))]);
    for size in [600, 5000] {
        let cut = &whole[..size];
        assert!(read(cut, Choice::Only).is_err(), "{size}");
        assert!(read(&packed(Format::Gzip, cut), Choice::Only).is_err(), "{size} in gzip");
    }
}

#[test]
fn names_of_partitions_do_not_leave_the_directory() {
    let scratch = Scratch::new();
    scratch.file("super.img", &super_image(&[("../../boot", &[1; 512])]));
    scratch.error("extract super.img -d out");
    scratch.error("extract super.img ../../boot -d out");
    scratch.file("rom.zip", &zip(&[("../boot.img", b"x")], zip::CompressionMethod::Stored));
    scratch.ok("extract rom.zip -d out");
    assert_eq!(scratch.names("out"), ["boot.img"]);
}

// --- limits -----------------------------------------------------------------------------------

/// A stream of a header and then zeros, far longer than any boot image.
fn bomb(head: &[u8]) -> Vec<u8> {
    let zeros = packed(Format::Zstd, &vec![0; 16 << 20]);
    [packed(Format::Zstd, head), zeros.repeat(20)].concat()
}

#[test]
fn a_small_file_is_not_unpacked_without_end() {
    let head = fixture("images/boot-v4.img");
    let image = bomb(&head);
    assert!(image.len() < 1 << 20);
    let error = read(&image, Choice::Only).err();
    assert!(matches!(error, Some(Error::TooLarge { .. })), "{error:?}");
    // The same behind the header of a zip file, and as a file of an archive.
    let archive = zip(&[("boot.img", b"x")], zip::CompressionMethod::Stored);
    let scope = Budget::of(32 << 20).enter();
    let error = read(&bomb(&archive), Choice::Only).err();
    assert!(matches!(error, Some(Error::Compression(_))), "{error:?}");
    let zeros = vec![0; 40 << 20];
    let deflated = zip(&[("boot.img", &zeros)], zip::CompressionMethod::Deflated);
    let error = read(&deflated, Choice::Only).err();
    assert!(matches!(error, Some(Error::Budget(_))), "{error:?}");
    drop(scope);
    let error = read(&tar(&[("boot.img.zst", &image)]), Choice::Only).err();
    assert!(matches!(error, Some(Error::TooLarge { .. })), "{error:?}");
    let mut chunk = sparse(&[0; 4096]);
    // One block of zeros says that it is four million of them.
    for at in [16, 28 + 4] {
        chunk[at..at + 4].copy_from_slice(&(4u32 << 20).to_le_bytes());
    }
    let error = read(&chunk, Choice::Only).err();
    assert!(matches!(error, Some(Error::TooLarge { .. })), "{error:?}");
}

#[test]
fn containers_around_each_other_have_an_end() {
    let mut bytes = fixture("images/boot-v4.img");
    for _ in 0..5 {
        bytes = packed(Format::Gzip, &bytes);
    }
    assert!(read(&bytes, Choice::Only).is_ok());
    for _ in 0..4 {
        bytes = zip(&[("inner.zip", &bytes), ("x", b"")], zip::CompressionMethod::Stored);
    }
    assert!(read(&bytes, Choice::Only).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_damaged_container_never_panics(which in 0usize..7, at in 0usize..20000, bit in 0u8..8) {
        let boot = fixture("images/boot-v4.img");
        let mut bytes = match which {
            0 => sparse(&boot),
            1 => super_image(&[("boot", &boot), ("x", &[7; 1024])]),
            2 => sparse(&super_image(&[("boot", &boot)])),
            3 => tar(&[("boot.img.lz4", &packed(Format::Lz4Frame, &boot))]),
            4 => packed(Format::Gzip, &tar(&[("boot.img", &boot)])),
            5 => packed(Format::Xz, &boot),
            _ => zip(&[("boot.img.gz", &packed(Format::Gzip, &boot))], zip::CompressionMethod::Deflated),
        };
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        let _ = read(&bytes, Choice::BootSet);
        let _ = read(&bytes, Choice::Only);
    }
}

//! What the programs do with files, holes, partitions and block devices.

use crate::common;
use crate::common::cli;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use cli::Scratch;
use common::{AARCH64, elf, fixture, with_avb_footer};

const PATCH: &str = "patch boot.img --device 1b36:0010 --anyway --runtime vfiorun";

/// `boot.img` of these bytes, and a runtime.
fn scratch(bytes: &[u8]) -> Scratch {
    let scratch = Scratch::new();
    scratch.file("boot.img", bytes);
    scratch.file("vfiorun", &elf(AARCH64));
    scratch
}

/// A v2 image in a partition of 16 MiB.
fn partition() -> Vec<u8> {
    let mut bytes = fixture("images/boot-v2-raw.img");
    bytes.resize(16 << 20, 0);
    bytes
}

// --- holes ------------------------------------------------------------------------------------

#[test]
fn long_zeros_become_holes_and_the_content_stays() {
    let original = partition();
    let scratch = scratch(&original);
    scratch.ok(&format!("{PATCH} -o patched.img"));
    scratch.ok("unpatch patched.img -o original.img");
    for name in ["patched.img", "original.img"] {
        let there = fs::metadata(scratch.path(name)).unwrap();
        assert_eq!(there.len(), 16 << 20, "{name}");
        assert!(there.blocks() * 512 < 1 << 20, "{name} takes {} blocks", there.blocks());
    }
    assert!(scratch.read("original.img") == original);
}

#[test]
fn a_file_may_end_in_the_middle_of_a_hole() {
    let mut original = fixture("images/boot-v2-raw.img");
    original.resize(300_001, 0);
    let scratch = scratch(&original);
    scratch.ok("unpack boot.img -d dir");
    scratch.ok("repack dir -o out.img");
    assert!(scratch.read("out.img") == original);
}

// --- partitions -------------------------------------------------------------------------------

#[test]
fn one_block_too_large_for_the_partition_is_refused_and_nothing_written() {
    let scratch = scratch(&fixture("images/boot-v2-raw.img"));
    scratch.ok(&format!("{PATCH} -o fits.img"));
    let size = fs::metadata(scratch.path("fits.img")).unwrap().len();
    scratch.ok(&format!("{PATCH} --partition-size {size} -o again.img"));
    let less = size - 4096;
    let error = scratch.error(&format!("{PATCH} --partition-size {less} -o out.img"));
    let expected = format!(
        "vfioboot: boot.img: the result of {size} bytes does not fit the partition of {less}: 4096 \
         bytes are missing; what could be left out: "
    );
    assert!(error.starts_with(&expected), "{error}");
    let runtime = fs::metadata(scratch.path("vfiorun")).unwrap().len();
    assert!(error.contains(&format!("the runtime (--runtime, now {runtime} bytes)")), "{error}");
    assert!(!scratch.exists("out.img"));
}

#[test]
fn zeros_that_could_be_cut_off_are_named() {
    let scratch = scratch(&partition());
    let error = scratch.error(&format!("{PATCH} --partition-size {} -o out.img", 8 << 20));
    assert!(error.contains("8388608 bytes are missing; cut off the zeros at the end"), "{error}");
    assert!(!scratch.exists("out.img"));
}

#[test]
fn one_block_too_large_for_the_partition_of_a_footer_is_refused() {
    let image = fixture("images/boot-v2-raw.img");
    let fits = |partition: usize| {
        let scratch = scratch(&with_avb_footer(&image, partition));
        let run = scratch.command(&format!("{PATCH} -o out.img")).output().unwrap();
        let error = String::from_utf8(run.stderr).unwrap();
        (run.status.success(), scratch.exists("out.img"), error)
    };
    let smallest = (24 << 10..64 << 10).step_by(4096).find(|size| fits(*size).0).unwrap();
    let (done, written, error) = fits(smallest - 4096);
    assert!(!done && !written);
    assert!(error.contains("bytes are missing (image "), "{error}");
    assert!(error.contains("what could be left out: "), "{error}");
}

/// A file that does not compress.
fn noise(size: u64) -> Vec<u8> {
    (0..size).map(|i| (i.wrapping_mul(i).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

#[test]
fn a_ramdisk_edit_too_large_for_the_partition_is_refused_and_nothing_written() {
    let scratch = scratch(&fixture("images/boot-v2-raw.img"));
    scratch.file("large", &noise(20_000));
    let size = fixture("images/boot-v2-raw.img").len();
    for (edit, missing) in [("add large large", 20_480), ("rm etc/motd", 4096)] {
        scratch.ok(&format!("ramdisk boot.img {edit} -o fits.img"));
        let result = scratch.read("fits.img").len();
        let partition = result - missing;
        let error = scratch
            .error(&format!("ramdisk boot.img {edit} --partition-size {partition} -o out.img"));
        let expected = format!(
            "vfioboot: boot.img: the result of {result} bytes does not fit the partition of \
             {partition}: {missing} bytes are missing; what could be left out: the largest files \
             of the ramdisk are "
        );
        assert!(error.starts_with(&expected), "{error}");
        assert!(!scratch.exists("out.img"));
        scratch.ok(&format!("ramdisk boot.img {edit} --partition-size {result} -o out.img"));
        fs::remove_file(scratch.path("out.img")).unwrap();
    }
    assert!(scratch.read("boot.img").len() == size);
}

#[test]
fn a_ramdisk_edit_too_large_for_the_partition_of_a_footer_names_what_could_go() {
    let image = fixture("images/boot-v2-raw.img");
    let scratch = scratch(&with_avb_footer(&image, image.len().next_multiple_of(4096) + 8192));
    scratch.file("large", &noise(20_000));
    let error = scratch.error("ramdisk boot.img add large large -o out.img");
    assert!(error.contains(" bytes are missing (image "), "{error}");
    assert!(error.contains("the largest files of the ramdisk are init ("), "{error}");
    assert!(!scratch.exists("out.img"));
}

#[test]
fn a_repack_too_large_for_the_partition_is_refused_and_nothing_written() {
    let scratch = scratch(&fixture("images/boot-v2-raw.img"));
    scratch.ok("unpack boot.img -d dir");
    let mut ramdisk = scratch.read("dir/ramdisk");
    ramdisk.extend(noise(20_000));
    scratch.file("dir/ramdisk", &ramdisk);
    scratch.ok("repack dir -o fits.img");
    let size = scratch.read("fits.img").len();
    let error = scratch.error(&format!("repack dir --partition-size {} -o out.img", size - 1));
    let expected = format!(
        "vfioboot: dir: the result of {size} bytes does not fit the partition of {}: 1 bytes are \
         missing; what could be left out: the largest files of dir are ramdisk ({} bytes)",
        size - 1,
        ramdisk.len()
    );
    assert!(error.starts_with(&expected), "{error}");
    assert!(!scratch.exists("out.img"));
    scratch.ok(&format!("repack dir --partition-size {size} -o out.img"));
}

#[test]
fn a_repack_too_large_for_the_partition_of_a_footer_names_what_could_go() {
    let image = fixture("images/boot-v2-raw.img");
    let scratch = scratch(&with_avb_footer(&image, image.len().next_multiple_of(4096) + 8192));
    scratch.ok("unpack boot.img -d dir");
    let mut ramdisk = scratch.read("dir/ramdisk");
    ramdisk.extend(noise(20_000));
    scratch.file("dir/ramdisk", &ramdisk);
    let error = scratch.error("repack dir -o out.img");
    assert!(error.contains(" bytes are missing (image "), "{error}");
    assert!(error.contains("the largest files of dir are ramdisk ("), "{error}");
    assert!(!scratch.exists("out.img"));
}

#[test]
fn the_size_of_one_partition_is_not_for_two_images() {
    let scratch = Scratch::new();
    scratch.image("vendor_boot.img", "vendor_boot-v4");
    scratch.image("init_boot.img", "init_boot-v4");
    scratch.file("vfiorun", &elf(AARCH64));
    let error = scratch.error(
        "patch vendor_boot.img init_boot.img --device 1b36:0010 --anyway --runtime vfiorun --hook init --add-word a=1 \
         --partition-size 8388608 -d out",
    );
    assert!(error.contains("is that of one partition, and 2 images change"), "{error}");
    assert!(!scratch.exists("out"));
}

// --- outputs that are inputs ------------------------------------------------------------------

#[test]
fn a_hard_link_to_the_input_is_not_an_output() {
    let scratch = scratch(&fixture("images/boot-v2-raw.img"));
    fs::hard_link(scratch.path("boot.img"), scratch.path("link.img")).unwrap();
    let error = scratch.error(&format!("{PATCH} -o link.img"));
    assert!(error.contains("link.img: is an input file"), "{error}");
}

/// A loop device over a file; goes away with the value. None where this machine gives none.
struct Loop(String);

impl Loop {
    fn over(path: &std::path::Path) -> Option<Self> {
        let output = Command::new("losetup").args(["-f", "--show"]).arg(path).output().ok()?;
        let name = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        let usable = output.status.success() && fs::File::open(&name).is_ok();
        if !usable {
            eprintln!("no loop device to be had (it takes root): block devices are not tested");
        }
        usable.then_some(Loop(name))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["-d", &self.0]).status();
    }
}

#[test]
fn a_block_device_is_read_and_is_a_partition() {
    let scratch = scratch(&fixture("images/boot-v2-raw.img"));
    let Some(device) = Loop::over(&scratch.path("boot.img")) else { return };
    let name = &device.0;
    let text = scratch.ok(&format!("info {name}"));
    assert!(text.contains("14336 bytes"), "{text}");
    // There is no room after the image.
    let patch = format!("patch {name} --device 1b36:0010 --anyway --runtime vfiorun");
    let error = scratch.error(&format!("{patch} -o out.img"));
    assert!(error.contains("does not fit the partition of 14336"), "{error}");
    scratch.file("large", &noise(20_000));
    let error = scratch.error(&format!("ramdisk {name} add large large -o out.img"));
    assert!(error.contains("does not fit the partition of 14336"), "{error}");
    let error = scratch.error(&format!("cmdline {name} --add quiet -o {name}"));
    assert!(error.contains("is an input file"), "{error}");
}

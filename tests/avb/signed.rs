//! An image that AOSP's tools signed, from one end to the other: edited under preserve, signed
//! again with a key that openssl has just made, and damaged in every signed part. The image is
//! Cuttlefish's init_boot where it lies beside the checkout; a fixture of the same algorithm
//! always.

use crate::common;
use crate::common::avb;
use crate::common::cli;

use std::path::Path;

use cli::Scratch;
use common::{AARCH64, elf};

/// Images with an SHA256_RSA4096 blob, and what they are.
fn signed() -> Vec<(&'static str, Vec<u8>)> {
    let mut all = vec![("fixture", avb::image("init_boot-SHA256_RSA4096"))];
    let real = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../shared/images/cuttlefish13-init_boot-v4-avb.img.xz");
    match std::fs::read(real) {
        Ok(packed) => all.push(("Cuttlefish", common::pipe("xz", &["-dc"], &packed))),
        Err(_) => eprintln!("no real images beside the checkout: only the fixture is tested"),
    }
    all
}

/// The image with a boot.img, a runtime, a file to add, and a key that openssl makes.
fn scratch(image: &[u8]) -> Scratch {
    let scratch = Scratch::new();
    scratch.file("init_boot.img", image);
    scratch.image("boot.img", "boot-v4");
    // What does not compress makes the ramdisk larger by a page.
    let noise =
        (0..6000u64).map(|i| (i.wrapping_mul(i).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8);
    scratch.file("note", &noise.clone().collect::<Vec<u8>>());
    scratch.file("rt", &elf(AARCH64).into_iter().chain(noise).collect::<Vec<u8>>());
    scratch.file("fresh.pem", &common::pipe("openssl", &["genrsa", "4096"], b""));
    scratch
}

/// Both images change: the word is in one, the runtime in the other.
const PATCH: &str =
    "patch --runtime rt --device 1b36:0010 --anyway --hook rdinit boot.img init_boot.img -d out";

/// What AVB's footer counts as the image.
fn content(image: &[u8]) -> &[u8] {
    &image[..avb::footer(image)[0]]
}

/// The blob is the old one, and the footer says where image and blob are now.
fn preserved(before: &[u8], after: &[u8], what: &str) {
    assert!(avb::blob(after) == avb::blob(before), "{what}: another blob");
    assert_eq!(after.len(), before.len(), "{what}");
    let [size, offset, blob] = avb::footer(after);
    assert_ne!(size, avb::footer(before)[0], "{what}: the image did not change its size");
    assert_eq!(offset, size.next_multiple_of(4096), "{what}");
    assert_eq!(blob, avb::footer(before)[2], "{what}");
    let parsed = vfioboot::image::Image::parse(after).unwrap();
    assert_eq!(parsed.problems(), [], "{what}");
    let sections = parsed.header().unwrap().sections();
    let end: usize =
        4096 + sections.iter().map(|s| (s.size as usize).next_multiple_of(4096)).sum::<usize>();
    assert_eq!(size, end, "{what}: original_image_size");
}

#[test]
fn preserve_leaves_the_blob_and_keeps_the_footer_right() {
    for (what, image) in signed() {
        let scratch = scratch(&image);
        scratch.ok(PATCH);
        preserved(&image, &scratch.read("out/init_boot.img"), &format!("{what}, patch"));
        scratch.ok("ramdisk init_boot.img add note note -o added.img");
        let edited = scratch.read("added.img");
        preserved(&image, &edited, &format!("{what}, ramdisk add"));
        scratch.ok("unpatch out/init_boot.img out/boot.img -d back");
        assert!(scratch.read("back/init_boot.img") == image, "{what}: unpatch");
    }
}

#[test]
fn a_fresh_key_signs_what_openssl_and_verify_find_right() {
    for (what, image) in signed() {
        let scratch = scratch(&image);
        scratch.ok(&format!("{PATCH} --avb resign --key fresh.pem"));
        let after = scratch.read("out/init_boot.img");
        let fresh = scratch.path("fresh.pem");
        assert!(avb::openssl_verifies(avb::blob(&after), "sha256", &fresh), "{what}");
        assert!(!avb::openssl_verifies(avb::blob(&image), "sha256", &fresh), "{what}: the old one");
        assert!(avb::digest_is_right(avb::blob(&after), content(&after)), "{what}: digest");
        assert!(!avb::digest_is_right(avb::blob(&after), content(&image)), "{what}: the old one");
        scratch.ok("verify out/init_boot.img --key fresh.pem");
        scratch.ok("unpatch out/init_boot.img out/boot.img -d back");
        assert!(scratch.read("back/init_boot.img") == image, "{what}: unpatch");
    }
}

#[test]
fn a_flipped_byte_in_any_signed_part_fails_and_the_part_is_named() {
    for (what, image) in signed() {
        let scratch = Scratch::new();
        let blob = avb::footer(&image)[1];
        let authentication = avb::number(avb::blob(&image), 12);
        let auxiliary = blob + 256 + authentication;
        let signature = blob + 256 + avb::number(avb::blob(&image), 48);
        let parts = [
            // rollback_index of the header, the stored hash, the signature, the salt of the hash
            // descriptor, the embedded key's modulus, the image, and the footer's vbmeta_offset.
            ("header", blob + 119, "fail hash       header or auxiliary block"),
            ("hash", blob + 256, "fail hash       the sha256 stored in the authentication block"),
            ("signature", signature + 100, "fail signature  the SHA256_RSA4096 signature of 512"),
            ("descriptor", auxiliary + 16 + 116 + 10, "fail hash       header or auxiliary block"),
            ("key", auxiliary + avb::number(avb::blob(&image), 64) + 40, "fail key "),
            ("image", 5000, "fail digest     descriptor 0, hash of init_boot"),
            ("footer", image.len() - 64 + 26, "fail structure  avb_footer."),
        ];
        for (part, at, expected) in parts {
            let mut damaged = image.clone();
            damaged[at] ^= 0x10;
            scratch.file("damaged.img", &damaged);
            let output = scratch.run("verify damaged.img").code(1).get_output().clone();
            let text = String::from_utf8(output.stdout).unwrap();
            assert!(text.contains(expected), "{what}, {part}: {text}");
        }
        scratch.file("whole.img", &image);
        scratch.ok("verify whole.img");
    }
}

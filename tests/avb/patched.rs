//! AVB metadata after an edit: preserve, resign, strip, and unsigned blobs. The results are checked
//! with openssl and with independent offsets.

use crate::common;
use crate::common::avb;
use crate::common::cli;

use std::fs;

use cli::{Scratch, error_of};
use common::{AARCH64, elf};
use serde_json::Value;

/// Both images change: the word is in one, the runtime in the other.
const PATCH: &str =
    "patch --runtime rt --device 1b36:0010 --anyway --hook rdinit boot.img init_boot.img -d out";
const SIGNED: &str = "init_boot-SHA256_RSA4096";

/// A boot.img without AVB, this init_boot.img of `fixtures/avb`, and the test keys.
fn scratch(init_boot: &str) -> Scratch {
    let scratch = Scratch::new();
    // what does not compress makes the ramdisk one block larger
    let noise =
        (0..3500u64).map(|i| (i.wrapping_mul(i).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8);
    scratch.file("rt", &elf(AARCH64).into_iter().chain(noise).collect::<Vec<u8>>());
    scratch.image("boot.img", "boot-v4");
    scratch.file("init_boot.img", &avb::image(init_boot));
    for bits in [2048, 4096, 8192] {
        scratch.file(&format!("{bits}.pem"), &fs::read(avb::key(bits)).unwrap());
    }
    scratch
}

/// Undo what was written to `out` and compare with the inputs.
fn undone(scratch: &Scratch) {
    let images: Vec<String> =
        scratch.names("out").iter().map(|name| format!("out/{name}")).collect();
    scratch.ok(&format!("unpatch {} -d back", images.join(" ")));
    for name in scratch.names("back") {
        assert!(scratch.read(&format!("back/{name}")) == scratch.read(&name), "{name}");
    }
}

fn content(image: &[u8]) -> &[u8] {
    &image[..avb::footer(image)[0]]
}

#[test]
fn preserve_keeps_the_blob_and_moves_the_footer() {
    let scratch = scratch(SIGNED);
    scratch.ok(PATCH);
    let (before, after) = (scratch.read("init_boot.img"), scratch.read("out/init_boot.img"));
    assert!(avb::blob(&after) == avb::blob(&before));
    assert_eq!(after.len(), before.len());
    let [size, offset, _] = avb::footer(&after);
    assert!(size > avb::footer(&before)[0] && offset == size.next_multiple_of(4096));
    undone(&scratch);
}

#[test]
fn resign_gives_a_signature_that_openssl_verifies_and_the_right_digest() {
    for (bits, hash) in [(2048, "sha256"), (4096, "sha256"), (8192, "sha512")] {
        let scratch = scratch(&format!("init_boot-{}_RSA{bits}", hash.to_uppercase()));
        scratch.ok(&format!("{PATCH} --avb resign --key {bits}.pem"));
        let image = scratch.read("out/init_boot.img");
        assert!(avb::openssl_verifies(avb::blob(&image), hash, &avb::key(bits)), "{bits}");
        assert!(avb::digest_is_right(avb::blob(&image), content(&image)), "{bits}");
        undone(&scratch);
    }
}

#[test]
fn resign_with_a_fresh_key_is_verified_by_openssl() {
    let scratch = scratch(SIGNED);
    let fresh = common::pipe("openssl", &["genrsa", "2048"], b"");
    scratch.file("fresh.pem", &fresh);
    scratch.ok(&format!("{PATCH} --avb resign --key fresh.pem"));
    let image = scratch.read("out/init_boot.img");
    assert!(avb::openssl_verifies(avb::blob(&image), "sha256", &scratch.path("fresh.pem")));
    assert!(!avb::openssl_verifies(avb::blob(&image), "sha256", &avb::key(2048)));
    scratch.ok("verify out/init_boot.img --key fresh.pem");
}

#[test]
fn resign_keeps_all_but_the_digest_and_the_signature() {
    let scratch = scratch(SIGNED);
    scratch.ok(&format!("{PATCH} --avb resign --key 4096.pem"));
    let (before, after) = (scratch.read("init_boot.img"), scratch.read("out/init_boot.img"));
    let (before, after) = (avb::blob(&before), avb::blob(&after));
    // rollback index, flags, location, release string, reserved bytes
    assert_eq!(before[112..256], after[112..256]);
    assert_eq!(before[28..32], after[28..32], "algorithm");
    let (old, new) = (avb::descriptors(before), avb::descriptors(after));
    assert_eq!(old[1..], new[1..], "a property and an unknown descriptor");
    let salt = 116 + "init_boot".len()..116 + "init_boot".len() + 32;
    assert_eq!(old[0].1[salt.clone()], new[0].1[salt.clone()], "salt");
    assert_ne!(old[0].1[salt.end..], new[0].1[salt.end..], "digest");
}

#[test]
fn a_change_of_the_algorithm_by_the_key_size_is_reported() {
    let scratch = scratch("init_boot-SHA512_RSA4096");
    let text = scratch.ok(&format!("{PATCH} --avb resign --key 2048.pem"));
    let expected = "init_boot: it is signed with SHA512_RSA2048 instead of SHA512_RSA4096, because the key has 2048 bits";
    assert!(text.contains(expected), "{text}");
    let image = scratch.read("out/init_boot.img");
    assert!(avb::openssl_verifies(avb::blob(&image), "sha512", &avb::key(2048)));
    undone(&scratch);
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let scratch = scratch(SIGNED);
    scratch.ok(&format!("{PATCH} --avb resign --key 4096.pem"));
    let once = scratch.read("out/init_boot.img");
    scratch.ok(&format!("{PATCH} --avb resign --key 4096.pem"));
    assert!(scratch.read("out/init_boot.img") == once);
    // and patching the patched one starts from the original
    scratch.ok("patch --runtime rt --device 1b36:0010 --anyway --hook rdinit out/boot.img out/init_boot.img -d again --avb resign --key 4096.pem");
    assert!(scratch.read("again/init_boot.img") == once);
}

#[test]
fn strip_leaves_neither_blob_nor_footer_and_keeps_the_size() {
    let scratch = scratch(SIGNED);
    let text = scratch.ok(&format!("{PATCH} --avb strip"));
    let (before, after) = (scratch.read("init_boot.img"), scratch.read("out/init_boot.img"));
    assert_eq!(after.len(), before.len());
    assert!(!after.windows(4).any(|bytes| bytes == b"AVB0" || bytes == b"AVBf"));
    assert!(
        text.contains("unlocked (orange): may boot: if vbmeta.img has the partition's digest"),
        "{text}"
    );
    undone(&scratch);
}

#[test]
fn an_unsigned_blob_is_always_rehashed() {
    let scratch = scratch("init_boot-unsigned");
    let text = scratch.ok(PATCH);
    let image = scratch.read("out/init_boot.img");
    assert!(avb::digest_is_right(avb::blob(&image), content(&image)));
    assert!(text.contains("the vbmeta blob is not signed: its digest is updated"), "{text}");
    undone(&scratch);
}

#[test]
fn a_signed_vbmeta_with_the_digest_is_signed_again() {
    let scratch = scratch("init_boot-unsigned");
    scratch.file("vbmeta.img", &avb::image("vbmeta-hash"));
    let text = scratch.ok(&format!("{PATCH} --vbmeta vbmeta.img --avb resign --key 4096.pem"));
    assert!(text.contains("digest of init_boot ("), "{text}");
    let vbmeta = scratch.read("out/vbmeta.img");
    assert!(avb::openssl_verifies(&vbmeta, "sha256", &avb::key(4096)));
    let image = scratch.read("out/init_boot.img");
    assert!(avb::digest_is_right(&vbmeta, content(&image)));
    scratch.ok("verify out/init_boot.img out/boot.img out/vbmeta.img --key 4096.pem");
    undone(&scratch);
}

#[test]
fn a_chain_has_the_new_key_and_vbmeta_its_own() {
    let scratch = scratch("init_boot-SHA256_RSA2048");
    scratch.file("vbmeta.img", &avb::image("vbmeta"));
    let text = scratch.ok(&format!(
        "{PATCH} --vbmeta vbmeta.img --avb resign --key 8192.pem --vbmeta-key 4096.pem"
    ));
    assert!(text.contains("key of init_boot (sha1 "), "{text}");
    // signed with the key it had before
    assert!(
        text.contains("locked (green): boots: vbmeta.img is signed with the same key as before"),
        "{text}"
    );
    let vbmeta = scratch.read("out/vbmeta.img");
    assert!(avb::openssl_verifies(&vbmeta, "sha512", &avb::key(4096)));
    let old = avb::image("vbmeta");
    assert_eq!(avb::descriptors(&old)[2..], avb::descriptors(&vbmeta)[2..], "the others stay");
    assert_eq!(old[112..128], vbmeta[112..128], "rollback index and flags");
    scratch.ok("verify out/init_boot.img out/boot.img out/vbmeta.img --key 4096.pem");
    undone(&scratch);
}

#[test]
fn without_an_own_key_for_vbmeta_the_key_signs_it_too() {
    let scratch = scratch("init_boot-SHA256_RSA2048");
    scratch.file("vbmeta.img", &avb::image("vbmeta"));
    let text = scratch.ok(&format!("{PATCH} --vbmeta vbmeta.img --avb resign --key 8192.pem"));
    assert!(text.contains("locked (green): does not boot"), "{text}");
    assert!(text.contains("locked with your own key (yellow): boots"), "{text}");
    assert!(avb::openssl_verifies(&scratch.read("out/vbmeta.img"), "sha512", &avb::key(8192)));
    undone(&scratch);
}

#[test]
fn flags_of_vbmeta_are_set_on_request() {
    let scratch = scratch("init_boot-SHA256_RSA2048");
    scratch.file("vbmeta.img", &avb::image("vbmeta"));
    let resign = "--avb resign --key 2048.pem --vbmeta vbmeta.img --vbmeta-flags 3";
    let text = scratch.ok(&format!("{PATCH} {resign}"));
    assert_eq!(scratch.read("out/vbmeta.img")[123], 3);
    assert!(
        text.contains("vbmeta.img disables verification, which a locked device refuses"),
        "{text}"
    );
    undone(&scratch);
}

#[test]
fn preserve_updates_the_digest_in_an_unsigned_vbmeta() {
    let scratch = scratch("init_boot-unsigned");
    scratch.file("vbmeta.img", &avb::image("vbmeta-unsigned"));
    scratch.ok(&format!("{PATCH} --vbmeta vbmeta.img"));
    let vbmeta = scratch.read("out/vbmeta.img");
    assert!(avb::digest_is_right(&vbmeta, content(&scratch.read("out/init_boot.img"))));
    undone(&scratch);
}

#[test]
fn a_digest_that_the_device_keeps_stays_empty_and_the_size_follows() {
    let scratch = scratch("init_boot-unsigned");
    let mut image = scratch.read("init_boot.img");
    let [_, offset, size] = avb::footer(&image);
    let algorithm =
        image[offset..offset + size].windows(7).position(|at| at == b"sha256\0").unwrap();
    // after the name of the algorithm: partition_name_len, salt_len, digest_len
    image[offset + algorithm + 40..][..4].fill(0);
    scratch.file("init_boot.img", &image);
    scratch.ok(PATCH);
    let edited = scratch.read("out/init_boot.img");
    let size = content(&edited).len() as u64;
    image[offset + algorithm - 8..][..8].copy_from_slice(&size.to_be_bytes());
    assert_eq!(avb::blob(&edited), &image[offset..][..avb::blob(&edited).len()]);
    undone(&scratch);
}

#[test]
fn a_signed_vbmeta_is_left_alone_under_preserve() {
    let scratch = scratch(SIGNED);
    scratch.file("vbmeta.img", &avb::image("vbmeta-hash"));
    scratch.ok(&format!("{PATCH} --vbmeta vbmeta.img"));
    assert_eq!(scratch.names("out"), ["boot.img", "init_boot.img"]);
}

#[test]
fn strip_says_that_a_chained_partition_does_not_boot() {
    let scratch = scratch("init_boot-SHA256_RSA2048");
    scratch.file("vbmeta.img", &avb::image("vbmeta"));
    let text = scratch.ok(&format!("{PATCH} --vbmeta vbmeta.img --avb strip"));
    assert!(
        text.contains("unlocked (orange): does not boot: vbmeta.img chains to init_boot"),
        "{text}"
    );
}

#[test]
fn every_other_edit_rehashes_an_unsigned_blob() {
    let scratch = scratch("init_boot-unsigned");
    scratch.file("boot-avb.img", &avb::image("boot-unsigned"));
    scratch.file("motd", b"another\n");
    let edits = [
        "cmdline boot-avb.img --add quiet -o edited.img",
        "ramdisk init_boot.img add etc/motd motd -o edited.img",
        "ramdisk init_boot.img rm etc/motd -o edited.img",
    ];
    for edit in edits {
        scratch.ok(edit);
        assert!(right(&scratch, "edited.img"), "{edit}");
    }
    scratch.ok("unpack init_boot.img -d dir");
    let mut ramdisk = scratch.read("dir/ramdisk");
    ramdisk.extend([0; 5000]);
    scratch.file("dir/ramdisk", &ramdisk);
    scratch.ok("repack dir -o edited.img");
    assert!(right(&scratch, "edited.img"), "repack with a larger ramdisk");
}

/// Whether `verify` finds the digest right.
fn right(scratch: &Scratch, image: &str) -> bool {
    let output = scratch.run(&format!("verify {image}")).get_output().clone();
    String::from_utf8(output.stdout).unwrap().contains("ok   digest")
}

#[test]
fn repack_rehashes_an_edit_that_keeps_the_size() {
    let scratch = scratch("init_boot-unsigned");
    scratch.ok("unpack init_boot.img -d dir");
    scratch.ok("repack dir -o same.img");
    assert!(scratch.read("same.img") == scratch.read("init_boot.img"));
    let mut ramdisk = scratch.read("dir/ramdisk");
    *ramdisk.last_mut().unwrap() ^= 1;
    scratch.file("dir/ramdisk", &ramdisk);
    scratch.ok("repack dir -o edited.img");
    assert!(right(&scratch, "edited.img"));
}

#[test]
fn repack_leaves_a_digest_that_was_wrong_before() {
    let scratch = scratch("init_boot-unsigned");
    let mut image = scratch.read("init_boot.img");
    image[5000] ^= 1;
    scratch.file("wrong.img", &image);
    scratch.ok("unpack wrong.img -d dir");
    scratch.ok("repack dir -o same.img");
    assert!(scratch.read("same.img") == image);
}

#[test]
fn the_plan_says_what_devices_do() {
    let scratch = scratch(SIGNED);
    let plan = |arguments: &str| -> Value {
        let text = scratch.ok(&format!("{PATCH} --dry-run --json {arguments}"));
        serde_json::from_str::<Value>(&text).unwrap()["plan"]["avb"].clone()
    };
    let preserve = plan("");
    assert_eq!(preserve["green"]["boots"], false);
    assert_eq!(preserve["yellow"]["boots"], false);
    assert_eq!(preserve["orange"]["boots"], true);
    let resign = plan("--avb resign --key 4096.pem");
    assert_eq!(resign["green"]["boots"], false);
    assert_eq!(resign["yellow"]["boots"], Value::Null);
    assert!(resign["yellow"]["why"].as_str().unwrap().contains("give it with --vbmeta"));
    assert_eq!(resign["orange"]["boots"], true);
    assert_eq!(plan("--avb strip")["orange"]["boots"], Value::Null);
    assert!(!scratch.exists("out"));
}

#[test]
fn an_image_without_avb_has_no_outlook() {
    let scratch = scratch(SIGNED);
    scratch.image("boot.img", "boot-v2-gzip-dtbo");
    let text =
        scratch.ok("patch --runtime rt --device 1b36:0010 --anyway boot.img -o out.img --json");
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["plan"]["avb"], Value::Null);
}

#[test]
fn keys_come_in_pkcs1_pkcs8_and_encrypted_pkcs8() {
    let scratch = scratch("init_boot-SHA256_RSA2048");
    let key = fs::read(avb::key(2048)).unwrap();
    let topk8 = ["pkcs8", "-topk8", "-passout", "pass:geheim", "-iter", "1000"];
    scratch.file("pkcs1.pem", &common::pipe("openssl", &["rsa", "-traditional"], &key));
    scratch.file("aes.pem", &common::pipe("openssl", &topk8, &key));
    scratch
        .file("des3.pem", &common::pipe("openssl", &[&topk8[..], &["-v2", "des3"]].concat(), &key));
    scratch.file("pass", b"geheim\nnot this line\n");
    scratch.ok(&format!("{PATCH} --avb resign --key 2048.pem"));
    let expected = scratch.read("out/init_boot.img");
    for arguments in ["pkcs1.pem", "aes.pem --key-pass-file pass", "des3.pem --key-pass-file pass"]
    {
        scratch.ok(&format!("{PATCH} --avb resign --key {arguments}"));
        assert!(scratch.read("out/init_boot.img") == expected, "{arguments}");
    }
    let mut command =
        scratch.command(&format!("{PATCH} --avb resign --key aes.pem --key-pass-env SIGN_PASS"));
    let text = command.env("SIGN_PASS", "geheim").assert().success().get_output().clone();
    assert!(scratch.read("out/init_boot.img") == expected);
    let shown = [text.stdout, text.stderr].concat();
    assert!(!String::from_utf8_lossy(&shown).contains("geheim"));
}

#[test]
fn keys_that_cannot_be_used_say_why() {
    let scratch = scratch("init_boot-SHA256_RSA2048");
    let key = fs::read(avb::key(2048)).unwrap();
    let legacy = ["rsa", "-traditional", "-aes128", "-passout", "pass:geheim"];
    scratch.file("legacy.pem", &common::pipe("openssl", &legacy, &key));
    let topk8 = ["pkcs8", "-topk8", "-passout", "pass:geheim", "-iter", "1000"];
    scratch.file("encrypted.pem", &common::pipe("openssl", &topk8, &key));
    scratch.file("public.pem", &common::pipe("openssl", &["rsa", "-pubout"], &key));
    scratch.file("small.pem", &common::pipe("openssl", &["genrsa", "1024"], b""));
    scratch.file("exponent.pem", &common::pipe("openssl", &["genrsa", "-3", "2048"], b""));
    scratch.file("cut.pem", &key[..key.len() / 2]);
    scratch.file("pass", b"wrong\n");
    let cases = [
        ("legacy.pem", "convert it with openssl pkcs8 -topk8 -in OLD -out NEW"),
        ("encrypted.pem", "is encrypted: give its passphrase with --key-pass-file FILE"),
        ("encrypted.pem --key-pass-file pass", "cannot be decrypted: the passphrase is wrong"),
        ("encrypted.pem --key-pass-env NOT_THERE", "NOT_THERE: there is no such environment"),
        ("encrypted.pem --key-pass-file missing", "missing: No such file"),
        ("public.pem", "is a public key; signing needs the private key"),
        ("small.pem", "has 1024 bits, AVB uses RSA keys of 2048, 4096 or 8192"),
        ("exponent.pem", "has a public exponent other than 65537"),
        ("cut.pem", "cannot be read as an RSA key"),
        ("rt", "is not an RSA key: expected PEM"),
    ];
    for (arguments, expected) in cases {
        let text = scratch.error(&format!("{PATCH} --avb resign --key {arguments}"));
        assert!(text.contains(expected), "{arguments}: {text}");
    }
    assert!(!scratch.exists("out"));
}

#[test]
fn what_does_not_go_together_is_refused() {
    let scratch = scratch(SIGNED);
    scratch.file("vbmeta.img", &avb::image("vbmeta"));
    scratch.image("plain.img", "init_boot-v4");
    let patch = "patch --runtime rt --device 1b36:0010 --anyway boot.img";
    let cases = [
        (format!("{PATCH} --avb resign"), "--avb resign needs a private key: --key PEM"),
        (format!("{PATCH} --key 4096.pem"), "--key is for --avb resign"),
        (format!("{PATCH} --vbmeta-flags 2"), "--vbmeta-flags require --avb resign"),
        (
            format!("{PATCH} --avb resign --key 4096.pem --vbmeta-flags 2"),
            "need a vbmeta.img: give it with --vbmeta FILE",
        ),
        (format!("{PATCH} --vbmeta boot.img"), "boot.img: is not a vbmeta image"),
        (
            format!("{patch} plain.img -d out --avb resign --key 4096.pem"),
            "nothing to sign: none of the images that change has an AVB footer",
        ),
        (
            format!("{patch} plain.img vbmeta.img -d out --avb resign --key 4096.pem"),
            "vbmeta.img chains to init_boot, but the image has no AVB footer",
        ),
    ];
    for (arguments, expected) in cases {
        let text = scratch.error(&arguments);
        assert!(text.contains(expected), "{arguments}: {text}");
    }
    assert!(!scratch.exists("out"));
}

#[test]
fn a_key_is_not_an_output() {
    let scratch = scratch(SIGNED);
    let text = scratch.error("patch --runtime rt --device 1b36:0010 --anyway --hook rdinit init_boot.img boot.img -o 4096.pem --avb resign --key 4096.pem");
    assert!(text.contains("images change") || text.contains("is an input file"), "{text}");
    assert!(scratch.read("4096.pem") == fs::read(avb::key(4096)).unwrap());
}

#[test]
fn an_image_that_cannot_be_resigned_says_so() {
    let scratch = scratch(SIGNED);
    let mut image = scratch.read("init_boot.img");
    let [_, offset, _] = avb::footer(&image);
    // no descriptors any more
    image[offset + 104..offset + 112].fill(0);
    scratch.file("init_boot.img", &image);
    let text = scratch.error(&format!("{PATCH} --avb resign --key 4096.pem"));
    assert!(text.contains("has no hash descriptor for this image"), "{text}");
}

#[test]
fn an_image_one_block_too_large_for_its_partition_is_refused() {
    let scratch = scratch(SIGNED);
    let image = scratch.read("init_boot.img");
    let [size, offset, blob] = avb::footer(&image);
    // room for the image as it is, not for one block more
    let partition = offset + blob.next_multiple_of(4096);
    let mut small = image[..partition - 64].to_vec();
    small.extend_from_slice(&image[image.len() - 64..]);
    assert!(size + 4096 + blob + 64 > partition);
    scratch.file("init_boot.img", &small);
    // the undo record of resign holds the old blob, which takes another block
    for (mode, missing) in [("preserve", 2304), ("resign --key 4096.pem", 6400)] {
        let text = error_of(scratch.run(&format!("{PATCH} --avb {mode}")));
        assert!(text.contains("does not fit the partition of 12288 bytes"), "{text}");
        assert!(text.contains(&format!("{missing} bytes are missing")), "{text}");
    }
    assert!(!scratch.exists("out"));
}

#[test]
fn an_image_that_avbtool_would_not_sign_is_signed_with_a_warning() {
    let scratch = scratch(SIGNED);
    let image = scratch.read("init_boot.img");
    let partition = 72 << 10;
    let mut small = image[..partition - 64].to_vec();
    small.extend_from_slice(&image[image.len() - 64..]);
    scratch.file("init_boot.img", &small);
    let text = scratch.ok(&format!("{PATCH} --avb resign --key 4096.pem"));
    let after = scratch.read("out/init_boot.img");
    let size = avb::footer(&after)[0];
    let expected = format!(
        "init_boot: the image of {size} bytes leaves {} of the partition's {partition} for AVB. \
         Devices accept that, but avbtool wants 69632 and would not sign it: at most 4096 bytes",
        partition - size
    );
    assert!(text.contains(&expected), "{text}");
    assert!(avb::openssl_verifies(avb::blob(&after), "sha256", &avb::key(4096)));
    // With the room that avbtool wants nothing is said.
    scratch.file("init_boot.img", &image);
    let text = scratch.ok(&format!("{PATCH} --avb resign --key 4096.pem"));
    assert!(!text.contains("avbtool"), "{text}");
}

/// A set whose boot.img has its digest in vbmeta_system.img, and vendor_boot.img in vbmeta_vendor.img.
fn tree() -> Scratch {
    let scratch = scratch("init_boot-unsigned");
    let init_boot = scratch.image("init_boot.img", "init_boot-v4");
    assert_eq!(init_boot.len() % 4096, 0);
    scratch.image("vendor_boot.img", "vendor_boot-v4");
    for (file, name) in [
        ("vbmeta.img", "vbmeta-systems"),
        ("vbmeta_system.img", "vbmeta_system-boot"),
        ("vbmeta_vendor.img", "vbmeta_vendor"),
    ] {
        scratch.file(file, &avb::image(name));
    }
    scratch
}

const TREE: &str = "boot.img init_boot.img vendor_boot.img vbmeta_system.img vbmeta_vendor.img \
                    vbmeta.img";

#[test]
fn a_tree_of_vbmeta_images_is_signed_down_to_the_image() {
    let scratch = tree();
    scratch.ok(&format!("verify {TREE} --key 4096.pem"));
    let patch = "--runtime rt --device 1b36:0010 --anyway -d out --avb resign --key 2048.pem \
                 --vbmeta-key 8192.pem";
    scratch.ok(&format!("patch {TREE} {patch}"));
    let written = scratch.names("out");
    assert!(written.contains(&"vbmeta.img".to_owned()), "{written:?}");
    let all: Vec<String> = TREE
        .split_whitespace()
        .map(|name| match written.iter().any(|own| own == name) {
            true => format!("out/{name}"),
            false => name.to_owned(),
        })
        .collect();
    let all = all.join(" ");
    scratch.ok(&format!("verify {all} --key 8192.pem"));
    for name in written.iter().filter(|name| name.starts_with("vbmeta")) {
        // The hash algorithm stays.
        let (bits, hash) = match name.as_str() {
            "vbmeta.img" => (8192, "sha256"),
            "vbmeta_vendor.img" => (2048, "sha512"),
            _ => (2048, "sha256"),
        };
        let blob = scratch.read(&format!("out/{name}"));
        assert!(avb::openssl_verifies(&blob, hash, &avb::key(bits)), "{name}");
    }
    // Each comes back from its own record, whatever its file is called.
    scratch.ok(&format!("unpatch {all} -d back"));
    for name in &written {
        assert!(scratch.read(&format!("back/{name}")) == scratch.read(name), "{name}");
    }
    scratch.ok(&format!("patch {all} {} -d again", patch.replace("-d out", "")));
    for name in &written {
        let same = scratch.read(&format!("again/{name}")) == scratch.read(&format!("out/{name}"));
        assert!(same, "{name}: patches do not stack");
    }
}

#[test]
fn another_vbmeta_image_is_never_restored_from_the_record_of_vbmeta() {
    let scratch = scratch("init_boot-SHA256_RSA2048");
    scratch.file("vbmeta.img", &avb::image("vbmeta"));
    scratch.file("vbmeta_system.img", &avb::image("vbmeta_system"));
    scratch.ok(&format!("{PATCH} vbmeta.img vbmeta_system.img --avb resign --key 2048.pem"));
    assert!(!scratch.exists("out/vbmeta_system.img"));
    let error = scratch.error("unpatch out/boot.img out/init_boot.img vbmeta_system.img -d back");
    assert!(error.contains("vbmeta"), "{error}");
    scratch.ok("unpatch out/boot.img out/init_boot.img vbmeta_system.img out/vbmeta.img -d back");
    assert!(scratch.read("back/vbmeta.img") == scratch.read("vbmeta.img"));
    assert!(!scratch.exists("back/vbmeta_system.img"));
}

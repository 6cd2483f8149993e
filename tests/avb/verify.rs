//! `vfioboot verify`, and what `info` shows of AVB. The images were made by
//! `fixtures/make-avb.py`: Python's integers and openssl, none of our code.

use crate::common;
use crate::common::avb;
use crate::common::cli;

use cli::Scratch;
use proptest::prelude::*;
use serde_json::Value;

const ALGORITHMS: [&str; 6] = [
    "SHA256_RSA2048",
    "SHA256_RSA4096",
    "SHA256_RSA8192",
    "SHA512_RSA2048",
    "SHA512_RSA4096",
    "SHA512_RSA8192",
];

/// A directory with images of `fixtures/avb`.
fn scratch(names: &[&str]) -> Scratch {
    let scratch = Scratch::new();
    for name in names {
        scratch.file(&format!("{name}.img"), &avb::image(name));
    }
    scratch
}

/// The output of `verify` with a negative result: status 1.
fn negative(scratch: &Scratch, arguments: &str) -> String {
    let output = scratch.run(&format!("verify {arguments}")).code(1).get_output().clone();
    String::from_utf8(output.stdout).unwrap()
}

/// The output of `verify` for a signed init_boot with one changed bit.
fn damaged(at: impl FnOnce(&[u8]) -> usize) -> String {
    let mut image = avb::image("init_boot-SHA256_RSA2048");
    let at = at(&image);
    image[at] ^= 0x10;
    let scratch = Scratch::new();
    scratch.file("damaged.img", &image);
    negative(&scratch, "damaged.img")
}

/// The place of a byte of the vbmeta blob in the image.
fn in_blob(offset: usize) -> impl FnOnce(&[u8]) -> usize {
    move |image| avb::footer(image)[1] + offset
}

#[test]
fn every_algorithm_of_avb_is_verified() {
    for algorithm in ALGORITHMS {
        let name = format!("init_boot-{algorithm}");
        let scratch = scratch(&[&name]);
        let text = scratch.ok(&format!("verify {name}.img"));
        assert!(text.contains(&format!("signature  {algorithm}\n")), "{text}");
        assert!(text.contains("ok   digest     descriptor 0, hash of init_boot"), "{text}");
    }
}

#[test]
fn aosps_own_signed_image_is_verified() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../shared/images/cuttlefish13-init_boot-v4-avb.img.xz");
    let Ok(packed) = std::fs::read(path) else {
        eprintln!("no real images beside the checkout: only the fixtures are tested");
        return;
    };
    let scratch = Scratch::new();
    scratch.file("init_boot.img", &common::pipe("xz", &["-dc"], &packed));
    let text = scratch.ok("verify init_boot.img");
    assert!(text.contains("signature  SHA256_RSA4096\n"), "{text}");
    // AOSP's test key, as avbtool prints it
    assert!(text.contains("sha1 2597c218aae470a130f61162feaae70afd97f011"), "{text}");
}

#[test]
fn a_changed_byte_of_the_image_is_a_wrong_digest() {
    let text = damaged(|_| 5000);
    assert!(text.contains("fail digest     descriptor 0, hash of init_boot: the sha256"), "{text}");
    assert!(text.contains("ok   signature"), "{text}");
}

#[test]
fn a_changed_byte_of_the_header_is_named() {
    // rollback_index
    let text = damaged(in_blob(119));
    assert!(
        text.contains("offset 119 (header) of the vbmeta image is 0x17 and was 0x07"),
        "{text}"
    );
}

#[test]
fn a_changed_byte_of_a_descriptor_is_named() {
    // after header and authentication block: hash, then the value of a property
    let text = damaged(in_blob(256 + 320 + 200 + 32 + 38));
    assert!(text.contains("(descriptor 1, property) of the vbmeta image"), "{text}");
    assert!(text.contains("was changed"), "{text}");
}

#[test]
fn a_changed_salt_breaks_hash_and_digest() {
    let text = damaged(in_blob(256 + 320 + 16 + 116 + 9));
    assert!(text.contains("(descriptor 0, hash of init_boot) of the vbmeta image"), "{text}");
    assert!(text.contains("fail digest"), "{text}");
}

#[test]
fn a_changed_byte_of_the_stored_hash_is_named() {
    let text = damaged(in_blob(256));
    assert!(
        text.contains("fail hash       the sha256 stored in the authentication block"),
        "{text}"
    );
}

#[test]
fn a_changed_byte_of_the_signature_is_named() {
    let text = damaged(in_blob(256 + 32 + 100));
    assert!(text.contains("fail signature  the SHA256_RSA2048 signature of 256 bytes"), "{text}");
    assert!(text.contains("ok   hash"), "{text}");
}

#[test]
fn a_changed_byte_of_the_key_is_named() {
    let key = |image: &[u8]| {
        let [_, offset, _] = avb::footer(image);
        let blob = avb::blob(image);
        offset + 256 + avb::number(blob, 12) + avb::number(blob, 64)
    };
    // the second half of the key is rr
    let text = damaged(|image| key(image) + 8 + 256 + 10);
    assert!(text.contains("fail key        the embedded key at offset"), "{text}");
    assert!(text.contains("rr does not follow from its modulus"), "{text}");
    assert!(text.contains("(public key) of the vbmeta image"), "{text}");
    let text = damaged(|image| key(image) + 5);
    assert!(text.contains("n0inv does not follow"), "{text}");
}

#[test]
fn what_libavb_does_not_read_names_the_field() {
    let cases = [
        (4, "vbmeta.required_libavb_version_major at offset 8196: is 268435457, expected 1"),
        (
            19,
            "vbmeta.authentication_data_block_size at offset 8204: is 336, expected a multiple of 64",
        ),
        (24, "vbmeta.auxiliary_data_block_size at offset 8212: is"),
        (38, "vbmeta.hash_offset at offset 8224: 32 bytes at 4096 exceed the block of 320"),
        (47, "vbmeta.hash_size at offset 8232: is 48, expected 32 for SHA256_RSA2048"),
        (256 + 320 + 14, "vbmeta.descriptor at offset 8768: number 0 has num_bytes_following"),
        (
            256 + 320 + 16 + 40,
            "vbmeta.descriptor at offset 8768: number 0 (hash): the sizes of its parts",
        ),
    ];
    for (offset, expected) in cases {
        let text = damaged(in_blob(offset));
        assert!(text.contains(&format!("fail structure  {expected}")), "{offset}: {text}");
    }
}

#[test]
fn a_damaged_footer_is_named() {
    let text = damaged(|image| image.len() - 64 + 26);
    assert!(text.contains("fail structure  avb_footer.vbmeta_offset"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Every bit of the image's content, of header, hash, signature and auxiliary block counts;
    /// only padding after the signature, which nothing covers, does not.
    #[test]
    fn every_changed_bit_is_detected(at in 0usize..8192 + 256 + 32 + 256, bit in 0u32..8) {
        let mut image = avb::image("init_boot-SHA256_RSA2048");
        image[at] ^= 1 << bit;
        if let Ok(parsed) = vfioboot::image::Image::parse(&image) {
            let set = vfioboot::bootset::BootSet::from_images(&[parsed]);
            prop_assert!(!vfioboot::bootset::avb::verify(&set, None).verified);
        }
    }
}

#[test]
fn the_key_must_be_the_given_one() {
    let scratch = scratch(&["init_boot-SHA256_RSA2048"]);
    let arguments = "init_boot-SHA256_RSA2048.img --key";
    scratch.file("right.pem", &std::fs::read(avb::key(2048)).unwrap());
    scratch.file("wrong.pem", &std::fs::read(avb::key(4096)).unwrap());
    let text = scratch.ok(&format!("verify {arguments} right.pem"));
    assert!(text.contains("ok   key        the embedded key is the given one"), "{text}");
    let text = negative(&scratch, &format!("{arguments} wrong.pem"));
    assert!(text.contains("fail key        the embedded key (sha1 "), "{text}");
    assert!(text.contains("is not the given one"), "{text}");
}

#[test]
fn a_public_key_may_be_pem_or_avbs_own() {
    let image = avb::image("init_boot-SHA256_RSA2048");
    let scratch = scratch(&["init_boot-SHA256_RSA2048"]);
    let blob = avb::blob(&image);
    let start = 256 + avb::number(blob, 12) + avb::number(blob, 64);
    scratch.file("key.bin", &blob[start..start + avb::number(blob, 72)]);
    let private = std::fs::read(avb::key(2048)).unwrap();
    scratch.file("spki.pem", &common::pipe("openssl", &["rsa", "-pubout"], &private));
    scratch.file("pkcs1.pem", &common::pipe("openssl", &["rsa", "-RSAPublicKey_out"], &private));
    for key in ["key.bin", "spki.pem", "pkcs1.pem"] {
        scratch.ok(&format!("verify init_boot-SHA256_RSA2048.img --key {key}"));
    }
}

#[test]
fn a_set_is_checked_against_vbmeta() {
    let scratch = scratch(&["init_boot-SHA256_RSA2048", "vbmeta"]);
    scratch.image("boot.img", "boot-v4");
    scratch.file("key.pem", &std::fs::read(avb::key(4096)).unwrap());
    let text = scratch
        .ok("verify init_boot-SHA256_RSA2048.img boot.img --vbmeta vbmeta.img --key key.pem");
    assert!(text.contains("ok   chain      init_boot: the key is the one"), "{text}");
    assert!(text.contains("rollback index location 3"), "{text}");
    assert!(text.contains("ok   digest     vbmeta descriptor 1, hash of boot"), "{text}");
    assert!(text.contains("not given, so not checked: vendor"), "{text}");
}

#[test]
fn a_chained_partition_with_another_key_is_not_verified() {
    let scratch = scratch(&["init_boot-SHA256_RSA4096", "vbmeta"]);
    let text = negative(&scratch, "init_boot-SHA256_RSA4096.img vbmeta.img");
    assert!(
        text.contains("fail chain      init_boot: the vbmeta image asks for the key"),
        "{text}"
    );
}

/// The location 0 is that of the vbmeta image itself.
#[test]
fn a_chain_to_the_rollback_location_of_vbmeta_itself_is_not_verified() {
    let scratch = scratch(&["init_boot-SHA256_RSA2048"]);
    let mut vbmeta = avb::image("vbmeta");
    // AvbChainPartitionDescriptor: tag, size, location
    let is_chain =
        |bytes: &[u8]| bytes.starts_with(&4_u64.to_be_bytes()) && bytes.ends_with(&[0, 0, 0, 3]);
    let at = vbmeta.windows(20).position(is_chain).unwrap();
    vbmeta[at + 19] = 0;
    scratch.file("vbmeta.img", &vbmeta);
    let text = negative(&scratch, "init_boot-SHA256_RSA2048.img vbmeta.img");
    let expected =
        "fail chain      the chain to init_boot has rollback index location 0, expected 1 or more";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn an_image_that_vbmeta_does_not_describe_is_not_verified() {
    let scratch = scratch(&["init_boot-SHA256_RSA2048", "vbmeta"]);
    scratch.image("vendor_boot.img", "vendor_boot-v4");
    let text = negative(&scratch, "vendor_boot.img vbmeta.img");
    assert!(text.contains("says nothing about vendor_boot"), "{text}");
}

#[test]
fn a_digest_in_an_unsigned_vbmeta_verifies_nothing() {
    let scratch = scratch(&["vbmeta-unsigned"]);
    scratch.image("boot.img", "boot-v4");
    let text = negative(&scratch, "boot.img vbmeta-unsigned.img");
    assert!(text.contains("fail signature  algorithm NONE: it is not signed"), "{text}");
    assert!(text.contains("the vbmeta image above it is not verified itself"), "{text}");
}

#[test]
fn an_unsigned_blob_is_fine_where_vbmeta_holds_the_digest() {
    let scratch = scratch(&["init_boot-unsigned", "vbmeta-hash"]);
    scratch.ok("verify init_boot-unsigned.img vbmeta-hash.img");
}

#[test]
fn what_does_not_make_an_image_verified() {
    let cases = [
        ("init_boot-unsigned", "fail signature  algorithm NONE: it is not signed"),
        ("boot-sha1", "hash \"sha1\", libavb takes sha256 and sha512 only"),
        ("vbmeta-disabled", "fail flags      flags are 2 (verification disabled)"),
        (
            "boot-avb1",
            "note avb1       an AVB 1.0 signature of 298 bytes at 12288 (boot_signer), for /boot and the first 12288 bytes",
        ),
    ];
    for (name, expected) in cases {
        let text = negative(&scratch(&[name]), &format!("{name}.img"));
        assert!(text.contains(expected), "{name}: {text}");
    }
    let scratch = Scratch::new();
    scratch.image("boot.img", "boot-v4");
    let text = negative(&scratch, "boot.img");
    assert!(text.contains("fail signature  no signature covers this image"), "{text}");
}

#[test]
fn flags_of_a_chained_image_must_be_zero() {
    let scratch = scratch(&["boot-flags", "vbmeta-chain-boot", "vbmeta"]);
    scratch.ok("verify boot-flags.img");
    let text = negative(&scratch, "boot-flags.img vbmeta-chain-boot.img");
    assert!(text.contains("in a chained vbmeta image they must be 0"), "{text}");
    // libavb reads no vbmeta image of a partition whose digest it has.
    let text = scratch.ok("verify boot-flags.img vbmeta.img");
    assert!(text.contains("note signature  its own vbmeta image is not read"), "{text}");
}

/// The reason of the first image, as JSON.
fn reason(scratch: &Scratch, arguments: &str) -> Value {
    let json: Value =
        serde_json::from_str(&negative(scratch, &format!("{arguments} --json"))).unwrap();
    json["images"][0]["reason"].clone()
}

#[test]
fn the_partition_is_named_where_the_file_does_not_tell() {
    let scratch = scratch(&["boot-of-another-name", "boot-of-dtbo", "recovery", "vbmeta-boot"]);
    let found = reason(&scratch, "boot-of-another-name.img");
    assert_eq!(found["kind"], "not_covered");
    assert_eq!(found["partition"], "boot");
    assert_eq!(found["described"], serde_json::json!(["kernel_boot"]));
    let text = scratch.ok("verify boot-of-another-name.img --partition kernel_boot");
    assert!(text.contains("(boot, partition kernel_boot): verified"), "{text}");
    // Both are for another partition than the one that is named.
    let found = reason(&scratch, "recovery.img --partition boot");
    assert_eq!(found["kind"], "not_covered");
    assert_eq!(reason(&scratch, "boot-of-dtbo.img --partition dtbo")["kind"], "digest");

    scratch.image("boot.img", "boot-v4");
    let set = "boot.img recovery.img vbmeta-boot.img";
    let found = reason(&scratch, &format!("{set} --partition boot.img=dtbo"));
    assert_eq!(found, serde_json::json!({ "kind": "not_described", "partition": "dtbo" }));
    let error = scratch.error(&format!("verify {set} --partition boot"));
    assert!(error.contains("boot.img=boot"), "{error}");
    let error = scratch.error(&format!("verify {set} --partition other.img=boot"));
    assert!(error.contains("other.img is not an image of the set"), "{error}");
}

#[test]
fn recovery_is_not_taken_for_boot() {
    let scratch = scratch(&["vbmeta-boot", "vbmeta-boot-recovery", "recovery"]);
    scratch.image("boot.img", "boot-v4");
    let json = negative(&scratch, "boot.img recovery.img vbmeta-boot.img --json");
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["images"][0]["verified"], true);
    let expected = serde_json::json!({ "kind": "not_described", "partition": "recovery" });
    assert_eq!(json["images"][1]["reason"], expected);
    let v2 = std::fs::read(common::fixture_path("images/boot-v2-raw.img")).unwrap();
    scratch.file("boot.img", &v2);
    scratch.ok("verify recovery.img boot.img vbmeta-boot-recovery.img");
}

#[test]
fn vbmeta_images_below_vbmeta_never_stop_a_run() {
    let scratch = scratch(&["vbmeta-boot", "vbmeta_vendor", "vbmeta_system-other-key"]);
    scratch.image("boot.img", "boot-v4");
    scratch.file("vbmeta_system.img", &avb::image("vbmeta_system-other-key"));
    let arguments = "vbmeta_vendor.img boot.img vbmeta_system.img vbmeta-boot.img --json";
    let json: Value = serde_json::from_str(&negative(&scratch, arguments)).unwrap();
    let images = json["images"].as_array().unwrap();
    let verified: Vec<_> =
        images.iter().map(|image| image["verified"].as_bool().unwrap()).collect();
    assert_eq!(verified, [false, true, false, true]);
    assert_eq!(images[0]["reason"]["kind"], "not_described");
}

#[test]
fn the_same_file_by_another_path_is_one() {
    let scratch = scratch(&["vbmeta-boot"]);
    scratch.image("boot.img", "boot-v4");
    std::fs::create_dir(scratch.path("dir")).unwrap();
    std::os::unix::fs::symlink("../vbmeta-boot.img", scratch.path("dir/link.img")).unwrap();
    for again in ["./vbmeta-boot.img", "dir/../vbmeta-boot.img", "dir/link.img"] {
        scratch.ok(&format!("verify boot.img ./boot.img vbmeta-boot.img --vbmeta {again}"));
    }
}

#[test]
fn certificates_of_gki_are_shown() {
    let scratch = scratch(&["boot-gki"]);
    let text = scratch.ok("info boot-gki.img");
    assert!(
        text.contains("GKI certificate for boot at 12288: SHA256_RSA2048, its signature is valid"),
        "{text}"
    );
    assert!(text.contains("GKI certificate for generic_kernel at 13632"), "{text}");
    let json: Value = serde_json::from_str(&scratch.ok("info boot-gki.img --json")).unwrap();
    assert_eq!(
        json["images"][0]["gki_certificates"][1]["vbmeta"]["descriptors"][0]["partition_name"],
        "generic_kernel"
    );
}

/// A dump of a partition that became larger has an old footer and blob before its end.
#[test]
fn a_blob_that_no_footer_points_to_is_no_certificate() {
    let scratch = Scratch::new();
    let mut image = avb::image("init_boot-SHA256_RSA2048");
    image.resize(image.len() + 8192, 0);
    scratch.file("init_boot.img", &image);
    let text = scratch.ok("info init_boot.img");
    assert!(!text.contains("GKI"), "{text}");
    assert!(text.contains("a vbmeta image that no footer points to"), "{text}");
    // Certificates without a footer are in the last 16 KiB.
    let image = avb::image("boot-gki");
    scratch.file("boot.img", &image[..avb::footer(&image)[0]]);
    assert!(scratch.ok("info boot.img").contains("GKI certificate for boot at 12288"));
}

#[test]
fn info_shows_every_kind_of_descriptor() {
    let scratch = scratch(&["vbmeta"]);
    let json: Value = serde_json::from_str(&scratch.ok("info vbmeta.img --json")).unwrap();
    let vbmeta = &json["images"][0]["vbmeta"];
    assert_eq!(json["images"][0]["kind"], "vbmeta");
    assert_eq!(vbmeta["algorithm"], "SHA512_RSA4096");
    assert_eq!(vbmeta["rollback_index"], 9);
    assert_eq!(vbmeta["release_string"], "vfioboot fixture");
    let kinds: Vec<&str> = vbmeta["descriptors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|descriptor| descriptor["kind"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds,
        ["chain_partition", "hash", "hashtree", "property", "kernel_cmdline", "unknown"]
    );
    assert_eq!(vbmeta["descriptors"][0]["rollback_index_location"], 3);
    assert_eq!(vbmeta["descriptors"][2]["tree_offset"], 1 << 20);
    assert_eq!(vbmeta["descriptors"][3]["value"], "fixture value");
    assert_eq!(vbmeta["descriptors"][4]["cmdline"], "androidboot.fixture=1");
    assert_eq!(vbmeta["descriptors"][5]["tag"], 1000);
    let text = scratch.ok("info vbmeta.img");
    assert!(text.contains("a vbmeta image"), "{text}");
    assert!(
        text.contains("vendor: dm-verity 1, sha1 of 1048576 bytes, tree of 8192 bytes at 1048576"),
        "{text}"
    );
    assert!(text.contains("androidboot.fixture=1 (unless hash trees are disabled)"), "{text}");
}

#[test]
fn a_vbmeta_image_unpacks_and_repacks_to_the_same_bytes() {
    let scratch = scratch(&["vbmeta"]);
    scratch.ok("unpack vbmeta.img -d dir");
    scratch.ok("repack dir -o again.img");
    assert!(scratch.read("again.img") == scratch.read("vbmeta.img"));
}

#[test]
fn json_has_a_verdict_and_every_check() {
    let scratch = scratch(&["init_boot-SHA256_RSA2048", "boot-sha1"]);
    let arguments = "init_boot-SHA256_RSA2048.img boot-sha1.img --json";
    let json: Value = serde_json::from_str(&negative(&scratch, arguments)).unwrap();
    assert_eq!(json["format"], 1);
    assert_eq!(json["verified"], false);
    assert_eq!(json["images"][0]["verified"], true);
    assert_eq!(json["images"][0]["file"], "init_boot-SHA256_RSA2048.img");
    assert_eq!(json["images"][0]["checks"][1]["part"], "hash");
    assert_eq!(json["images"][0]["checks"][1]["outcome"], "pass");
    assert_eq!(json["images"][1]["verified"], false);
    assert_eq!(json["images"][1]["vbmeta"]["algorithm"], "SHA256_RSA2048");
}

#[test]
fn what_cannot_be_read_ends_in_2() {
    let scratch = scratch(&["vbmeta", "vbmeta-hash", "init_boot-SHA256_RSA2048"]);
    scratch.file("noise.img", b"noise, and nothing else");
    scratch.image("boot.img", "boot-v4");
    let cases = [
        ("missing.img", "missing.img"),
        ("noise.img", "is not a boot image"),
        ("vbmeta.img vbmeta-hash.img", "2 vbmeta images (vbmeta.img, vbmeta-hash.img)"),
        ("vbmeta.img --vbmeta boot.img", "boot.img: is not a vbmeta image"),
        ("vbmeta.img --key noise.img", "the key noise.img: is not an RSA key: expected PEM"),
    ];
    for (arguments, expected) in cases {
        let text = scratch.error(&format!("verify {arguments}"));
        assert!(text.contains(expected), "{arguments}: {text}");
    }
}

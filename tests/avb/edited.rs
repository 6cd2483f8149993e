//! Which descriptor an edit updates and what it keeps, and which partition a blob is for: through
//! the library, with blobs that no tool would make.

use crate::common::{avb, cli, fixture};

use std::fs;

use crate::built::{Built, cmdline, hash, partition};
use cli::Scratch;
use vfioboot::bootset::{BootSet, File};
use vfioboot::image::avb::{SignError, SigningKey, Vbmeta};
use vfioboot::image::{AvbChange, AvbPolicy, Error, Image};

const PARTITION: usize = 256 << 10;

/// The image with another command line, under this policy: its bytes and what became of the blob.
fn edited(bytes: &[u8], policy: AvbPolicy<'_>) -> Result<(Vec<u8>, Option<AvbChange>), Error> {
    let image = Image::parse(bytes).unwrap();
    let mut edit = image.edit().unwrap();
    edit.header.set_cmdline(b"edited").unwrap();
    edit.avb = policy;
    image.rebuild(edit).map(|rebuilt| (rebuilt.output.to_vec(), rebuilt.avb_change))
}

/// Hash descriptors: partition and size.
type Hashes<'h> = &'h [(&'h str, usize)];

#[test]
fn the_digest_of_an_image_is_that_of_its_name_and_then_of_its_size() {
    let boot = fixture("images/boot-v4.img");
    let (whole, part, less) = (boot.len(), boot.len() - 1, boot.len() - 2);
    let cases: [(Hashes<'_>, Option<usize>); 12] = [
        (&[], None),
        (&[("boot", whole)], Some(0)),
        (&[("recovery", whole)], Some(0)),
        (&[("other", whole)], Some(0)),
        (&[("other", part)], Some(0)),
        (&[("other", whole), ("boot", part)], Some(1)),
        (&[("boot", part), ("other", whole)], Some(0)),
        (&[("recovery", part), ("boot", whole)], Some(1)),
        (&[("boot", part), ("recovery", less)], Some(0)),
        (&[("one", part), ("other", whole)], Some(1)),
        (&[("one", part), ("other", less)], None),
        (&[("one", part), ("other", less), ("boot", less)], Some(2)),
    ];
    for (hashes, expected) in cases {
        // The digests of the others are wrong.
        let own = hashes.iter().enumerate().map(|(index, (name, size))| {
            let hashed = if Some(index) == expected { &boot[..*size] } else { b"another" };
            hash(name, *size, hashed)
        });
        let bytes = partition(&boot, &Built::of(own).bytes(), PARTITION);
        let right = Image::parse(&bytes).unwrap().unsigned_digest_is_right();
        assert_eq!(right, expected.map(|_| true), "{hashes:?}");
    }
}

#[test]
fn preserve_keeps_a_blob_in_which_it_has_nothing_to_update() {
    let boot = fixture("images/boot-v4.img");
    let mut unknown = avb::image("init_boot-SHA256_RSA2048");
    let [_, offset, _] = avb::footer(&unknown);
    let at = unknown[offset..].windows(7).position(|name| name == b"sha256\0").unwrap();
    unknown[offset + at..][..6].copy_from_slice(b"sha999");
    let unsigned =
        |descriptors: Vec<Vec<u8>>| partition(&boot, &Built::of(descriptors).bytes(), PARTITION);
    let cases = [
        ("signed, with an unknown hash", unknown),
        ("no descriptor", unsigned(vec![])),
        ("no hash", unsigned(vec![cmdline("quiet")])),
        ("hashes of others", unsigned(vec![hash("a", 1, b""), hash("b", 2, b"")])),
    ];
    for (what, before) in cases {
        let (after, change) = edited(&before, AvbPolicy::Preserve).unwrap();
        assert!(after != before, "{what}");
        assert!(avb::blob(&after) == avb::blob(&before), "{what}");
        assert_eq!(change, Some(AvbChange::Preserved), "{what}");
    }
}

#[test]
fn a_blob_that_is_signed_again_keeps_its_metadata_and_ends_at_64_kib() {
    let boot = fixture("images/boot-v4.img");
    let key = SigningKey::from_pem(&fs::read(avb::key(2048)).unwrap(), None).unwrap();
    let own = hash("boot", boot.len(), &boot);
    // header, authentication block, descriptor, key
    let rest = 256 + 320 + own.len() + 8 + 512;
    let most = (64 << 10) - rest;
    let signed = |size: usize| {
        let metadata: Vec<u8> = (0..size).map(|i| (i * 7 + 1) as u8).collect();
        let built = Built { metadata: metadata.clone(), ..Built::of([own.clone()]) };
        let before = partition(&boot, &built.bytes(), PARTITION);
        (edited(&before, AvbPolicy::Resign(&key)), metadata)
    };
    for size in [0, 1, 100, most] {
        let (after, metadata) = signed(size);
        let (after, _) = after.unwrap();
        let blob = avb::blob(&after);
        let start = 256 + avb::number(blob, 12) + avb::number(blob, 80);
        assert_eq!(avb::number(blob, 88), size);
        assert!(blob[start..start + size] == metadata, "{size}");
        assert_eq!(blob.len(), (rest + size).next_multiple_of(64), "{size}");
        assert!(avb::openssl_verifies(blob, "sha256", &avb::key(2048)), "{size}");
        assert!(Vbmeta::parse(blob, 0).is_ok(), "{size}");
    }
    for (size, expected) in [(most + 1, 65600), (most + 65, 65664)] {
        let Err(Error::Avb(error)) = signed(size).0 else { panic!("{size}") };
        assert_eq!(error, SignError::TooLarge(expected));
    }
}

#[test]
fn an_image_belongs_to_the_partition_that_its_own_digest_names() {
    let boot = fixture("images/boot-v4.img");
    let of = |descriptors: Vec<Vec<u8>>| {
        let bytes = partition(&boot, &Built::of(descriptors).bytes(), PARTITION);
        let set = BootSet::new([File::new("file.img", &bytes)]).unwrap();
        set.partitions_of(0)
    };
    for name in ["boot", "recovery", "kernel_boot"] {
        assert_eq!(of(vec![hash(name, boot.len(), &boot)]), [name]);
    }
    assert_eq!(of(vec![cmdline("quiet")])[0], "boot");
}

#[test]
fn a_chain_leads_to_the_image_of_its_partition() {
    let [boot, init_boot] =
        ["boot", "init_boot"].map(|name| fixture(&format!("images/{name}-v4.img")));
    let scratch = Scratch::new();
    // It chains to init_boot.
    scratch.file("vbmeta.img", &avb::image("vbmeta-cmdline"));
    let image = |name: &str, image: &[u8], own: Vec<Vec<u8>>, word: &str| {
        let own = own.into_iter().chain([cmdline(word)]);
        scratch.file(name, &partition(image, &Built::of(own).bytes(), PARTITION));
    };
    let own = |name: &str, image: &[u8]| vec![hash(name, image.len(), image)];
    let cases = [
        (own("boot", &boot), own("init_boot", &init_boot), [false, true]),
        (own("init_boot", &boot), own("recovery", &init_boot), [true, false]),
        (own("boot", &boot), own("recovery", &init_boot), [false, false]),
        (vec![], vec![], [false, true]),
    ];
    for (index, (first, second, expected)) in cases.into_iter().enumerate() {
        image("boot.img", &boot, first, "of_boot=1");
        image("init_boot.img", &init_boot, second, "of_init_boot=1");
        let text = scratch.ok("cmdline --effective boot.img init_boot.img vbmeta.img");
        let found = ["of_boot=1  ", "of_init_boot=1  "]
            .map(|word| text.lines().any(|line| line.starts_with(word)));
        assert_eq!(found, expected, "{index}: {text}");
        let ignored = ["boot.img", "init_boot.img"].map(|name| {
            text.contains(&format!(
                "note: {name}: the kernel command line in its vbmeta blob does not count"
            ))
        });
        assert_eq!(ignored, expected.map(|counts| !counts), "{index}: {text}");
    }
}

#[test]
fn partitions_that_are_not_given_are_named() {
    let scratch = Scratch::new();
    scratch.image("boot.img", "boot-v4");
    scratch.file("vbmeta.img", &avb::image("vbmeta"));
    scratch.file("key.pem", &fs::read(avb::key(4096)).unwrap());
    let text = scratch.ok("verify boot.img vbmeta.img --key key.pem");
    assert!(text.contains("not given, so not checked: init_boot, vendor\n"), "{text}");
}

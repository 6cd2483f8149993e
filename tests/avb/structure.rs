//! Where a footer, a vbmeta image and its blocks may begin and end, through the library.

use crate::common::{self, avb, fixture};

use crate::built::{Built, cmdline, der, hash, integer, partition};
use vfioboot::image::avb::Vbmeta;
use vfioboot::image::{Image, Problem, RegionKind, SectionName};

const PARTITION: usize = 128 << 10;

fn problem(field: &'static str, offset: usize, message: &str) -> Problem {
    Problem { field, offset, message: message.to_owned() }
}

#[test]
fn a_vbmeta_image_may_be_its_header_alone() {
    let bytes = Built::default().bytes();
    assert_eq!(bytes.len(), 256);
    assert_eq!(Vbmeta::parse(&bytes, 0).unwrap().bytes(), bytes);
    let short = problem("vbmeta.header", 4096, "takes 256 bytes, 255 are left");
    assert_eq!(Vbmeta::parse(&bytes[..255], 4096), Err(short));
}

#[test]
fn a_block_that_is_too_large_says_how_much_room_there_is() {
    let built = Built { authentication: 128, gap: 192, ..Built::default() };
    let bytes = built.bytes();
    let authentication = "vbmeta.authentication_data_block_size";
    let auxiliary = "vbmeta.auxiliary_data_block_size";
    let cases = [
        (256, authentication, 12, "is 128, the image has 0 bytes left for it"),
        (383, authentication, 12, "is 128, the image has 127 bytes left for it"),
        (384, auxiliary, 20, "is 192, the image has 0 bytes left for it"),
        (575, auxiliary, 20, "is 192, the image has 191 bytes left for it"),
    ];
    for (size, field, offset, message) in cases {
        assert_eq!(Vbmeta::parse(&bytes[..size], 0), Err(problem(field, offset, message)));
    }
    assert_eq!(bytes.len(), 576);
    assert!(Vbmeta::parse(&bytes, 0).is_ok());
}

#[test]
fn descriptors_may_begin_anywhere_in_their_block() {
    for (authentication, gap) in [(0, 0), (0, 8), (64, 0), (64, 24), (128, 200)] {
        let own = [cmdline("quiet"), hash("boot", 4096, b"")];
        let second = 256 + authentication + gap + own[0].len();
        let built = Built { authentication, gap, descriptors: own.to_vec(), metadata: Vec::new() };
        let bytes = built.bytes();
        let vbmeta = Vbmeta::parse(&bytes, 0).unwrap();
        let found: Vec<_> = vbmeta.descriptors.iter().map(|own| (own.offset, own.bytes)).collect();
        assert_eq!(found, [(256 + authentication + gap, &own[0][..]), (second, &own[1][..])]);
    }
}

#[test]
fn the_blob_may_end_where_the_footer_begins() {
    let mut bytes = partition(&fixture("images/boot-v4.img"), &Built::default().bytes(), PARTITION);
    let [_, offset, _] = avb::footer(&bytes);
    let footer = PARTITION - 64;
    for (size, fits) in [(footer - offset, true), (footer - offset + 1, false)] {
        bytes[footer + 28..footer + 36].copy_from_slice(&(size as u64).to_be_bytes());
        let image = Image::parse(&bytes).unwrap();
        let message = format!(
            "the vbmeta blob of {size} bytes at {offset} does not end before the AVB footer at {footer}"
        );
        let expected = problem("avb_footer.vbmeta_offset", footer + 20, &message);
        assert_eq!(image.problems(), if fits { vec![] } else { vec![expected] });
        assert_eq!(image.avb().map(|avb| avb.vbmeta_size), fits.then_some(size as u64));
    }
}

/// The signature of boot_signer (AVB 1.0) with this INTEGER for the number of signed bytes.
fn boot_signer(length: &[u8]) -> Vec<u8> {
    let attributes = [der(0x13, b"/boot"), length.to_vec()].concat();
    let parts =
        [integer(1), der(0x30, &[]), der(0x30, &[]), der(0x30, &attributes), der(0x04, &[7; 256])];
    der(0x30, &parts.concat())
}

#[test]
fn a_signature_of_avb_1_ends_before_the_padding() {
    let boot = fixture("images/boot-v4.img");
    let signature = boot_signer(&integer(boot.len() as u64));
    for padding in [0, 1, 5000] {
        let bytes = [&boot, &signature[..], &vec![0; padding]].concat();
        let found = Image::parse(&bytes).unwrap().avb1_signature().unwrap();
        assert_eq!((found.offset, found.size), (boot.len(), signature.len()), "{padding}");
        assert_eq!((&*found.target, found.length), ("/boot", boot.len() as u64));
    }
}

#[test]
fn a_signature_of_avb_1_counts_its_bytes_in_64_bits() {
    let boot = fixture("images/boot-v4.img");
    let cases = [
        (integer(0x0123_4567_89ab_cdef), Some(0x0123_4567_89ab_cdef)),
        (integer(u64::MAX), Some(u64::MAX)),
        (der(2, &[0; 10]), None),
        (der(2, &[0; 11]), None),
    ];
    for (length, expected) in cases {
        let bytes = [&boot[..], &boot_signer(&length)].concat();
        let found = Image::parse(&bytes).unwrap().avb1_signature();
        assert_eq!(found.map(|found| found.length), expected, "{length:?}");
    }
}

#[test]
fn certificates_of_gki_begin_in_the_first_16_kib() {
    let boot = fixture("images/boot-v4.img");
    let full = (16 << 10) - 256;
    for (gap, expected) in [(64, 2), (full - 64, 2), (full, 1)] {
        let first = Built { gap, ..Built::default() }.bytes();
        let signature = [first.clone(), Built::of([cmdline("a")]).bytes()].concat();
        let bytes = common::with_section(&boot, SectionName::BootSignature, signature);
        let image = Image::parse(&bytes).unwrap();
        let found = image.gki_certificates();
        let own = RegionKind::Section(SectionName::BootSignature);
        let start = image.regions().iter().find(|region| region.kind == own).unwrap().offset;
        let offsets: Vec<_> = found.iter().map(|certificate| certificate.offset).collect();
        assert_eq!(offsets, [start, start + first.len()][..expected], "{gap}");
    }
}

#[test]
fn a_certificate_of_gki_needs_its_hash_and_its_signature() {
    let image = avb::image("boot-gki");
    let certificate = 12288;
    let [hash, signature] = [32, 48].map(|at| 256 + avb::number(&image[certificate..], at));
    for (at, verdict) in
        [(None, "valid"), (Some(hash), "not valid"), (Some(signature), "not valid")]
    {
        let mut image = image.clone();
        if let Some(at) = at {
            image[certificate + at] ^= 1;
        }
        let image = Image::parse(&image).unwrap();
        let expected = format!(
            "GKI certificate for boot at 12288: SHA256_RSA2048, its signature is {verdict}"
        );
        assert_eq!(image.gki_certificates()[0].describe(), expected);
    }
}

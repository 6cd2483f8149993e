//! AVB and vendors' forms on one image: a wrapper inside of what AVB covers, AVB inside of a
//! wrapper, and AVB around one; and forms around the ramdisk of vendor_boot.

use crate::common;
use crate::common::avb;
use crate::common::cli;

use cli::Scratch;
use common::{AARCH64, elf, fixture, vendor_images};
use sha2::{Digest, Sha256};

const PARTITION: usize = 128 << 10;

/// An unsigned vbmeta blob with the digest of `content`.
fn blob(partition: &[u8], content: &[u8]) -> Vec<u8> {
    let salt = [7; 32];
    let digest = Sha256::new().chain_update(salt).chain_update(content).finalize();
    let mut hash = (content.len() as u64).to_be_bytes().to_vec();
    hash.extend_from_slice(b"sha256");
    hash.resize(40, 0);
    for length in [partition.len(), salt.len(), digest.len(), 0] {
        hash.extend_from_slice(&(length as u32).to_be_bytes());
    }
    hash.resize(116, 0);
    hash.extend([partition, &salt, &digest[..]].concat());
    hash.resize(hash.len().next_multiple_of(8), 0);
    let mut descriptors = 2u64.to_be_bytes().to_vec();
    descriptors.extend_from_slice(&(hash.len() as u64).to_be_bytes());
    descriptors.extend(hash);
    let size = descriptors.len() as u64;
    descriptors.resize(descriptors.len().next_multiple_of(64), 0);
    let mut header = b"AVB0\0\0\0\x01\0\0\0\0".to_vec();
    let mut number = |at: usize, value: u64| {
        header.resize(at, 0);
        header.extend_from_slice(&value.to_be_bytes());
    };
    number(20, descriptors.len() as u64);
    number(104, size);
    header.resize(256, 0);
    [header, descriptors].concat()
}

/// `image` in a partition, with a footer and an unsigned blob.
fn with_avb(image: &[u8]) -> Vec<u8> {
    let blob = blob(b"boot", image);
    let offset = image.len().next_multiple_of(4096);
    let mut bytes = image.to_vec();
    bytes.resize(offset, 0);
    bytes.extend_from_slice(&blob);
    bytes.resize(PARTITION - 64, 0);
    bytes.extend_from_slice(b"AVBf\0\0\0\x01\0\0\0\0");
    for number in [image.len(), offset, blob.len()] {
        bytes.extend_from_slice(&(number as u64).to_be_bytes());
    }
    bytes.resize(PARTITION, 0);
    bytes
}

fn vendor(name: &str) -> Vec<u8> {
    vendor_images().into_iter().find(|(found, _)| found == name).unwrap().1
}

/// A DHTB header: size and SHA-256 of what is after it.
fn dhtb(payload: &[u8]) -> Vec<u8> {
    let mut bytes = b"DHTB\x01\0\0\0".to_vec();
    bytes.extend_from_slice(&Sha256::digest(payload));
    bytes.resize(48, 0);
    bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    bytes.resize(512, 0);
    [bytes, payload.to_vec()].concat()
}

/// An MTK header for a ramdisk.
fn mtk(payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x88, 0x16, 0x88, 0x58];
    bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    bytes.extend_from_slice(b"ROOTFS");
    bytes.resize(40, 0);
    bytes.resize(512, 0xff);
    [bytes, payload.to_vec()].concat()
}

/// Rockchip's: size, and a CRC after it, bit by bit.
fn krnl(payload: &[u8]) -> Vec<u8> {
    let crc = payload.iter().fold(0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| {
            crc << 1 ^ if crc >> 31 == 1 { 0x04c1_0db7 } else { 0 }
        })
    });
    let size = (payload.len() as u32).to_le_bytes();
    [b"KRNL", &size[..], payload, &crc.to_le_bytes()].concat()
}

fn scratch(name: &str, image: &[u8]) -> Scratch {
    let scratch = Scratch::new();
    scratch.file(name, image);
    let noise =
        (0..6000u64).map(|i| (i.wrapping_mul(i).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8);
    scratch.file("rt", &elf(AARCH64).into_iter().chain(noise).collect::<Vec<u8>>());
    scratch.file("key.pem", &std::fs::read(avb::key(2048)).unwrap());
    scratch
}

/// Unpacked and packed again, and patched and unpatched, it is the same.
fn identities(scratch: &Scratch, name: &str) {
    let original = scratch.read(name);
    scratch.ok(&format!("unpack {name} -d dir"));
    scratch.ok("repack dir -o same.img");
    assert!(scratch.read("same.img") == original, "unpack, repack");
    scratch.ok(&format!("patch {name} --device 1b36:0010 --anyway --runtime rt -o patched.img"));
    scratch.ok("unpatch patched.img -o back.img");
    assert!(scratch.read("back.img") == original, "patch, unpatch");
}

fn content(image: &[u8]) -> &[u8] {
    &image[..avb::footer(image)[0]]
}

#[test]
fn forms_around_sections_stay_right_under_avb() {
    for name in ["mtk", "uboot", "krnl", "pxa", "qcdt", "seandroid"] {
        let scratch = scratch("boot.img", &with_avb(&vendor(name)));
        identities(&scratch, "boot.img");
        let text = scratch.ok("info patched.img");
        assert!(text.contains("AVB") && !text.contains("WRONG"), "{name}: {text}");
        let patched = scratch.read("patched.img");
        assert!(avb::digest_is_right(avb::blob(&patched), content(&patched)), "{name}");
        scratch.ok(
            "patch boot.img --device 1b36:0010 --anyway --runtime rt -o signed.img --avb resign --key key.pem",
        );
        let signed = scratch.read("signed.img");
        assert!(avb::openssl_verifies(avb::blob(&signed), "sha256", &avb::key(2048)), "{name}");
        assert!(avb::digest_is_right(avb::blob(&signed), content(&signed)), "{name}");
        scratch.ok("verify signed.img --key key.pem");
        assert!(!scratch.ok("info signed.img").contains("WRONG"), "{name}");
    }
}

#[test]
fn avb_inside_of_a_wrapper_and_the_wrapper_both_stay_right() {
    let image = fixture("images/boot-v2-raw.img");
    let scratch = scratch("boot.img", &dhtb(&with_avb(&image)));
    identities(&scratch, "boot.img");
    for arguments in ["", "--avb resign --key key.pem"] {
        scratch.ok(&format!(
            "patch boot.img --device 1b36:0010 --anyway --runtime rt -o out.img {arguments}"
        ));
        let out = scratch.read("out.img");
        let inner = &out[512..];
        assert_eq!(inner.len(), PARTITION);
        assert!(avb::digest_is_right(avb::blob(inner), content(inner)), "{arguments}");
        assert!(dhtb(inner) == out, "{arguments}: the wrapper");
        let text = scratch.ok("info out.img");
        assert!(text.contains("DHTB header around the image, size and sha256 right"), "{text}");
    }
    scratch.ok("verify out.img --key key.pem");
}

#[test]
fn avb_around_a_wrapper_is_reported_and_edits_are_refused() {
    let image = fixture("images/boot-v2-raw.img");
    let ramdisk = dhtb(&common::cpio(&[("init", b"#!")]));
    for (name, wrapped) in [("boot.img", dhtb(&image)), ("ramdisk.img", ramdisk)] {
        let original = with_avb(&wrapped);
        let scratch = scratch(name, &original);
        let expected = format!(
            "avb_footer at offset {}: is after the payload of the DHTB header, and an edit would not \
             update it: edit the image without its wrapper",
            PARTITION - 64
        );
        for edit in [
            format!("ramdisk {name} add x rt -o out.img"),
            format!("patch {name} --device 1b36:0010 --anyway --runtime rt -o out.img"),
        ] {
            let error = scratch.error(&edit);
            assert!(error.contains(&expected), "{edit}: {error}");
            assert!(!scratch.exists("out.img"), "{edit}");
        }
        scratch.ok(&format!("unpack {name} -d dir"));
        scratch.ok("repack dir -o same.img");
        assert!(scratch.read("same.img") == original, "{name}");
        let text = scratch.ok(&format!("info {name}"));
        assert!(text.contains(&format!("warning: {expected}")), "{text}");
    }
}

/// The digest of an unsigned blob covers what the footer says, and that may be less than there is
/// before the blob.
#[test]
fn bytes_after_the_size_in_the_footer_stay_uncovered() {
    let image = fixture("images/boot-v2-raw.img");
    let mut bytes = with_avb(&[&image[..], &[0; 4096]].concat());
    let blob = blob(b"boot", &image);
    let [size, offset, _] = avb::footer(&bytes);
    bytes[offset..offset + blob.len()].copy_from_slice(&blob);
    let footer = PARTITION - 64;
    bytes[footer + 12..footer + 20].copy_from_slice(&(image.len() as u64).to_be_bytes());
    for at in [image.len(), image.len() + 1000, size - 1] {
        let mut bytes = bytes.clone();
        bytes[at] = 0x5a;
        let scratch = scratch("boot.img", &bytes);
        identities(&scratch, "boot.img");
        scratch.ok("cmdline boot.img --add zz.q=1 -o added.img");
        let added = scratch.read("added.img");
        assert!(avb::digest_is_right(avb::blob(&added), content(&added)), "{at}");
        scratch.ok("cmdline added.img --remove zz.q -o removed.img");
        assert!(scratch.read("removed.img") == bytes, "{at}");
    }
}

/// A vbmeta image in a DHTB form: header or block, and the size of the partition.
fn vbmeta_in(form: &str, blob: &[u8]) -> Vec<u8> {
    let payload = |size: usize| [blob, &vec![0; size - blob.len()]].concat();
    let mut bytes = match form {
        "header" => dhtb(&payload(8192)),
        _ => payload(8192),
    };
    if form == "block" {
        let block = dhtb(&bytes)[..512].to_vec();
        bytes.resize(PARTITION - 512, 0);
        bytes.extend(block);
    }
    // What an older image left in the partition.
    if form == "header" {
        bytes.resize(PARTITION - 700, 0);
        bytes.extend((0..700u32).map(|i| (i * 7) as u8 | 1));
    }
    bytes
}

#[test]
fn a_form_around_vbmeta_follows_a_new_signature() {
    for form in ["header", "block"] {
        let scratch = scratch("boot.img", &fixture("images/boot-v4.img"));
        scratch.file("init_boot.img", &avb::image("init_boot-SHA256_RSA2048"));
        scratch.file("vbmeta.img", &vbmeta_in(form, &avb::image("vbmeta")));
        scratch.file("4096.pem", &std::fs::read(avb::key(4096)).unwrap());
        scratch.ok("unpack vbmeta.img -d dir");
        scratch.ok("repack dir -o same.img");
        assert!(scratch.read("same.img") == scratch.read("vbmeta.img"), "{form}");
        scratch
            .ok("patch boot.img init_boot.img vbmeta.img --device 1b36:0010 --anyway --hook rdinit --runtime rt -d out \
             --avb resign --key key.pem --vbmeta-key 4096.pem");
        let after = scratch.read("out/vbmeta.img");
        assert_eq!(after.len(), PARTITION, "{form}");
        let (payload, dhtb_of) = match form {
            "header" => (&after[512..], &after[..512]),
            _ => (&after[..PARTITION - 512], &after[PARTITION - 512..]),
        };
        let size = u32::from_le_bytes(dhtb_of[48..52].try_into().unwrap()) as usize;
        assert!(*dhtb_of == dhtb(&payload[..size])[..512], "{form}");
        let text = scratch.ok("info out/vbmeta.img");
        assert!(text.contains("around the image, size and sha256 right"), "{text}");
        scratch.ok("verify out/boot.img out/init_boot.img out/vbmeta.img --key 4096.pem");
        scratch.ok("unpatch out/boot.img out/init_boot.img out/vbmeta.img -d back");
        for name in ["boot.img", "init_boot.img", "vbmeta.img"] {
            let back = scratch.read(&format!("back/{name}"));
            assert!(back == scratch.read(name), "{form}: {name}");
        }
    }
}

/// Puts a vendor's form around a ramdisk.
type Wrap = fn(&[u8]) -> Vec<u8>;

/// A vendor_boot with this instead of its ramdisk (v3) or of its first fragment (v4).
fn vendor_boot(name: &str, wrap: Wrap) -> Vec<u8> {
    use vfioboot::image::{Chunk, Image, SectionName, resize_fragment};
    let bytes = fixture(&format!("images/{name}.img"));
    let image = Image::parse(&bytes).unwrap();
    let mut edit = image.edit().unwrap();
    let fragments = image.fragments();
    let mut parts: Vec<Vec<u8>> = fragments.iter().map(|part| part.bytes.to_vec()).collect();
    parts[0] = wrap(&parts[0]);
    if let (Some((_, entry)), Some(table)) =
        (image.header().unwrap().ramdisk_table(), image.section(SectionName::VendorRamdiskTable))
    {
        let table = resize_fragment(table, entry, 0, parts[0].len() as u32).unwrap();
        edit.sections.push((SectionName::VendorRamdiskTable, vec![Chunk::owned(table)]));
    }
    edit.sections.push((SectionName::VendorRamdisk, vec![Chunk::owned(parts.concat())]));
    image.rebuild(edit).unwrap().output.to_vec()
}

#[test]
fn a_form_around_the_ramdisk_of_vendor_boot_v3_follows_an_edit() {
    let forms: [(&str, Wrap, &str); 2] =
        [("MTK header", mtk, "size right"), ("Rockchip KRNL", krnl, "size and crc right")];
    for (form, wrap, right) in forms {
        let image = vendor_boot("vendor_boot-v3", wrap);
        let scratch = scratch("vendor_boot.img", &image);
        scratch.file("new", b"new");
        let text = scratch.ok("info vendor_boot.img");
        assert!(text.contains(&format!("{form} around the vendor_ramdisk")), "{text}");
        identities(&scratch, "vendor_boot.img");
        scratch.ok("ramdisk vendor_boot.img add etc/new new -o added.img");
        assert_eq!(scratch.ok("ramdisk added.img cat etc/new"), "new");
        for name in ["patched.img", "added.img"] {
            let text = scratch.ok(&format!("info {name}"));
            assert!(text.contains(right) && !text.contains("WRONG"), "{text}");
        }
    }
}

#[test]
fn a_form_around_a_fragment_of_vendor_boot_v4_is_named_and_kept() {
    let image = vendor_boot("vendor_boot-v4", mtk);
    let scratch = scratch("vendor_boot.img", &image);
    scratch.ok("unpack vendor_boot.img -d dir");
    scratch.ok("repack dir -o same.img");
    assert!(scratch.read("same.img") == image);
    for edit in [
        "patch vendor_boot.img --device 1b36:0010 --anyway --runtime rt -o out.img",
        "ramdisk vendor_boot.img add etc/new rt -o out.img",
    ] {
        let error = scratch.error(edit);
        assert!(error.contains("starts with an MTK header"), "{edit}: {error}");
        assert!(!scratch.exists("out.img"), "{edit}");
    }
}

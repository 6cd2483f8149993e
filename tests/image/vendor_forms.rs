//! Vendor forms through the program: the output of `info`, and round trips.

use crate::common;
use crate::common::cli;

use cli::Scratch;
use common::{AARCH64, elf, vendor_images};

/// The required output of `info` for each fixture.
const SAID: [(&str, &[&str]); 19] = [
    ("amonet", &["Amonet microloader before the header"]),
    ("bump", &["trailing", "16 bytes at 12288: bump (LG)"]),
    ("chromeos", &["ChromeOS kernel partition around the image"]),
    (
        "dhtb",
        &["DHTB header around the image, size and sha256 right", "SEANDROIDENFORCE (Samsung)"],
    ),
    ("dhtb-partition", &["DHTB header around the image, size and sha256 right"]),
    ("dtbo", &["dtbo image", "dtbo version 0, 2 entries", "72 bytes at 168 id 0x65 rev 0x1"]),
    ("krnl", &["Rockchip KRNL around the ramdisk, size and crc right"]),
    ("krnl-ramdisk", &["a bare ramdisk", "Rockchip KRNL around the image"]),
    (
        "mtk",
        &["MTK header around the kernel \"KERNEL\"", "around the ramdisk \"ROOTFS\", size right"],
    ),
    ("mtk-ramdisk", &["a bare ramdisk", "MTK header around the image \"ROOTFS\""]),
    ("mtk-recovery", &["MTK header around the ramdisk \"RECOVERY\", size right"]),
    ("pxa", &["PXA header", "SRPNG11A000KU", "QCDT version 2, 2 entries"]),
    ("qcdt", &["QCDT version 2, 2 entries", "2048 bytes at 4096 platform_id 0xce variant_id 0x9"]),
    ("seandroid", &["16 bytes at 12288: SEANDROIDENFORCE (Samsung)"]),
    ("sony", &["Sony ELF", "console=ttyHSL0,115200,n8 androidboot.hardware=sony", "300 bytes at"]),
    ("tegra", &["NVIDIA Tegra blob around the image \"LNX\", size right"]),
    ("uboot", &["U-Boot legacy image around the kernel \"fixture kernel\""]),
    ("uboot-kernel", &["a bare kernel", "ih_size and ih_dcrc and ih_hcrc right"]),
    ("uboot-ramdisk", &["a bare ramdisk", "ih_size and ih_dcrc and ih_hcrc right"]),
];

#[test]
fn info_names_every_form() {
    let images = vendor_images();
    let names: Vec<_> = images.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, SAID.map(|(name, _)| name));
    let scratch = Scratch::new();
    for ((name, bytes), (_, said)) in images.iter().zip(SAID) {
        scratch.file("in.img", bytes);
        let text = scratch.ok("info in.img");
        for words in said {
            assert!(text.contains(words), "{name}: {words} in {text}");
        }
    }
}

#[test]
fn info_shows_wrong_values() {
    let scratch = Scratch::new();
    let (_, mut bytes) = vendor_images().into_iter().find(|(name, _)| name == "dhtb").unwrap();
    bytes[8] ^= 1;
    scratch.file("in.img", &bytes);
    let text = scratch.ok("info in.img");
    assert!(text.contains("around the image, size right, sha256 WRONG"), "{text}");
}

#[test]
fn json_has_wrappers_and_the_tiling_of_the_whole_file() {
    let scratch = Scratch::new();
    for (name, bytes) in vendor_images() {
        scratch.file("in.img", &bytes);
        let json: serde_json::Value =
            serde_json::from_str(&scratch.ok("info --json in.img")).unwrap();
        let image = &json["images"][0];
        let mut end = 0;
        for region in image["regions"].as_array().unwrap() {
            assert_eq!(region["offset"], end, "{name}");
            end += region["size"].as_u64().unwrap();
        }
        assert_eq!(end, bytes.len() as u64, "{name}");
        for wrapper in image["wrappers"].as_array().unwrap() {
            let right = |field: &serde_json::Value| field["right"] == true;
            assert!(wrapper["fields"].as_array().unwrap().iter().all(right), "{name}");
        }
        if name == "dhtb" {
            assert_eq!(image["wrappers"][0]["payload"]["offset"], 512);
            assert_eq!(image["sections"][0]["offset"], 512 + 2048);
        }
    }
}

#[test]
fn unpack_repack_patch_and_unpatch_give_every_form_back() {
    let scratch = Scratch::new();
    scratch.file("vfiorun", &elf(AARCH64));
    for (name, bytes) in vendor_images() {
        scratch.file("in.img", &bytes);
        scratch.ok(&format!("unpack in.img -d {name}"));
        scratch.ok(&format!("repack {name} -o out.img"));
        assert!(scratch.read("out.img") == bytes, "{name}");
        if ["chromeos", "dtbo", "uboot-kernel"].contains(&name.as_str()) {
            continue;
        }
        scratch.ok("patch in.img --device 1b36:0010 --anyway --runtime vfiorun -o patched.img");
        scratch.ok("unpatch patched.img -o original.img");
        assert!(scratch.read("original.img") == bytes, "{name}");
        scratch.ok("ramdisk in.img add etc/new vfiorun -o added.img");
        assert!(scratch.ok("ramdisk added.img ls").contains("etc/new"), "{name}");
        let text = scratch.ok("info added.img");
        assert!(!text.contains("WRONG"), "{name}: {text}");
    }
}

#[test]
fn a_chromeos_partition_is_refused_with_a_remedy() {
    let scratch = Scratch::new();
    let (_, bytes) = vendor_images().into_iter().find(|(name, _)| name == "chromeos").unwrap();
    scratch.file("k.img", &bytes);
    scratch.file("vfiorun", &elf(AARCH64));
    for command in [
        "patch k.img --device 1b36:0010 --anyway --runtime vfiorun -o out.img",
        "cmdline k.img --add quiet -o out.img",
        "ramdisk k.img add x vfiorun -o out.img",
    ] {
        let error = scratch.error(command);
        assert!(error.contains("futility vbutil_kernel --repack"), "{command}: {error}");
        assert!(!scratch.exists("out.img"), "{command}");
    }
}

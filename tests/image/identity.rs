//! Images as AOSP's mkbootimg makes them: every byte accounted for, every edit consistent.

use crate::common;

use common::{fixture, images, real_images, with_avb_footer};
use proptest::prelude::*;
use vfioboot::cmdline::Cmdline;
use vfioboot::image::{
    Chunk, Error, Header, Image, ImageKind, Output, RegionKind, SectionName, unpacked,
};

fn parse(bytes: &[u8]) -> Image<'_> {
    Image::parse(bytes).unwrap()
}

fn repack(image: &Image<'_>, edit: impl Fn(&str) -> Option<Vec<u8>>) -> Vec<u8> {
    let unpacked = unpacked::unpack(image);
    let manifest = edit("image.toml").map(|text| String::from_utf8(text).unwrap());
    unpacked::repack(&manifest.unwrap_or(unpacked.manifest.clone()), |name| {
        let (_, bytes) = unpacked.files.iter().find(|(file, _)| file == name).unwrap();
        Ok(edit(name).unwrap_or_else(|| bytes.to_vec()))
    })
    .unwrap()
}

fn assert_tiled(name: &str, image: &Image<'_>) {
    let mut end = 0;
    for region in image.regions() {
        assert_eq!(region.offset, end, "{name}: gap or overlap at {end}");
        assert!(region.size > 0, "{name}: an empty region at {end}");
        end += region.size;
    }
    assert_eq!(end, image.bytes().len(), "{name}: the tiling ends early");
}

#[test]
fn regions_tile_every_image() {
    for (name, bytes) in images().into_iter().chain(real_images()) {
        assert_tiled(&name, &parse(&bytes));
    }
}

#[test]
fn unpack_then_repack_is_identity() {
    for (name, bytes) in images().into_iter().chain(real_images()) {
        assert!(repack(&parse(&bytes), |_| None) == bytes, "{name}: other bytes");
    }
}

#[test]
fn a_rebuild_without_changes_is_identity() {
    for (name, bytes) in images() {
        let image = parse(&bytes);
        let rebuilt = image.rebuild(image.edit().unwrap()).unwrap();
        assert!(rebuilt.output.to_vec() == bytes, "{name}: other bytes");
    }
}

#[test]
fn kinds_and_versions_are_identified() {
    for (name, bytes) in images() {
        let image = parse(&bytes);
        let (kind, rest) = name.split_once("-v").unwrap();
        assert_eq!(image.kind().as_str(), kind, "{name}");
        let version = image.header().unwrap().version();
        assert_eq!(version.to_string(), rest[..1], "{name}");
        assert!(image.problems().is_empty(), "{name}: {:?}", image.problems());
    }
}

#[test]
fn the_id_is_computed_as_mkbootimg_does() {
    for (name, bytes) in images() {
        let expected = name.starts_with("boot-v").then_some(true);
        let has_id = name.as_bytes()[6] <= b'2';
        assert_eq!(parse(&bytes).id_is_right(), expected.filter(|_| has_id), "{name}");
    }
}

#[test]
fn a_grown_ramdisk_keeps_all_else_and_the_id_right() {
    for (name, bytes) in images() {
        let image = parse(&bytes);
        let Some(ramdisk) = image.section(SectionName::Ramdisk) else { continue };
        let mut edit = image.edit().unwrap();
        let more = Chunk::owned(vec![7; 5000]);
        edit.sections.push((SectionName::Ramdisk, vec![Chunk::borrowed(ramdisk), more]));
        let grown = image.rebuild(edit).unwrap().output.to_vec();
        let grown = parse(&grown);
        assert_tiled(&name, &grown);
        assert_eq!(grown.problems(), [], "{name}");
        assert_eq!(grown.id_is_right(), image.id_is_right(), "{name}");
        for field in image.header().unwrap().sections() {
            let (old, new) = (image.section(field.section), grown.section(field.section));
            match field.section {
                SectionName::Ramdisk => {
                    assert_eq!(new.unwrap(), [ramdisk, &[7; 5000]].concat(), "{name}");
                }
                section => assert!(old == new, "{name}: {section} changed"),
            }
        }
    }
}

#[test]
fn recovery_dtbo_offset_follows_the_recovery_dtbo() {
    for name in ["boot-v1-dtbo", "boot-v2-gzip-dtbo"] {
        let bytes = fixture(&format!("images/{name}.img"));
        let image = parse(&bytes);
        let mut edit = image.edit().unwrap();
        edit.sections.push((SectionName::Ramdisk, vec![Chunk::owned(vec![7; 50_000])]));
        let grown = image.rebuild(edit).unwrap().output.to_vec();
        let grown = parse(&grown);
        let dtbo = RegionKind::Section(SectionName::RecoveryDtbo);
        let region = grown.regions().iter().find(|region| region.kind == dtbo).unwrap();
        let stated = grown.header().unwrap().recovery_dtbo_offset();
        assert_eq!(stated, Some(region.offset as u64), "{name}");
    }
}

#[test]
fn a_wrong_id_is_left_alone() {
    let mut bytes = fixture("images/boot-v2-raw.img");
    bytes[576] ^= 1;
    let image = parse(&bytes);
    assert_eq!(image.id_is_right(), Some(false));
    let mut edit = image.edit().unwrap();
    edit.sections.push((SectionName::Ramdisk, vec![Chunk::owned(vec![7; 50])]));
    let rebuilt = image.rebuild(edit).unwrap();
    assert_eq!(rebuilt.header.id(), image.header().unwrap().id());
}

#[test]
fn the_vbmeta_blob_moves_unchanged_and_the_footer_points_to_it() {
    let bytes = with_avb_footer(&fixture("images/init_boot-v4.img"), 128 << 10);
    let image = parse(&bytes);
    assert_tiled("avb", &image);
    let blob = &bytes[image.avb().unwrap().vbmeta_range()];
    let mut edit = image.edit().unwrap();
    edit.sections.push((SectionName::Ramdisk, vec![Chunk::owned(vec![7; 20_000])]));
    let grown = image.rebuild(edit).unwrap().output.to_vec();
    assert_eq!(grown.len(), bytes.len(), "the partition keeps its size");
    let grown = parse(&grown);
    let footer = grown.avb().unwrap();
    assert_eq!(&grown.bytes()[footer.vbmeta_range()], blob);
    assert_eq!(footer.original_image_size, 4096 + 20_480);
    assert_eq!(footer.vbmeta_offset % 4096, 0);
}

#[test]
fn an_image_too_large_for_its_partition_names_the_missing_bytes() {
    let bytes = with_avb_footer(&fixture("images/init_boot-v4.img"), 16 << 10);
    let image = parse(&bytes);
    let with_ramdisk = |size| {
        let mut edit = image.edit().unwrap();
        edit.sections.push((SectionName::Ramdisk, vec![Chunk::owned(vec![7; size])]));
        image.rebuild(edit)
    };
    assert!(with_ramdisk(8192).is_ok());
    let text = with_ramdisk(12_288).map(|_| ()).unwrap_err().to_string();
    assert!(text.contains("partition of 16384 bytes: 1664 bytes are missing"), "{text}");
}

#[test]
fn trailing_bytes_move_with_the_image_and_zeros_give_way() {
    let mut bytes = fixture("images/boot-v0-gzip.img");
    let content = bytes.len();
    bytes.extend_from_slice(b"SEANDROIDENFORCE");
    bytes.resize(content + 64 * 1024, 0);
    let image = parse(&bytes);
    let mut edit = image.edit().unwrap();
    edit.sections.push((SectionName::Ramdisk, vec![Chunk::owned(vec![7; 9000])]));
    let grown = image.rebuild(edit).unwrap();
    let grown_bytes = grown.output.to_vec();
    assert_eq!(grown_bytes.len(), bytes.len());
    let marker = grown.content_size as usize - 16;
    assert_eq!(&grown_bytes[marker..][..16], b"SEANDROIDENFORCE");
}

#[test]
fn an_edited_section_and_header_are_repacked() {
    let bytes = fixture("images/boot-v2-gzip-dtbo.img");
    let image = parse(&bytes);
    let unpacked = unpacked::unpack(&image);
    let manifest = unpacked.manifest.replace("buildvariant=user", "buildvariant=eng");
    let out = repack(&image, |name| match name {
        "image.toml" => Some(manifest.clone().into_bytes()),
        "ramdisk" => Some(vec![9; 6000]),
        _ => None,
    });
    let out = parse(&out);
    assert_eq!(out.section(SectionName::Ramdisk).unwrap(), [9; 6000]);
    assert!(out.header().unwrap().cmdline().ends_with(b"buildvariant=eng"));
    assert_eq!(out.id_is_right(), Some(true));
    assert_eq!(out.section(SectionName::Dtb), image.section(SectionName::Dtb));
}

#[test]
fn edited_fragments_update_their_table() {
    let bytes = fixture("images/vendor_boot-v4-fragments.img");
    let image = parse(&bytes);
    let out = repack(&image, |name| (name == "vendor_ramdisk00").then(|| vec![9; 5001]));
    let out = parse(&out);
    assert_eq!(out.problems(), []);
    let (old, new) = (image.fragments(), out.fragments());
    assert_eq!(new[0].bytes, [9; 5001]);
    assert_eq!((new[1].bytes, new[1].name), (old[1].bytes, old[1].name));
    assert_eq!((new[2].bytes, new[2].kind), (old[2].bytes, old[2].kind));
}

#[test]
fn a_single_edited_fragment_updates_its_table() {
    let bytes = fixture("images/vendor_boot-v4.img");
    let image = parse(&bytes);
    let out = repack(&image, |name| (name == "vendor_ramdisk00").then(|| vec![9; 5001]));
    let out = parse(&out);
    assert_eq!(out.problems(), []);
    assert_eq!(out.fragments()[0].bytes, [9; 5001]);
}

#[test]
fn fragments_that_overlap_are_a_problem() {
    let mut bytes = fixture("images/vendor_boot-v4-fragments.img");
    // The second entry's ramdisk_offset, in the table at 8192.
    bytes[8192 + 108 + 4..8192 + 108 + 8].copy_from_slice(&10u32.to_le_bytes());
    let image = parse(&bytes);
    let text = image.problems().iter().map(ToString::to_string).collect::<String>();
    assert!(text.contains("fragments at 0 and 10 of the vendor ramdisk overlap"), "{text}");
    assert!(repack(&image, |_| None) == bytes, "identity in spite of it");
}

#[test]
fn bare_payloads_are_identified() {
    for name in ["gzip", "lz4_legacy", "raw", "xz", "zstd", "bzip2", "lzma"] {
        let name = if name == "gzip" { "boot-v2-gzip-dtbo" } else { &format!("boot-v2-{name}") };
        let bytes = fixture(&format!("images/{name}.img"));
        let image = parse(&bytes);
        let ramdisk = image.section(SectionName::Ramdisk).unwrap();
        assert_eq!(parse(ramdisk).kind(), ImageKind::Ramdisk, "{name}");
        let kernel = image.section(SectionName::Kernel).unwrap();
        assert_eq!(parse(kernel).kind(), ImageKind::Kernel, "{name}");
    }
}

fn message(bytes: &[u8]) -> String {
    Image::parse(bytes).unwrap_err().to_string()
}

#[test]
fn files_that_are_not_boot_images_are_identified() {
    assert!(message(b"").contains("found an empty file"));
    assert!(message(b"PK\x03\x04rest").contains("a zip file without a boot.img"));
    assert!(message(b"PK\x03\x04..payload.bin").contains("an OTA zip: vfioboot extract FILE"));
    assert!(message(b"PK\x03\x04..raven/image-raven.zip").contains("a factory zip"));
    assert!(message(b"PK\x03\x04..boot.img").contains("a zip file with images: vfioboot"));
    assert!(message(&[0x3a, 0xff, 0x26, 0xed, 1, 0]).contains("simg2img"));
    assert!(message(b"CrAU\0\0\0\0").contains("an OTA payload.bin: vfioboot extract FILE"));
    assert!(message(b"hello, world").contains("found \"hello, w\""));
}

#[test]
fn a_truncated_header_says_what_is_missing() {
    let bytes = fixture("images/boot-v2-raw.img");
    let text = message(&bytes[..1000]);
    assert!(text.contains("the file has 1000"), "{text}");
    assert!(message(&bytes[..20]).contains("takes 44 bytes, the file has 20"));
}

#[test]
fn an_unknown_version_names_field_and_offset() {
    let mut bytes = fixture("images/boot-v2-raw.img");
    bytes[40] = 5;
    assert_eq!(message(&bytes), "header_version at offset 40 is 5, expected 0 to 4");
    let mut bytes = fixture("images/vendor_boot-v4.img");
    bytes[8] = 9;
    assert_eq!(message(&bytes), "header_version at offset 8 is 9, expected 3 or 4");
}

/// What `parse` finds wrong with an image after `bytes` were put at `offset`.
fn problem(name: &str, offset: usize, bytes: &[u8]) -> String {
    let mut image = fixture(&format!("images/{name}.img"));
    image[offset..offset + bytes.len()].copy_from_slice(bytes);
    let parsed = parse(&image);
    assert_tiled(name, &parsed);
    assert!(repack(&parsed, |_| None) == image, "{name}: identity in spite of the lie");
    parsed.problems().iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

#[test]
fn inconsistent_headers_are_read_as_far_as_possible() {
    let text = problem("boot-v2-raw", 16, &u32::MAX.to_le_bytes());
    assert!(
        text.starts_with("ramdisk_size at offset 16: says that ramdisk takes 4294967295"),
        "{text}"
    );
    let text = problem("boot-v2-raw", 36, &[0; 4]);
    assert_eq!(text, "page_size at offset 36: is 0, expected a page size of 512 to 1048576 bytes");
    let text = problem("boot-v2-raw", 36, &u32::MAX.to_le_bytes());
    assert!(text.starts_with("page_size at offset 36: is 4294967295"), "{text}");
    let text = problem("boot-v2-raw", 64, &[b'x'; 512]);
    assert!(text.starts_with("cmdline at offset 64: all 512 bytes are used"), "{text}");
    let text = problem("vendor_boot-v4-fragments", 2120, &[1, 0, 0, 0]);
    assert!(text.starts_with("vendor_ramdisk_table_entry_size at offset 2120: is 1"), "{text}");
    let text = problem("vendor_boot-v4-fragments", 2116, &[200, 0, 0, 0]);
    assert!(text.starts_with("vendor_ramdisk_table_entry_num at offset 2116: is 200"), "{text}");
}

#[test]
fn an_inconsistent_image_is_not_edited() {
    let mut bytes = fixture("images/boot-v2-raw.img");
    bytes[16..20].copy_from_slice(&u32::MAX.to_le_bytes());
    let image = parse(&bytes);
    let mut edit = image.edit().unwrap();
    edit.sections.push((SectionName::Ramdisk, vec![Chunk::owned(vec![1])]));
    assert!(matches!(image.rebuild(edit), Err(Error::Inconsistent(_))));
}

#[test]
fn a_qcdt_in_a_v0_header_is_a_section() {
    let mut bytes = fixture("images/boot-v0-gzip.img");
    let size: u32 = 5000;
    bytes[40..44].copy_from_slice(&size.to_le_bytes());
    bytes.extend_from_slice(&[0xab; 5000]);
    bytes.resize(bytes.len().next_multiple_of(2048), 0);
    let image = parse(&bytes);
    assert_eq!(image.section(SectionName::Dt).unwrap(), [0xab; 5000]);
    assert_eq!(image.header().unwrap().version(), 0);
    assert_eq!(image.problems(), []);
}

#[test]
fn a_long_command_line_is_split_at_a_space_and_always_terminated() {
    let bytes = fixture("images/boot-v2-raw.img");
    let mut header = Header::parse(&bytes).unwrap();
    let line = format!("{} {} {}", "a".repeat(300), "b".repeat(300), "c".repeat(700));
    header.set_cmdline(line.as_bytes()).unwrap();
    let raw = header.to_bytes();
    assert_eq!(header.cmdline(), line.as_bytes());
    assert_eq!(&raw[64 + 300..64 + 302], b" \0", "whole words in the first field");
    assert_eq!(raw[64 + 511], 0);
    assert_eq!(raw[608 + 1023], 0);
}

#[test]
fn a_parameter_is_split_only_if_the_line_would_not_fit_otherwise() {
    let mut header = Header::parse(&fixture("images/boot-v2-raw.img")).unwrap();
    let line = format!("{} {}", "a".repeat(300), "b".repeat(1200));
    header.set_cmdline(line.as_bytes()).unwrap();
    assert_eq!(header.cmdline(), line.as_bytes());
    assert_eq!(header.to_bytes()[64 + 511], 0);
    let text = header.set_cmdline(&[b'x'; 1535]).unwrap_err().to_string();
    assert!(text.contains("extra_cmdline holds 1534 (1 too many)"), "{text}");
}

#[test]
fn a_command_line_that_does_not_fit_says_how_much_too_long_it_is() {
    for (name, capacity) in [("boot-v3", 1535), ("vendor_boot-v4", 2047)] {
        let mut header = Header::parse(&fixture(&format!("images/{name}.img"))).unwrap();
        assert!(header.set_cmdline(&vec![b'x'; capacity]).is_ok(), "{name}");
        let text = header.set_cmdline(&vec![b'x'; capacity + 3]).unwrap_err().to_string();
        assert!(text.ends_with(&format!("holds {capacity} (3 too many)")), "{text}");
    }
}

/// The command line fields of an image: offset and size.
fn cmdline_fields(name: &str) -> Vec<(usize, usize)> {
    match name.split_once('-').unwrap().1.get(..2).unwrap() {
        _ if name.starts_with("vendor") => vec![(28, 2048)],
        "v3" | "v4" => vec![(44, 1536)],
        _ => vec![(64, 512), (608, 1024)],
    }
}

/// Bootloaders take a field that has no NUL.
#[test]
fn a_field_that_the_command_line_fills_is_copied() {
    for name in
        ["boot-v2-raw", "boot-v3", "boot-v4", "init_boot-v4", "vendor_boot-v3", "vendor_boot-v4"]
    {
        let mut bytes = fixture(&format!("images/{name}.img"));
        for (offset, size) in cmdline_fields(name) {
            let word = b"fill=xx ".iter().copied().cycle();
            bytes[offset..offset + size].iter_mut().zip(word).for_each(|(to, from)| *to = from);
        }
        let image = parse(&bytes);
        assert!(repack(&image, |_| None) == bytes, "{name}");
        let mut edit = image.edit().unwrap();
        let line = edit.header.cmdline();
        edit.header.set_cmdline(&line).unwrap();
        edit.header.set_cmdline(&[&line[..], b"x"].concat()).unwrap_err();
        assert!(image.rebuild(edit).unwrap().output.to_vec() == bytes, "{name}: not edited");

        let ramdisk = match name.starts_with("vendor") {
            true => SectionName::Dtb,
            false => SectionName::Ramdisk,
        };
        let mut edit = image.edit().unwrap();
        edit.sections.push((ramdisk, vec![Chunk::owned(b"070701".repeat(2000))]));
        let grown = image.rebuild(edit).unwrap().output.to_vec();
        for (offset, size) in cmdline_fields(name) {
            assert!(grown[offset..offset + size] == bytes[offset..offset + size], "{name}");
        }
    }
}

/// The image after `edit` of its command line.
fn with_line(bytes: &[u8], change: impl Fn(&mut Cmdline<Vec<u8>>)) -> Vec<u8> {
    let image = parse(bytes);
    let mut edit = image.edit().unwrap();
    let mut line = Cmdline::new(edit.header.cmdline());
    change(&mut line);
    edit.header.set_cmdline(line.as_bytes()).unwrap();
    image.rebuild(edit).unwrap().output.to_vec()
}

#[test]
fn a_parameter_that_is_added_and_removed_leaves_no_trace() {
    let long = format!("{} quiet", "a=b ".repeat(126));
    let lines = ["", " ", "quiet", "quiet ", " a  b  ", "a -- b ", "a=\"x y\"\t", &long];
    for name in ["boot-v2-raw", "boot-v3", "vendor_boot-v3", "vendor_boot-v4"] {
        for (number, line) in lines.iter().enumerate() {
            for beside in [&b""[..], b"left over"] {
                let mut bytes = fixture(&format!("images/{name}.img"));
                for (index, (offset, size)) in cmdline_fields(name).into_iter().enumerate() {
                    let field = &mut bytes[offset..offset + size];
                    field.fill(0);
                    let text =
                        if index == 0 { line.as_bytes() } else { &beside[..beside.len().min(4)] };
                    field[..text.len()].copy_from_slice(text);
                    field[size - beside.len()..].copy_from_slice(beside);
                }
                // Of a line in two fields the second one is edited.
                let added = with_line(&bytes, |line| line.add("zz.q=1"));
                assert!(added != bytes);
                let removed = with_line(&added, |line| assert_eq!(line.remove("zz.q"), 1));
                assert!(removed == bytes, "{name}, line {number}, {beside:?}");
            }
        }
    }
}

#[test]
fn an_output_hashes_as_what_it_writes() {
    use sha2::Digest;
    let mut output = Output::default();
    output.push(Chunk::Zeros(100_000));
    output.push(Chunk::borrowed(b"abc"));
    let expected: [u8; 32] = sha2::Sha256::digest(output.to_vec()).into();
    assert_eq!(output.sha256(), expected);
    assert_eq!(output.size(), 100_003);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_damage_leaves_a_tiling_and_an_identity(
        pick in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let all = images();
        let (name, mut bytes) = all[pick.index(all.len())].clone();
        for (at, byte) in edits {
            // Most of the damage into the header, where it hurts.
            let at = at.index(if byte % 4 == 0 { bytes.len() } else { 2200 });
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(image) = Image::parse(&bytes) {
            assert_tiled(&name, &image);
            prop_assert!(repack(&image, |_| None) == bytes);
        }
    }
}

//! Device tree blobs: which bytes are one, and what `/chosen/bootargs` in them says.

use crate::common;
use crate::common::flows;
use crate::common::synthetic;

use synthetic::{dtb, image, pack};
use vfioboot::bootset::BootSet;
use vfioboot::compression::Format;
use vfioboot::image::{Image, SectionName};
use vfioboot::kernel::Kernel;

/// Whether `blob` after a kernel is a DTB.
fn is_one(blob: &[u8]) -> bool {
    let file = [pack(Format::Gzip, &image()), blob.to_vec()].concat();
    !Kernel::parse(&file).unwrap().appended_dtbs().unwrap().is_empty()
}

/// The fields of `struct fdt_header`, by number.
const TOTAL: usize = 1;
const STRUCTURE: usize = 2;
const STRINGS: usize = 3;
const RESERVED: usize = 4;
const VERSION: usize = 5;
const COMPATIBLE: usize = 6;
const STRINGS_SIZE: usize = 8;
const STRUCTURE_SIZE: usize = 9;

/// A blob of 100 bytes with these fields.
fn header(fields: &[(usize, u32)]) -> Vec<u8> {
    let mut blob = dtb(100);
    for (field, value) in fields {
        blob[field * 4..field * 4 + 4].copy_from_slice(&value.to_be_bytes());
    }
    blob
}

#[test]
fn a_blob_is_a_dtb_if_its_blocks_are_within_it() {
    // `fdt_check_header`: the structure is from 56 on, the strings from 72.
    let sound: [&[(usize, u32)]; 10] = [
        &[],
        &[(TOTAL, 88)],
        &[(STRUCTURE_SIZE, 44)],
        &[(STRUCTURE, 40), (STRUCTURE_SIZE, 60)],
        &[(STRINGS_SIZE, 28)],
        &[(STRINGS, 100), (STRINGS_SIZE, 0)],
        &[(RESERVED, 100)],
        &[(VERSION, 16)],
        // Version 16 has no size of the structure.
        &[(VERSION, 16), (STRUCTURE_SIZE, 1000)],
        &[(COMPATIBLE, 17)],
    ];
    for fields in sound {
        assert!(is_one(&header(fields)), "{fields:?}");
    }
    let others: [&[(usize, u32)]; 16] = [
        &[(TOTAL, 101)],
        &[(TOTAL, 0)],
        &[(TOTAL, 75)],
        &[(STRUCTURE_SIZE, 45)],
        &[(STRUCTURE, 39)],
        &[(STRUCTURE, 101), (STRUCTURE_SIZE, 0)],
        &[(VERSION, 16), (STRUCTURE, 101)],
        &[(STRINGS_SIZE, 29)],
        &[(STRINGS, 39), (STRINGS_SIZE, 0)],
        &[(STRINGS, 101), (STRINGS_SIZE, 0)],
        &[(RESERVED, 39)],
        &[(RESERVED, 101)],
        &[(VERSION, 15), (COMPATIBLE, 15)],
        &[(VERSION, 18)],
        &[(COMPATIBLE, 18)],
        &[(VERSION, 16), (COMPATIBLE, 17)],
    ];
    for fields in others {
        assert!(!is_one(&header(fields)), "{fields:?}");
    }
    // A header alone can be all of it.
    let alone =
        [(TOTAL, 40), (STRUCTURE, 40), (STRUCTURE_SIZE, 0), (STRINGS, 40), (STRINGS_SIZE, 0)];
    assert!(is_one(&header(&alone)[..40]));
    assert!(!is_one(&header(&alone)[..39]));
}

#[test]
fn a_search_goes_on_after_a_dtb_and_after_what_is_not_one() {
    let kernel = pack(Format::Gzip, &image());
    let found = |parts: &[&[u8]]| {
        let file = [&[kernel.as_slice()], parts].concat().concat();
        let found = Kernel::parse(&file).unwrap().appended_dtbs().unwrap();
        found.iter().map(|dtb| (dtb.offset - kernel.len(), dtb.size)).collect::<Vec<_>>()
    };
    let magic = [0xd0, 0x0d, 0xfe, 0xed];
    assert_eq!(found(&[&magic, &dtb(100)]), [(4, 100)]);
    assert_eq!(found(&[&dtb(100), &dtb(120)]), [(0, 100), (100, 120)]);
    // What is within one is not another.
    let mut outer = dtb(300);
    outer[150..250].copy_from_slice(&dtb(100));
    assert_eq!(found(&[&outer, b"\0\0", &dtb(80)]), [(0, 300), (302, 80)]);
}

/// A token of the structure block.
enum Token<'t> {
    Begin(&'t str),
    End,
    /// A property: its name and its value.
    Is(&'t str, &'t [u8]),
    Nop,
    Other(u32),
}
use Token::{Begin, End, Is, Nop, Other};

/// A blob with these tokens. Names of properties come after one that nothing has.
fn tree(tokens: &[Token<'_>]) -> Vec<u8> {
    let (mut structure, mut strings) = (Vec::new(), b"unused\0".to_vec());
    let word = |bytes: &mut Vec<u8>, value: usize| bytes.extend((value as u32).to_be_bytes());
    let pad = |bytes: &mut Vec<u8>| bytes.resize(bytes.len().next_multiple_of(4), 0);
    for token in tokens {
        match token {
            Begin(name) => {
                word(&mut structure, 1);
                structure.extend([name.as_bytes(), b"\0"].concat());
                pad(&mut structure);
            }
            End => word(&mut structure, 2),
            Is(name, value) => {
                word(&mut structure, 3);
                word(&mut structure, value.len());
                word(&mut structure, strings.len());
                strings.extend([name.as_bytes(), b"\0"].concat());
                structure.extend(*value);
                pad(&mut structure);
            }
            Nop => word(&mut structure, 4),
            Other(token) => word(&mut structure, *token as usize),
        }
    }
    let (at, total) = (40, 40 + structure.len() + strings.len());
    let mut blob = Vec::new();
    for value in [
        0xd00d_feed,
        total,
        at,
        at + structure.len(),
        40,
        17,
        16,
        0,
        strings.len(),
        structure.len(),
    ] {
        word(&mut blob, value);
    }
    [blob, structure, strings].concat()
}

/// The lines that a boot image shows whose section for device trees has these bytes.
fn lines(section: &[u8]) -> Vec<(String, usize)> {
    let bytes =
        common::with_section(&flows::image("boot-v2-raw"), SectionName::Dtb, section.to_vec());
    let image = Image::parse(&bytes).unwrap();
    let set = BootSet::from_images(std::slice::from_ref(&image));
    let trees = &set.command_lines().device_trees;
    trees.iter().map(|(_, line)| (line.text.clone(), line.count)).collect()
}

fn line(tokens: &[Token<'_>]) -> Option<String> {
    let found = lines(&tree(tokens));
    assert!(found.len() < 2, "{found:?}");
    found.into_iter().next().map(|(text, _)| text)
}

#[test]
fn bootargs_are_those_of_chosen_in_the_root_node() {
    let quiet = Is("bootargs", b"quiet\0");
    let model = Is("model", b"a board\0");
    assert_eq!(
        line(&[Begin(""), model, Begin("chosen"), quiet, End, End, Other(9)]).as_deref(),
        Some("quiet")
    );
    let others: [&[Token<'_>]; 5] = [
        &[Begin(""), Begin("chosen"), Is("bootarg", b"quiet\0"), End, End, Other(9)],
        &[Begin(""), Begin("chosen0"), Is("bootargs", b"quiet\0"), End, End, Other(9)],
        &[Begin("chosen"), Is("bootargs", b"quiet\0"), End, Other(9)],
        &[Begin(""), Begin("soc"), Begin("chosen"), Is("bootargs", b"quiet\0"), End, End, End],
        // After the nodes in it nothing belongs to a node any more (dtc writes properties first).
        &[Begin(""), Begin("chosen"), Begin("x"), End, Is("bootargs", b"quiet\0"), End, End],
    ];
    for (number, tokens) in others.iter().enumerate() {
        assert_eq!(line(tokens), None, "{number}");
    }
    // After other nodes, and with tokens that mean nothing.
    let after = [
        Begin(""),
        Nop,
        Begin("cpus"),
        Is("a", b"12345"),
        Is("b", b""),
        End,
        Begin("chosen"),
        Nop,
        Is("stdout-path", b"uart\0"),
        Is("bootargs", b"rw\0ro\0"),
        End,
        End,
    ];
    assert_eq!(line(&after).as_deref(), Some("rw"), "the first string counts");
    // Names of every length are padded to four bytes.
    for name in ["a", "ab", "abc", "abcd", "abcde"] {
        let value = &name.as_bytes()[1..];
        let tokens = [
            Begin(""),
            Begin(name),
            Is("x", value),
            End,
            Begin("chosen"),
            Is("bootargs", b"quiet"),
            End,
            End,
        ];
        assert_eq!(line(&tokens).as_deref(), Some("quiet"), "{name}");
    }
}

#[test]
fn damage_ends_a_tree() {
    let after = |token: Token<'_>| {
        line(&[Begin(""), token, Begin("chosen"), Is("bootargs", b"quiet\0"), End, End])
    };
    assert_eq!(after(Nop).as_deref(), Some("quiet"));
    for token in [0, 5, 9, u32::MAX] {
        assert_eq!(after(Other(token)), None, "{token}");
    }
    // More ends than beginnings.
    assert_eq!(line(&[End, Begin(""), Begin("chosen"), Is("bootargs", b"quiet\0")]), None);
    // A property that goes beyond the blob, in size or in name.
    let sound = tree(&[Begin(""), Begin("chosen"), Is("bootargs", b"quiet\0"), End, End]);
    assert_eq!(lines(&sound), [("quiet".to_owned(), 1)]);
    // Its length is after the names of two nodes and its token, its name after that.
    let place = 40 + 8 + 4 + 8 + 4;
    for (at, value) in
        [(place, 1000u32), (place, u32::MAX), (place + 4, 1000), (place + 4, u32::MAX)]
    {
        let mut bad = sound.clone();
        bad[at..at + 4].copy_from_slice(&value.to_be_bytes());
        assert_eq!(lines(&bad), [], "{at} {value:#x}");
    }
}

#[test]
fn the_lines_of_several_trees_are_counted() {
    let one = |text: &[u8]| tree(&[Begin(""), Begin("chosen"), Is("bootargs", text), End, End]);
    let none = tree(&[Begin(""), End]);
    let section = [one(b"a\0"), none, one(b"b\0"), vec![0; 5], one(b"a\0"), one(b" \0")].concat();
    assert_eq!(lines(&section), [("a".to_owned(), 2), ("b".to_owned(), 1)]);
}

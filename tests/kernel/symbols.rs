//! The symbols of a module, in each form that kernels have had, of both widths and byte orders.

use std::collections::HashMap;

use vfioboot::compression::Format;
use vfioboot::kernel::Symbols;
use vfioboot::kernel::module::Error;
use vfioboot::kernel::symbols::{Export, Import};

use crate::common::synthetic::pack;

/// The form of an ELF file.
#[derive(Clone, Copy, Debug)]
struct Form {
    wide: bool,
    little: bool,
}

const FORMS: [Form; 4] = [
    Form { wide: true, little: true },
    Form { wide: true, little: false },
    Form { wide: false, little: true },
    Form { wide: false, little: false },
];
const ARM64: Form = FORMS[0];

impl Form {
    fn half(self, value: u16) -> Vec<u8> {
        if self.little { value.to_le_bytes() } else { value.to_be_bytes() }.to_vec()
    }

    fn word(self, value: u32) -> Vec<u8> {
        if self.little { value.to_le_bytes() } else { value.to_be_bytes() }.to_vec()
    }

    /// An address, or an unsigned long.
    fn long(self, value: u64) -> Vec<u8> {
        match (self.wide, self.little) {
            (false, _) => self.word(value as u32),
            (true, true) => value.to_le_bytes().to_vec(),
            (true, false) => value.to_be_bytes().to_vec(),
        }
    }

    fn header_size(self) -> usize {
        if self.wide { 64 } else { 52 }
    }
}

/// A symbol: its name, its value, the number of its section, its binding.
type Symbol<'s> = (&'s str, u64, u16, u8);

const GLOBAL: u8 = 1;
const WEAK: u8 = 2;
const UNDEFINED: u16 = 0;
const ABSOLUTE: u16 = 0xfff1;

/// A relocatable file with these sections, from number 1 on, and these symbols.
fn object(form: Form, sections: &[(&str, Vec<u8>)], symbols: &[Symbol<'_>]) -> Vec<u8> {
    let (mut names, mut table) = (vec![0], vec![0; if form.wide { 24 } else { 16 }]);
    for (name, value, section, binding) in symbols {
        let (name_at, info) = (form.word(names.len() as u32), vec![binding << 4, 0]);
        let parts = match form.wide {
            true => [name_at, info, form.half(*section), form.long(*value), vec![0; 8]],
            false => [name_at, form.long(*value), vec![0; 4], info, form.half(*section)],
        };
        table.extend(parts.concat());
        names.extend([name.as_bytes(), b"\0"].concat());
    }
    let count = sections.len() as u32;
    let (entry, plain) = (if form.wide { 24 } else { 16 }, 1);
    let mut all: Vec<(&str, u32, u32, u64, Vec<u8>)> =
        sections.iter().map(|(name, bytes)| (*name, plain, 0, 0, bytes.clone())).collect();
    all.push((".symtab", 2, count + 2, entry, table));
    all.push((".strtab", 3, 0, 0, names));
    let mut section_names = vec![0];
    let starts: Vec<u32> = all
        .iter()
        .map(|(name, ..)| *name)
        .chain([".shstrtab"])
        .map(|name| {
            let start = section_names.len() as u32;
            section_names.extend([name.as_bytes(), b"\0"].concat());
            start
        })
        .collect();
    all.push((".shstrtab", 3, 0, 0, section_names));

    let mut file = vec![0; form.header_size()];
    let mut headers = vec![0; if form.wide { 64 } else { 40 }];
    for (start, (_, kind, link, entry, bytes)) in starts.iter().zip(&all) {
        file.resize(file.len().next_multiple_of(8), 0);
        let parts = [
            form.word(*start),
            form.word(*kind),
            form.long(0),
            form.long(0),
            form.long(file.len() as u64),
            form.long(bytes.len() as u64),
            form.word(*link),
            form.word(0),
            form.long(1),
            form.long(*entry),
        ];
        headers.extend(parts.concat());
        file.extend_from_slice(bytes);
    }
    file.resize(file.len().next_multiple_of(8), 0);
    let table = file.len() as u64;
    file.extend(headers);
    let header = [
        vec![0x7f, b'E', b'L', b'F', 1 + u8::from(form.wide), 2 - u8::from(form.little), 1],
        vec![0; 9],
        form.half(1),
        form.half(if form.wide { 183 } else { 40 }),
        form.word(1),
        form.long(0),
        form.long(0),
        form.long(table),
        form.word(0),
        form.half(form.header_size() as u16),
        form.half(0),
        form.half(0),
        form.half(if form.wide { 64 } else { 40 }),
        form.half(count as u16 + 4),
        form.half(count as u16 + 3),
    ];
    let header = header.concat();
    file[..header.len()].copy_from_slice(&header);
    file
}

fn import(name: &str, weak: bool, crc: Option<u32>) -> Import {
    Import { name: name.to_owned(), weak, crc }
}

/// `struct modversion_info`.
fn version(form: Form, crc: u32, name: &str) -> Vec<u8> {
    let mut entry = form.long(u64::from(crc));
    entry.extend_from_slice(name.as_bytes());
    entry.resize(64, 0);
    entry
}

#[test]
fn imports_are_what_is_undefined_with_their_crcs() {
    for form in FORMS {
        let versions = [version(form, 0xdead_beef, "kfree"), version(form, 7, "memcpy")].concat();
        let symbols: [Symbol<'_>; 5] = [
            ("kfree", 0, UNDEFINED, GLOBAL),
            ("own", 0, 1, GLOBAL),
            ("maybe", 0, UNDEFINED, WEAK),
            ("", 0, UNDEFINED, GLOBAL),
            ("memcpy", 0, UNDEFINED, GLOBAL),
        ];
        let file = object(form, &[("__versions", versions)], &symbols);
        let found = Symbols::parse(&file).unwrap();
        let expected = [
            import("kfree", false, Some(0xdead_beef)),
            import("maybe", true, None),
            import("memcpy", false, Some(7)),
        ];
        assert_eq!(found.imports, expected, "{form:?}");
        assert!(found.exports.is_empty());
        assert_eq!(Symbols::parse(&pack(Format::Zstd, &file)).unwrap(), found, "{form:?}");
    }
}

#[test]
fn long_names_have_their_crcs_in_sections_of_their_own() {
    let long = "a_name_that_is_longer_than_the_56_bytes_of_a_struct_modversion_info";
    for form in FORMS {
        let numbers = [form.word(1), form.word(0x1234_5678)].concat();
        let names = format!("kfree\0{long}\0").into_bytes();
        let sections = [("__version_ext_crcs", numbers), ("__version_ext_names", names)];
        let symbols: [Symbol<'_>; 2] =
            [("kfree", 0, UNDEFINED, GLOBAL), (long, 0, UNDEFINED, GLOBAL)];
        let found = Symbols::parse(&object(form, &sections, &symbols)).unwrap();
        let expected = [import("kfree", false, Some(1)), import(long, false, Some(0x1234_5678))];
        assert_eq!(found.imports, expected, "{form:?}");
    }
}

#[test]
fn exports_have_a_licence_a_crc_and_a_namespace() {
    for form in FORMS {
        let sections = [
            ("__ksymtab", vec![0; 32]),
            ("__ksymtab_gpl", vec![0; 32]),
            ("__ksymtab_strings", b"plain\0NVME\0".to_vec()),
            ("__kcrctab", [form.word(5), form.word(0x0102_0304)].concat()),
        ];
        let symbols: [Symbol<'_>; 7] = [
            ("__ksymtab_plain", 0, 1, GLOBAL),
            ("__ksymtab_gpl_one", 8, 2, GLOBAL),
            ("__crc_plain", 4, 4, GLOBAL),
            // Before 5.19 the value of an absolute symbol.
            ("__crc_gpl_one", 0x8765_4321, ABSOLUTE, GLOBAL),
            ("__kstrtabns_gpl_one", 6, 3, GLOBAL),
            // The empty text at the end of a name.
            ("__kstrtabns_plain", 5, 3, GLOBAL),
            ("other", 0, 3, GLOBAL),
        ];
        let found = Symbols::parse(&object(form, &sections, &symbols)).unwrap();
        let export =
            |gpl, namespace: &str, crc| Export { gpl, namespace: namespace.into(), crc: Some(crc) };
        let expected: HashMap<String, Export> = [
            ("plain".to_owned(), export(false, "", 0x0102_0304)),
            ("gpl_one".to_owned(), export(true, "NVME", 0x8765_4321)),
        ]
        .into();
        assert_eq!(found.exports, expected, "{form:?}");
        assert!(found.imports.is_empty());
    }
}

#[test]
fn what_a_symbol_points_to_may_be_missing() {
    let sections = [("__ksymtab", vec![0; 8]), ("__kcrctab", vec![1, 2, 3, 4, 5])];
    let of = |symbols: &[Symbol<'_>]| {
        Symbols::parse(&object(ARM64, &sections, symbols)).unwrap().exports["x"].clone()
    };
    let export = |crc| Export { crc, ..Export::default() };
    assert_eq!(of(&[("__crc_x", 1, 2, GLOBAL)]), export(Some(0x0504_0302)));
    // A CRC that is cut, after the section, and in a section that is none.
    for (value, section) in [(2, 2), (6, 2), (u64::MAX, 2), (0, 77)] {
        assert_eq!(of(&[("__crc_x", value, section, GLOBAL)]), export(None), "{value} {section}");
    }
    // A namespace without an end is none.
    assert_eq!(of(&[("__kstrtabns_x", 0, 2, GLOBAL)]), export(None));
}

#[test]
fn what_is_not_an_elf_file_has_no_symbols() {
    assert!(matches!(Symbols::parse(b"words"), Err(Error::Elf(_))));
}

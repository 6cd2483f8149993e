//! The tables of a kernel's exports: where they begin and end, and what an entry may be.

use crate::common::ko;
use crate::common::synthetic::{arm64_image, pack, zboot};

use ko::{Form, TABLES_AT, crc_of, kernel_with_entries};
use vfioboot::compression::Format;
use vfioboot::kernel::symbols::Export;
use vfioboot::kernel::{Exports, Kernel};

const OLD: Form = Form { namespaces: false, crcs: false, relative: false };
const NEW: Form = Form { namespaces: true, crcs: true, relative: false };
const RELATIVE: Form = Form { namespaces: true, crcs: true, relative: true };
const FORMS: [Form; 3] = [OLD, NEW, RELATIVE];

/// `count` names in order, of which `kfree` is one.
fn names(count: usize) -> Vec<String> {
    let mut names: Vec<String> = (1..count).map(|number| format!("f_{number:04}")).collect();
    names.push("kfree".to_owned());
    names
}

fn find(names: &[String], form: Form) -> Option<Exports> {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    Exports::find(&kernel_with_entries(&names, form))
}

#[test]
fn a_table_has_at_least_64_entries() {
    for form in FORMS {
        assert_eq!(find(&names(63), form), None, "{form:?}");
        let exports = find(&names(64), form).unwrap();
        assert_eq!((exports.len(), exports.is_empty()), (64, false));
        assert_eq!(exports.offset, TABLES_AT, "{form:?}");
        assert_eq!(exports.has_crcs, form.crcs);
        assert_eq!(exports.iter().count(), 64);
        for name in names(64) {
            let crc = form.crcs.then(|| crc_of(&name));
            let expected = Export { gpl: false, namespace: String::new(), crc };
            assert_eq!(exports.get(&name), Some(&expected), "{form:?} {name}");
        }
    }
}

#[test]
fn any_of_the_usual_names_leads_to_the_tables() {
    for anchor in ["kfree", "__kmalloc", "memcpy", "param_ops_int"] {
        let mut names = names(100);
        names[99] = anchor.to_owned();
        names.sort();
        assert_eq!(find(&names, NEW).map(|exports| exports.len()), Some(100), "{anchor}");
    }
    let mut names = names(100);
    names[99] = "kfree_other".to_owned();
    assert_eq!(find(&names, NEW), None);
}

#[test]
fn every_table_but_the_first_is_for_gpl_modules() {
    // Before 5.13: `__ksymtab`, `_gpl`, `_unused`, `_unused_gpl`, `_gpl_future`.
    let tables = |count: usize| -> Vec<String> {
        let table = |table| (0..30).map(move |number| format!("f{number:02}_of_{table}"));
        let first = ["a_first".to_owned(), "kfree".to_owned()];
        first.into_iter().chain((1..count).flat_map(table)).collect()
    };
    for form in FORMS {
        let exports = find(&tables(5), form).unwrap();
        assert_eq!(exports.len(), 122, "{form:?}");
        for (name, export) in exports.iter() {
            assert_eq!(export.gpl, name.starts_with('f'), "{form:?} {name}");
        }
        assert_eq!(find(&tables(6), form), None, "{form:?}: more tables than a kernel has");
    }
    // The same name twice is not in order.
    let mut twice = names(100);
    twice[40] = twice[39].clone();
    let exports = find(&twice, NEW).unwrap();
    assert_eq!(
        (exports.get("f_0039").unwrap().gpl, exports.get("f_0042").unwrap().gpl),
        (false, true)
    );
    assert!(exports.get(&twice[39]).is_some());
}

#[test]
fn a_name_is_a_symbol_of_c_or_of_a_compiler() {
    for name in ["f_0050a.llvm.12", "f_0050_X9", &format!("f_0050{}", "x".repeat(505))] {
        let mut names = names(200);
        names[50] = name.to_owned();
        let exports = find(&names, NEW).unwrap();
        assert_eq!((exports.len(), exports.get(name).is_some()), (200, true), "{name}");
    }
    // The table ends before what is none: that around `kfree` is read.
    for name in ["f_0050-a", "f_0050 a", "", "f_é", &format!("f_0050{}", "x".repeat(506))] {
        let mut names = names(200);
        names[50] = name.to_owned();
        let exports = find(&names, OLD).unwrap();
        assert_eq!((exports.len(), exports.offset), (149, TABLES_AT + 51 * 8), "{name}");
        let exports = find(&names, NEW).unwrap();
        assert_eq!((exports.len(), exports.offset), (149, TABLES_AT + 51 * 12), "{name}");
    }
}

#[test]
fn a_namespace_is_a_distance_or_nothing() {
    let mut names = names(100);
    names[10] = "f_0011@NVME".to_owned();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut kernel = kernel_with_entries(&names, NEW);
    let namespace =
        |kernel: &[u8]| Exports::find(kernel).unwrap().get("f_0011").unwrap().namespace.clone();
    assert_eq!(namespace(&kernel), "NVME");
    let field = TABLES_AT + 10 * 12 + 8;
    kernel[field..field + 4].fill(0);
    assert_eq!(namespace(&kernel), "");
    // A distance that leads out of the kernel.
    kernel[field..field + 4].copy_from_slice(&i32::MAX.to_le_bytes());
    assert_eq!(namespace(&kernel), "");
}

#[test]
fn a_kernel_that_ends_after_its_entries_has_no_crcs() {
    let names = names(100);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let kernel = kernel_with_entries(&names, NEW);
    // The strings come before the entries, so that the kernel can end after the CRCs.
    let (strings, to) = (TABLES_AT + 100 * 16, 1000);
    let mut moved = kernel[..strings].to_vec();
    moved[to..to + 1000].copy_from_slice(&kernel[strings..strings + 1000]);
    let shift = (strings - to) as i32;
    for entry in 0..100 {
        let at = TABLES_AT + entry * 12 + 4;
        for field in [at, at + 4] {
            let bytes: [u8; 4] = moved[field..field + 4].try_into().unwrap();
            moved[field..field + 4]
                .copy_from_slice(&(i32::from_le_bytes(bytes) - shift).to_le_bytes());
        }
    }
    let crcs = |end: usize| {
        let exports = Exports::find(&moved[..end]).unwrap();
        assert_eq!(exports.len(), 100);
        exports.has_crcs
    };
    assert!(crcs(moved.len()));
    assert!(!crcs(moved.len() - 1));
    assert!(!crcs(moved.len() - 400));
}

#[test]
fn exports_from_another_source() {
    let of = |crc| -> Exports {
        let export = Export { gpl: true, namespace: String::new(), crc };
        [("plain".to_owned(), Export::default()), ("own".to_owned(), export)].into_iter().collect()
    };
    assert!(of(Some(1)).has_crcs && !of(None).has_crcs);
    assert_eq!((of(None).len(), of(None).is_empty(), of(None).offset), (2, false, 0));
    assert!(of(None).get("own").unwrap().gpl);
    assert!([].into_iter().collect::<Exports>().is_empty());
}

#[test]
fn a_kernel_is_unpacked_at_any_depth_before_its_tables_are_read() {
    let names = names(100);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let image = arm64_image(&kernel_with_entries(&names, NEW), 1 << 24);
    let expected = Exports::find(&image).unwrap();
    assert_eq!((expected.len(), expected.offset), (100, 64 + TABLES_AT));
    let once = pack(Format::Gzip, &image);
    let wrapped = zboot(&once, "gzip", true);
    let twice = pack(Format::Xz, &wrapped);
    for file in
        [image, once, wrapped, twice.clone(), pack(Format::Zstd, &zboot(&twice, "xzkern", true))]
    {
        let kernel = Kernel::parse(&file).unwrap();
        assert_eq!(kernel.exports().unwrap().as_ref(), Some(&expected), "{}", kernel.describe());
    }
    assert_eq!(Kernel::parse(&arm64_image(b"nothing", 1 << 20)).unwrap().exports().unwrap(), None);
}

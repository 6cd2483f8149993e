//! Which symbols a kernel exports, and whether it will take a module.

use crate::common::ko;

use ko::{Form, Ko, crc_of, kernel_with_exports, usual_exports};
use vfioboot::kernel::{Exports, Module, Symbols};
use vfioboot::modules::{Target, misfits};

const RELEASE: &str = "6.1.99-test";
const NEW: Form = Form { namespaces: true, crcs: true, relative: false };
const FORMS: [Form; 5] = [
    Form { namespaces: false, crcs: false, relative: false },
    Form { namespaces: false, crcs: true, relative: true },
    Form { namespaces: true, crcs: false, relative: false },
    Form { namespaces: true, crcs: true, relative: true },
    NEW,
];

fn exports_with(more: &[(&str, bool)], form: Form) -> Exports {
    let mut all = usual_exports();
    all.extend(more.iter().map(|(name, gpl)| ((*name).to_owned(), *gpl)));
    Exports::find(&kernel_with_exports(&all, form)).unwrap()
}

#[test]
fn exports_are_read_in_the_forms_of_all_kernels() {
    for form in FORMS {
        let exports = exports_with(&[("in_namespace@NVME", true)], form);
        assert_eq!(exports.len(), usual_exports().len() + 1, "{form:?}");
        assert_eq!(exports.has_crcs, form.crcs, "{form:?}");
        for (name, gpl) in usual_exports() {
            let export = exports.get(&name).unwrap();
            assert_eq!(export.gpl, gpl, "{form:?} {name}");
            assert_eq!(export.crc, form.crcs.then(|| crc_of(&name)), "{form:?} {name}");
            assert_eq!(export.namespace, "", "{form:?} {name}");
        }
        let namespace = if form.namespaces { "NVME" } else { "" };
        assert_eq!(exports.get("in_namespace").unwrap().namespace, namespace, "{form:?}");
    }
}

#[test]
fn noise_exports_nothing() {
    let noise: Vec<u8> =
        (0..1u32 << 18).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    assert_eq!(Exports::find(&noise), None);
    let whole = kernel_with_exports(&usual_exports(), NEW);
    for end in (0..whole.len()).step_by(97) {
        // Part of a table is no table, or at least nothing that is not in the whole.
        for (name, _) in Exports::find(&whole[..end]).iter().flat_map(Exports::iter) {
            assert!(usual_exports().iter().any(|(other, _)| other == name), "{name}");
        }
    }
}

/// What the kernel would say to these modules, loaded in this order.
fn said(modules: &[Ko], target: &Target<'_>) -> Vec<String> {
    let read: Vec<(Module, Symbols)> = modules
        .iter()
        .map(|ko| {
            (Module::parse(&ko.bytes(), "x.ko").unwrap(), Symbols::parse(&ko.bytes()).unwrap())
        })
        .collect();
    let modules: Vec<_> = read.iter().map(|(module, symbols)| (module, symbols)).collect();
    misfits(&modules, target).iter().map(ToString::to_string).collect()
}

fn target(exports: &Exports) -> Target<'_> {
    Target { release: Some(RELEASE), exports: Some(exports), ..Target::default() }
}

#[test]
fn a_module_whose_symbols_are_all_there_fits() {
    let exports = exports_with(&[], NEW);
    let core =
        Ko::new("core", RELEASE).import("kfree", Some(crc_of("kfree"))).export("core_init", true);
    let user = Ko::new("user", RELEASE).import("core_init", None).import("some_function_001", None);
    assert_eq!(said(&[core, user], &target(&exports)), [""; 0]);
}

#[test]
fn a_symbol_that_nobody_exports_is_named_with_what_trimmed_it() {
    let exports = exports_with(&[], NEW);
    let ko = [Ko::new("vfio_pci", RELEASE).import("pci_reset_bus", None)];
    let text = "vfio_pci needs the symbol pci_reset_bus, which neither the kernel nor another module exports";
    assert_eq!(said(&ko, &target(&exports)), [text]);
    let trimmed = said(&ko, &Target { trims_exports: true, ..target(&exports) });
    assert!(trimmed[0].contains("TRIM_UNUSED_KSYMS"), "{trimmed:?}");
}

#[test]
fn a_module_that_comes_later_gives_nothing() {
    let exports = exports_with(&[], NEW);
    let core = Ko::new("core", RELEASE).export("core_init", true);
    let user = Ko::new("user", RELEASE).import("core_init", None);
    let text = said(&[user, core], &target(&exports));
    assert!(text[0].starts_with("user needs the symbol core_init"), "{text:?}");
}

#[test]
fn another_crc_is_told_with_both() {
    let exports = exports_with(&[], NEW);
    let text = said(&[Ko::new("a", RELEASE).import("kfree", Some(0x1234))], &target(&exports));
    let got = format!("{:#010x}", crc_of("kfree"));
    assert!(
        text[0].contains("another kfree (CRC 0x00001234)") && text[0].contains(&got),
        "{text:?}"
    );
}

#[test]
fn with_the_same_crcs_another_release_does_not_matter() {
    let exports = exports_with(&[], NEW);
    let ko = |crc| {
        [Ko::new("a", "6.1.1").info("vermagic=6.1.1 SMP modversions aarch64").import("kfree", crc)]
    };
    assert_eq!(said(&ko(Some(crc_of("kfree"))), &target(&exports)), [""; 0]);
    let text = said(&ko(None), &target(&exports));
    assert!(text[0].starts_with("a was built for 6.1.1"), "{text:?}");
}

#[test]
fn gpl_symbols_are_not_for_other_licences() {
    let exports = exports_with(&[], NEW);
    let ko = |license: &str| {
        [Ko::new("a", RELEASE)
            .info(&format!("license={license}"))
            .import("some_function_001", None)]
    };
    let text = said(&ko("Proprietary"), &target(&exports));
    assert!(text[0].contains("exported to GPL modules only"), "{text:?}");
    assert_eq!(said(&ko("Dual MIT/GPL"), &target(&exports)), [""; 0]);
}

#[test]
fn a_namespace_must_be_imported() {
    let exports = exports_with(&[("hidden@NVME", false)], NEW);
    let ko = Ko::new("a", RELEASE).import("hidden", None);
    let text = said(std::slice::from_ref(&ko), &target(&exports));
    assert_eq!(text, ["a uses hidden without importing its namespace NVME"]);
    assert_eq!(said(&[ko.info("import_ns=NVME")], &target(&exports)), [""; 0]);
}

#[test]
fn a_kernel_that_asks_for_signatures_gets_one() {
    let exports = exports_with(&[], NEW);
    let enforced = Target { requires_signature: true, ..target(&exports) };
    let ko = Ko::new("a", RELEASE);
    assert!(said(std::slice::from_ref(&ko), &enforced)[0].contains("is not signed"));
    let signed = [ko.bytes(), b"~Module signature appended~\n".to_vec()].concat();
    let (module, symbols) =
        (Module::parse(&signed, "a.ko").unwrap(), Symbols::parse(&signed).unwrap());
    assert_eq!(misfits(&[(&module, &symbols)], &enforced), []);
}

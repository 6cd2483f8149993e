//! Exported symbols of a kernel, and whether it will load a module.

use crate::common::ko;

use ko::{Form, Ko, crc_of, kernel_with_exports, usual_exports};
use vfioboot::kernel::{Exports, Module, Symbols};
use vfioboot::modules::{Misfit, TargetKernel, misfits};

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
        // Part of a table is not a table, or at least nothing that is not in the whole.
        for (name, _) in Exports::find(&whole[..end]).iter().flat_map(Exports::iter) {
            assert!(usual_exports().iter().any(|(other, _)| other == name), "{name}");
        }
    }
}

/// Why the kernel would not load these modules, in this order.
fn reasons(modules: &[Ko], target: &TargetKernel<'_>) -> Vec<Misfit> {
    let read: Vec<(Module, Symbols)> = modules
        .iter()
        .map(|ko| {
            (Module::parse(&ko.bytes(), "x.ko").unwrap(), Symbols::parse(&ko.bytes()).unwrap())
        })
        .collect();
    let modules: Vec<_> = read.iter().map(|(module, symbols)| (module, symbols)).collect();
    misfits(&modules, target)
}

fn target(exports: &Exports) -> TargetKernel<'_> {
    TargetKernel { release: Some(RELEASE), exports: Some(exports), ..TargetKernel::default() }
}

#[test]
fn a_module_with_all_symbols_fits() {
    let exports = exports_with(&[], NEW);
    let core =
        Ko::new("core", RELEASE).import("kfree", Some(crc_of("kfree"))).export("core_init", true);
    let user = Ko::new("user", RELEASE).import("core_init", None).import("some_function_001", None);
    assert_eq!(reasons(&[core, user], &target(&exports)), []);
}

#[test]
fn an_unresolved_symbol_is_reported_with_trimming() {
    let exports = exports_with(&[], NEW);
    let ko = [Ko::new("vfio_pci", RELEASE).import("pci_reset_bus", None)];
    let unresolved = |trimmed| Misfit::Unresolved {
        module: "vfio_pci".to_owned(),
        symbol: "pci_reset_bus".to_owned(),
        trimmed,
    };
    assert_eq!(reasons(&ko, &target(&exports)), [unresolved(false)]);
    let trimming = TargetKernel { trims_exports: true, ..target(&exports) };
    assert_eq!(reasons(&ko, &trimming), [unresolved(true)]);
}

#[test]
fn symbols_of_a_later_module_do_not_count() {
    let exports = exports_with(&[], NEW);
    let core = Ko::new("core", RELEASE).export("core_init", true);
    let user = Ko::new("user", RELEASE).import("core_init", None);
    let unresolved = Misfit::Unresolved {
        module: "user".to_owned(),
        symbol: "core_init".to_owned(),
        trimmed: false,
    };
    assert_eq!(reasons(&[user, core], &target(&exports)), [unresolved]);
}

#[test]
fn a_crc_mismatch_is_reported_with_both_values() {
    let exports = exports_with(&[], NEW);
    let found = reasons(&[Ko::new("a", RELEASE).import("kfree", Some(0x1234))], &target(&exports));
    let mismatch = Misfit::Crc {
        module: "a".to_owned(),
        symbol: "kfree".to_owned(),
        wanted: 0x1234,
        got: crc_of("kfree"),
    };
    assert_eq!(found, [mismatch]);
}

#[test]
fn with_the_same_crcs_another_release_does_not_matter() {
    let exports = exports_with(&[], NEW);
    let ko = |crc| {
        [Ko::new("a", "6.1.1").info("vermagic=6.1.1 SMP modversions aarch64").import("kfree", crc)]
    };
    assert_eq!(reasons(&ko(Some(crc_of("kfree"))), &target(&exports)), []);
    let found = reasons(&ko(None), &target(&exports));
    assert!(
        matches!(&found[..], [Misfit::Release { built_for, .. }] if built_for.starts_with("6.1.1 ")),
        "{found:?}"
    );
}

#[test]
fn gpl_symbols_are_not_for_other_licences() {
    let exports = exports_with(&[], NEW);
    let ko = |license: &str| {
        [Ko::new("a", RELEASE)
            .info(&format!("license={license}"))
            .import("some_function_001", None)]
    };
    let found = reasons(&ko("Proprietary"), &target(&exports));
    assert!(matches!(found[..], [Misfit::Gpl { .. }]), "{found:?}");
    assert_eq!(reasons(&ko("Dual MIT/GPL"), &target(&exports)), []);
}

#[test]
fn a_namespace_must_be_imported() {
    let exports = exports_with(&[("hidden@NVME", false)], NEW);
    let ko = Ko::new("a", RELEASE).import("hidden", None);
    let found = reasons(std::slice::from_ref(&ko), &target(&exports));
    assert!(
        matches!(&found[..], [Misfit::Namespace { namespace, .. }] if namespace == "NVME"),
        "{found:?}"
    );
    assert_eq!(reasons(&[ko.info("import_ns=NVME")], &target(&exports)), []);
}

#[test]
fn a_kernel_that_requires_signatures_loads_only_signed_modules() {
    let exports = exports_with(&[], NEW);
    let enforced = TargetKernel { requires_signature: true, ..target(&exports) };
    let ko = Ko::new("a", RELEASE);
    let unsigned = Misfit::Unsigned { module: "a".to_owned() };
    assert_eq!(reasons(std::slice::from_ref(&ko), &enforced), [unsigned]);
    let signed = [ko.bytes(), b"~Module signature appended~\n".to_vec()].concat();
    let (module, symbols) =
        (Module::parse(&signed, "a.ko").unwrap(), Symbols::parse(&signed).unwrap());
    assert_eq!(misfits(&[(&module, &symbols)], &enforced), []);
}

//! `vfioboot check` of a kernel with its modules: a module counts if the kernel exports what it needs.

use crate::common::cli::Scratch;
use crate::common::ko::{Form, Ko, crc_of, kernel_with_exports, usual_exports};
use crate::common::synthetic::{CONFIG, RELEASE, arm64_image, body};

use serde_json::Value;

/// A kernel with vfio-pci as a module, and with the usual exports.
fn kernel() -> Vec<u8> {
    let config = CONFIG.replace("CONFIG_VFIO_PCI=y", "CONFIG_VFIO_PCI=m");
    let mut body = body(Some(&config));
    body.resize(body.len().next_multiple_of(64), 0);
    let form = Form { namespaces: true, crcs: true, relative: false };
    body.extend(kernel_with_exports(&usual_exports(), form));
    arm64_image(&body, 1 << 20)
}

/// The verdict on VFIO_PCI, and the reason.
fn vfio_pci(scratch: &Scratch, words: &str) -> (String, String) {
    let run = scratch.run(&format!("check {words} --format json"));
    let report: Value = serde_json::from_slice(&run.get_output().stdout).unwrap();
    let findings = report["inputs"][0]["findings"].as_array().unwrap();
    let own = findings.iter().find(|own| own["id"] == "VB-VFIO-003").unwrap();
    let text = |key: &str| own[key].as_str().unwrap().to_owned();
    (text("verdict"), text("reason"))
}

#[test]
fn a_module_counts_if_the_kernel_exports_what_it_needs() {
    let core = || Ko::new("vfio_pci_core", RELEASE).import("kfree", Some(crc_of("kfree")));
    let core = || core().export("core_init", true);
    let user = || Ko::new("vfio_pci", RELEASE).info("depends=vfio-pci-core");
    let user = || user().import("core_init", None);
    let other = || Ko::new("other", RELEASE).import("in_no_kernel", None);
    for (user, core, verdict, reason) in [
        (user(), core(), "pass", ""),
        (user().import("in_no_kernel", None), core(), "fail", "in_no_kernel"),
        (user(), core().import("in_no_kernel", None), "fail", "in_no_kernel"),
        (user(), core().import("memcpy", Some(1)), "fail", "memcpy"),
    ] {
        let scratch = Scratch::new();
        scratch.file("Image", &kernel());
        scratch.file(&format!("boot/vmlinuz-{RELEASE}"), &kernel());
        let tree = format!("boot/lib/modules/{RELEASE}");
        // What cannot decide a rule is not asked for.
        for (name, module) in [("vfio-pci", user), ("vfio-pci-core", core), ("other", other())] {
            scratch.file(&format!("m/{name}.ko"), &module.bytes());
            scratch.file(&format!("{tree}/kernel/{name}.ko"), &module.bytes());
        }
        let dep = "kernel/vfio-pci.ko: kernel/vfio-pci-core.ko\nkernel/vfio-pci-core.ko:\n\
                   kernel/other.ko:\n";
        scratch.file(&format!("{tree}/modules.dep"), dep.as_bytes());
        for words in ["Image --modules m", "boot"] {
            let (found, why) = vfio_pci(&scratch, words);
            assert_eq!(found, verdict, "{words}: {why}");
            assert!(why.contains(reason), "{words}: {why}");
        }
    }
}

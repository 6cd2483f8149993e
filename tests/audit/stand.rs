//! `vfioboot check` of a /boot as distributions fill it: a kernel with its config, its initramfs and its modules.

use serde_json::Value;
use vfioboot::compression::{Format, encode};
use vfioboot::ramdisk::cpio::CpioWriter;

use crate::common::cli::Scratch;
use crate::common::synthetic::{CONFIG, LAYOUTS, arm64_image, module, symbol_table};

const RELEASE: &str = "6.1.99-57-arm64";

/// A kernel without a config whose table has these names.
fn kernel(release: &str, names: &[&str]) -> Vec<u8> {
    let filler = (0..400).map(|number| format!("tfiller_{number}"));
    let names: Vec<String> = filler.chain(names.iter().map(|name| format!("t{name}"))).collect();
    let banner = format!("\0Linux version {release} (ci@ci) (gcc 12) #1 SMP\n\0");
    let body = [banner.as_bytes(), &symbol_table(LAYOUTS[2], &names)].concat();
    encode(Format::Gzip, &arm64_image(&body, 1 << 20), None).unwrap()
}

fn initramfs() -> Vec<u8> {
    let mut writer = CpioWriter::new(Vec::new());
    writer.file(b"init", 0o755, b"#!/bin/sh\n").unwrap();
    writer.finish().unwrap()
}

fn ko(name: &str) -> Vec<u8> {
    module(&[&format!("name={name}"), &format!("vermagic={RELEASE} SMP mod_unload aarch64")])
}

fn inputs(scratch: &Scratch, words: &str) -> Vec<Value> {
    let run = scratch.run(&format!("check --format json {words}"));
    let report: Value = serde_json::from_slice(&run.get_output().stdout).unwrap();
    report["inputs"].as_array().unwrap().clone()
}

fn finding<'a>(input: &'a Value, id: &str) -> &'a Value {
    let findings = input["findings"].as_array().unwrap();
    findings.iter().find(|finding| finding["id"] == id).unwrap()
}

fn beside(input: &Value) -> Vec<&str> {
    let files = input["beside"].as_array().into_iter().flatten();
    files.map(|own| own["key"].as_str().unwrap().rsplit('/').next().unwrap()).collect()
}

#[test]
fn files_of_one_release_are_one_input() {
    let scratch = Scratch::new();
    for release in [RELEASE, "6.1.100-58-arm64"] {
        let config = CONFIG.replace("6.1.99 Kernel", "6.1.0 Kernel");
        scratch.file(&format!("boot/config-{release}"), config.as_bytes());
        scratch.file(&format!("boot/initrd.img-{release}"), &initramfs());
        scratch.file(&format!("boot/vmlinuz-{release}"), &kernel(release, &[]));
        scratch.file(&format!("boot/System.map-{release}"), b"0 T _text\n");
    }
    // Of no kernel that is there.
    scratch.file("boot/config-6.2.0", CONFIG.as_bytes());
    for words in ["boot", "boot/config-6.1.99-57-arm64 boot/vmlinuz-6.1.99-57-arm64"] {
        let found = inputs(&scratch, words);
        let own = found.iter().find(|own| own["release"] == RELEASE).unwrap();
        assert!(own["input"].as_str().unwrap().ends_with("vmlinuz-6.1.99-57-arm64"));
        assert!(beside(own).contains(&"config-6.1.99-57-arm64"), "{own}");
        assert_eq!(own["config"]["source"], "file");
        assert_eq!(own["verdict"], "pass");
        assert_eq!(found.len(), if words == "boot" { 3 } else { 1 });
        if words == "boot" {
            assert!(beside(own).contains(&"initrd.img-6.1.99-57-arm64"), "{own}");
        }
    }
}

#[test]
fn modules_beside_a_kernel_decide_what_its_table_leaves_open() {
    let names = ["load_module", "vfio_pci_nothing"];
    let check = |name: &str, lists: &[(&str, &str)], modules: &[&str]| {
        let scratch = Scratch::new();
        scratch.file(&format!("boot/vmlinuz-{name}"), &kernel(RELEASE, &names));
        let tree = format!("lib/modules/{name}");
        for (list, text) in lists {
            scratch.file(&format!("{tree}/{list}"), text.as_bytes());
        }
        for module in modules {
            scratch.file(&format!("{tree}/kernel/drivers/{module}.ko"), &ko(module));
        }
        let found = inputs(&scratch, "boot").remove(0);
        let of = |id| finding(&found, id)["verdict"].as_str().unwrap().to_owned();
        let reason = finding(&found, "VB-NET-001")["reason"].as_str().unwrap().to_owned();
        (of("VB-NET-001"), of("VB-VFIO-003"), reason)
    };
    // A table alone cannot tell m from n.
    let (net, vfio, _) = check(RELEASE, &[], &[]);
    assert_eq!((net.as_str(), vfio.as_str()), ("unknown", "unknown"));
    let dep = "kernel/drivers/tun.ko:\nkernel/drivers/bridge.ko:\nkernel/drivers/vfio-pci.ko:\n";
    let lists = [("modules.dep", dep), ("modules.builtin", "kernel/drivers/a.ko\n")];
    let (net, _, _) = check(RELEASE, &lists, &["tun", "bridge", "vfio-pci"]);
    assert_eq!(net, "pass");
    // What is in neither is not there at all.
    let (net, vfio, _) = check(RELEASE, &lists, &["a"]);
    assert_eq!((net.as_str(), vfio.as_str()), ("fail", "fail"));
    let built = [("modules.builtin", "kernel/drivers/net/tun.ko\nkernel/net/bridge/bridge.ko\n")];
    let (net, _, reason) = check(RELEASE, &built, &[]);
    assert_eq!(net, "pass");
    assert!(reason.contains("modules.builtin"), "{reason}");
    // The directory of another release than the kernel's own.
    assert_eq!(check("6.1.98-56-arm64", &lists, &["a"]).0, "unknown");
}

#[test]
fn a_directory_names_the_configs_that_it_leaves_out() {
    let scratch = Scratch::new();
    scratch.file("d/good.config", CONFIG.as_bytes());
    scratch.file("d/page.config", b"<html>not found</html>\nCONFIG_KVM=y\n");
    scratch.file("d/notes.txt", b"notes\n");
    let run = scratch.run("check d").code(0);
    let said = String::from_utf8_lossy(&run.get_output().stderr).into_owned();
    assert!(said.contains("d/page.config: is left out"), "{said}");
    assert!(!said.contains("notes.txt"), "{said}");
}

/// Distributions have kernels as `vmlinuz-REL` in one directory, or as `REL/vmlinuz`.
#[test]
fn the_directory_of_modules_names_the_release_where_the_file_does_not() {
    let text = |scratch: &Scratch, place: &str| {
        let found = inputs(scratch, place);
        found
            .iter()
            .map(|own| (own["input"].as_str().unwrap().to_owned(), beside(own).len()))
            .collect::<Vec<_>>()
    };
    let scratch = Scratch::new();
    for name in ["vmlinuz", "vmlinux", "Image", "bzImage", "zImage", "kernel"] {
        let place = format!("{name}/{RELEASE}");
        scratch.file(&format!("{place}/{name}"), &kernel(RELEASE, &[]));
        scratch.file(&format!("{place}/config"), CONFIG.as_bytes());
        assert_eq!(text(&scratch, &place), [(format!("{place}/{name}"), 1)]);
    }
    // Not below a directory with a release's name.
    scratch.file("boot/vmlinuz", &kernel(RELEASE, &[]));
    scratch.file("boot/config", CONFIG.as_bytes());
    let alone = [("boot/config".to_owned(), 0), ("boot/vmlinuz".to_owned(), 0)];
    assert_eq!(text(&scratch, "boot"), alone);
    // Other names there are those of other files.
    let place = format!("other/{RELEASE}");
    scratch.file(&format!("{place}/vmlinuz"), &kernel(RELEASE, &[]));
    scratch.file(&format!("{place}/defconfig"), CONFIG.as_bytes());
    scratch.file(&format!("{place}/my-config"), CONFIG.as_bytes());
    assert_eq!(text(&scratch, &place).len(), 3);
    // A config is one by its name, whatever release it is of.
    scratch.file("names/vmlinuz-6.1.99", &kernel(RELEASE, &[]));
    scratch.file("names/config-mine", CONFIG.as_bytes());
    scratch.file("names/configs-6.1.99", CONFIG.as_bytes());
    assert_eq!(text(&scratch, "names").len(), 3);
}

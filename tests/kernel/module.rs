//! The `.modinfo` of kernel modules.

use crate::common::synthetic;

use std::fs;

use synthetic::{module, pack, real};
use vfioboot::compression::{Format, decode_all};
use vfioboot::kernel::module::{Error, Module};

const MAGIC: &str = "vermagic=6.1.99-x SMP preempt mod_unload modversions aarch64";

fn sample() -> Vec<u8> {
    module(&[
        "parm=ids:Initial PCI IDs, format is \"vendor:device\"",
        "parmtype=ids:string",
        "parmtype=nointxmask:bool",
        "softdep=pre: a-b post: c",
        "alias=pci:v*d*",
        "alias=vfio_pci:v*",
        "depends=vfio-pci-core,vfio",
        "name=vfio-pci",
        MAGIC,
        "license=GPL v2",
    ])
}

#[test]
fn modinfo_is_read_from_plain_and_compressed_modules() {
    let plain = Module::parse(&sample(), "any.ko").unwrap();
    assert_eq!(plain.name, "vfio_pci");
    assert_eq!(plain.depends, ["vfio_pci_core", "vfio"]);
    assert_eq!(plain.aliases, ["pci:v*d*", "vfio_pci:v*"]);
    assert_eq!(plain.softdeps, ["pre: a-b post: c"]);
    let parameters: Vec<_> =
        plain.parameters.iter().map(|p| (p.name.as_str(), p.kind.as_str())).collect();
    assert_eq!(parameters, [("ids", "string"), ("nointxmask", "bool")]);
    assert!(plain.parameters[0].description.ends_with("\"vendor:device\""));
    assert!(plain.has_modversions());
    assert!(plain.vermagic_matches("6.1.99-x"));
    assert!(!plain.vermagic_matches("6.1.99") && !plain.vermagic_matches(""));
    for format in [Format::Gzip, Format::Xz, Format::Zstd] {
        assert_eq!(Module::parse(&pack(format, &sample()), "any.ko").unwrap(), plain, "{format}");
    }
}

#[test]
fn an_old_module_is_named_by_its_file() {
    let bytes = module(&["depends="]);
    let old = Module::parse(&bytes, "lib/modules/5.4/vfio-pci.ko.xz").unwrap();
    assert_eq!((old.name.as_str(), old.depends.len()), ("vfio_pci", 0));
    assert!(matches!(Module::parse(&bytes, ""), Err(Error::NoName)));
}

#[test]
fn other_files_are_not_modules() {
    assert!(matches!(Module::parse(b"no ELF at all", "a.ko"), Err(Error::Elf(_))));
    let program = synthetic::elf(183, ".text", b"code");
    assert!(matches!(Module::parse(&program, "a.ko"), Err(Error::NoModinfo)));
    let whole = sample();
    for length in 0..whole.len() {
        assert!(Module::parse(&whole[..length], "a.ko").is_err(), "{length} bytes");
    }
    for index in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[index / 8] ^= 1 << (index % 8);
        let _ = Module::parse(&bytes, "a.ko");
    }
}

/// The regular files of a tar archive; enough of the format for what we are given.
fn files_of_tar(tar: &[u8]) -> Vec<(String, &[u8])> {
    let text = |bytes: &[u8]| {
        String::from_utf8(bytes.iter().copied().take_while(|byte| *byte != 0).collect()).unwrap()
    };
    let mut files = Vec::new();
    let mut at = 0;
    while tar[at] != 0 {
        let header = &tar[at..at + 512];
        let size = usize::from_str_radix(text(&header[124..136]).trim(), 8).unwrap();
        if header[156] == b'0' {
            files.push((text(&header[..100]), &tar[at + 512..at + 512 + size]));
        }
        at += 512 + size.next_multiple_of(512);
    }
    files
}

#[test]
fn real_modules() {
    let Some(path) = real("vfio-m-modules.tar.xz") else { return };
    let (tar, _) = decode_all(Format::Xz, &fs::read(path).unwrap(), 1 << 30).unwrap();
    let files = files_of_tar(&tar);
    let modules: Vec<Module> = files
        .iter()
        .filter(|(name, _)| name.ends_with(".ko"))
        .map(|(name, bytes)| Module::parse(bytes, name).unwrap())
        .collect();
    assert_eq!(modules.len(), 7);
    assert!(modules.iter().all(|module| module.vermagic_matches("6.1.192-qemu-android")));
    let vfio = modules.iter().find(|module| module.name == "vfio").unwrap();
    assert_eq!(vfio.softdeps, ["post: vfio_iommu_type1 vfio_iommu_spapr_tce"]);
}

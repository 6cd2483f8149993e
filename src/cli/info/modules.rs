//! The modules of a ramdisk, as text and as data.

use serde_json::{Value as Json, json};
use vfioboot::bootset::Ramdisk;
use vfioboot::modules::ModuleTree;
use vfioboot::modules::tree::Role;

/// Names that are printed before "and N more".
const SHOWN: usize = 8;

/// The modules of a ramdisk; None if it has none, or only damaged ones.
pub fn describe(ramdisk: &Ramdisk<'_>) -> Option<(String, Json)> {
    let tree = ModuleTree::of_files([(ramdisk.spot.to_string(), ramdisk.modules())]);
    if tree.modules.is_empty() {
        return None;
    }
    let releases = tree.releases();
    let pci: Vec<&str> =
        tree.pci_drivers().into_iter().filter(|n| tree.named(n).is_some()).collect();
    let bridges = tree.with_role(Role::HostBridge);
    let iommus = tree.with_role(Role::Iommu);
    let count = tree.modules.len();
    let mut text = format!(
        "{count} module{} for {}",
        if count == 1 { "" } else { "s" },
        if releases.is_empty() {
            "a kernel they do not name".to_owned()
        } else {
            releases.join(", ")
        },
    );
    for (what, names) in
        [("drive PCI devices", &pci), ("PCI host bridges", &bridges), ("IOMMUs", &iommus)]
    {
        if !names.is_empty() {
            text += &format!("; {what}: {}", shortened(names));
        }
    }
    let load = tree.lists.load.as_ref().map(Vec::len);
    if let Some(count) = load {
        text += &format!("; modules.load has {count}");
    }
    let json = json!({
        "count": count,
        "releases": releases,
        "directory": tree.directory,
        "lists": tree.lists.seen,
        "load": tree.lists.load,
        "pci_drivers": pci,
        "host_bridges": bridges,
        "iommus": iommus,
    });
    Some((text, json))
}

fn shortened(names: &[&str]) -> String {
    let mut text = names[..names.len().min(SHOWN)].join(" ");
    if names.len() > SHOWN {
        text += &format!(" and {} more", names.len() - SHOWN);
    }
    text
}

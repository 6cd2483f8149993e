//! The table `memory`.

use serde::Deserialize;

use super::keys::{
    Example::{Default as ByDefault, Set},
    Key, Kind, row,
};
use super::needs::Needs;
use super::values::{Hugepages, Size};
use crate::device::guest::libvirt::{Unsupported, Xml};
use crate::device::guest::qemu::argv::{Argv, Backing};

/// The guest's memory.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Memory {
    /// How much.
    pub size: Size,
    /// The kind of pages.
    pub hugepages: Hugepages,
    /// Whether the rest of QEMU is locked into memory too. The guest's memory is pinned in
    /// any case as soon as a device may write to it.
    pub locked: bool,
}

impl Default for Memory {
    fn default() -> Self {
        Self { size: Size(1 << 30), hugepages: Hugepages::default(), locked: false }
    }
}

/// Its keys.
#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    row("memory.size", Kind::Size, Set("\"2G\""), "default: 1G"),
    row("memory.hugepages", Kind::Choice(&["auto", "hugetlb", "transparent", "none"]), ByDefault("\"auto\""), "or \"hugetlb\", \"transparent\", \"none\""),
    row("memory.locked", Kind::Flag, ByDefault("false"), "lock the rest of QEMU into memory as well"),
];

impl Memory {
    pub(super) fn needs(&self, needs: &mut Needs<'_>) {
        // What locks QEMU's memory needs nothing more.
        let Self { size, hugepages, locked: _ } = self;
        (needs.memory, needs.hugepages) = (*size, *hugepages);
    }

    /// The object that the machine takes its memory from, where that is not QEMU's choice.
    pub(super) fn backend(&self, argv: &mut Argv, backing: Backing) {
        let size = self.size.mib();
        if let Backing::Hugetlb(page) = backing {
            argv.pair(
                "-object",
                format!(
                    "memory-backend-memfd,id=ram,size={size}M,hugetlb=on,hugetlbsize={}k,prealloc=on",
                    page / 1024
                ),
            );
        }
    }

    pub(super) fn arguments(&self, argv: &mut Argv) {
        // What pages there are has been decided: see `backend`.
        let Self { size, hugepages: _, locked } = self;
        argv.pair("-m", format!("{}M", size.mib()));
        if *locked {
            argv.pair("-overcommit", "mem-lock=on");
        }
    }

    pub(super) fn domain(&self, xml: &mut Xml, unsupported: &mut Unsupported) {
        let Self { size, hugepages, locked } = self;
        xml.text("memory", &[("unit", "MiB")], &size.mib().to_string());
        let hugetlb = match hugepages {
            Hugepages::Hugetlb => true,
            // What libvirt does by itself; for "auto" it lacks the first choice.
            Hugepages::Auto | Hugepages::None => false,
            Hugepages::Transparent => {
                unsupported.when(true, "memory.hugepages");
                false
            }
        };
        if hugetlb || *locked {
            xml.within("memoryBacking", &[], |xml| {
                if hugetlb {
                    xml.empty("hugepages", &[]);
                }
                if *locked {
                    xml.empty("locked", &[]);
                }
            });
        }
    }
}

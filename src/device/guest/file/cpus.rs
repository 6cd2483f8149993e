//! The table `cpus`.

use serde::Deserialize;

use super::keys::{Conflict, Example::Set, Key, KeyConflict, Kind, row};
use super::needs::Needs;
use super::values::Cluster;
use crate::device::guest::libvirt::{Unsupported, Xml};
use crate::device::guest::qemu::argv::Argv;
use crate::device::sys::cpu_list;

/// The guest's processors.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cpus {
    /// How many.
    pub count: u32,
    /// On which of the host's they run.
    pub cluster: Cluster,
}

impl Default for Cpus {
    fn default() -> Self {
        Self { count: 1, cluster: Cluster::default() }
    }
}

/// How many processors QEMU takes.
const COUNT: Kind = Kind::Number(1, 512);

/// Its keys.
#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    row("cpus.count", COUNT, Set("4"), "default: 1"),
    row("cpus.cluster", Kind::Cpus, Set("\"big\""), "default: \"any\"; or \"little\", or CPUs: [4, 5, 6, 7]"),
];

impl Cpus {
    pub(super) fn conflict(&self) -> Option<KeyConflict> {
        (!COUNT.admits(self.count)).then_some(("cpus.count", Conflict::Expected(COUNT)))
    }

    pub(super) fn needs<'g>(&'g self, needs: &mut Needs<'g>) {
        let Self { count, cluster } = self;
        (needs.cpus, needs.cluster) = (*count, cluster.clone());
    }

    pub(super) fn arguments(&self, argv: &mut Argv) {
        // QEMU stays on the processors that it is started on.
        let Self { count, cluster: _ } = self;
        argv.pair("-smp", count.to_string());
    }

    pub(super) fn domain(&self, xml: &mut Xml, unsupported: &mut Unsupported) {
        let Self { count, cluster } = self;
        let count = count.to_string();
        match cluster {
            Cluster::List(list) => {
                xml.text("vcpu", &[("cpuset", &cpu_list::format(list))], &count);
            }
            Cluster::Any => xml.text("vcpu", &[], &count),
            Cluster::Big | Cluster::Little => {
                unsupported.when(true, "cpus.cluster");
                xml.text("vcpu", &[], &count);
            }
        }
    }
}

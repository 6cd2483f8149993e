//! Control groups for QEMU: out of the app that started it, onto the right processors.

use super::cpu;
use super::host::{Host, Write};

/// A control group that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    /// Its directory, relative to the [`Host`].
    pub directory: String,
    /// What to write into its attributes, before anything can join.
    pub writes: Vec<Write>,
    /// What a process writes `0` to, to join.
    pub join: String,
}

/// The control groups that a guest gets. Android kills what apps have started by their group
/// (`ActivityManager`'s phantom processes), and confines it to slow processors by its cpuset.
///
/// The groups are children of the root, and nothing of the root's is changed. `cpus`: where the
/// guest is to run; `None`: anywhere.
pub fn plan(host: &Host, guest: &str, cpus: Option<&[u32]>) -> Vec<Cgroup> {
    let mut groups = Vec::new();
    let unified = "sys/fs/cgroup";
    if host.exists(&format!("{unified}/cgroup.controllers")) {
        let directory = format!("{unified}/vfiorun-{guest}");
        let join = format!("{directory}/cgroup.procs");
        groups.push(Cgroup { directory, writes: Vec::new(), join });
    }
    // Android mounts version 1 with `noprefix`.
    for (root, prefix) in [("dev/cpuset", ""), ("sys/fs/cgroup/cpuset", "cpuset.")] {
        let value = |name: &str| host.read(&format!("{root}/{prefix}{name}"));
        let (Ok(all), Ok(nodes)) = (value("cpus"), value("mems")) else { continue };
        let directory = format!("{root}/vfiorun-{guest}");
        groups.push(Cgroup {
            writes: vec![
                Write {
                    path: format!("{directory}/{prefix}cpus"),
                    value: cpus.map_or(all, cpu::format_list),
                },
                Write { path: format!("{directory}/{prefix}mems"), value: nodes },
            ],
            join: format!("{directory}/cgroup.procs"),
            directory,
        });
    }
    groups
}

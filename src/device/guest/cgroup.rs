//! Control groups for QEMU: out of the app or the service that started it, onto the right
//! processors.

use crate::device::sys::cpu_list;
use crate::device::sys::host::{Host, Write};

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

/// The control groups of a guest. Android kills what apps have started by their group
/// (`ActivityManager`'s phantom processes), and confines it to slow processors by its cpuset.
///
/// The groups are children of the root, and nothing of the root's is changed; in a service of systemd or
/// OpenRC they are children of its own group, so that the manager knows whose they are. `cpus`: where
/// the guest is to run; `None`: anywhere.
pub fn plan(host: &Host, guest: &str, cpus: Option<&[u32]>) -> Vec<Cgroup> {
    let mut groups = Vec::new();
    let unified = "sys/fs/cgroup";
    if host.exists(&format!("{unified}/cgroup.controllers")) {
        let service = own_service(host).unwrap_or_default();
        let directory = format!("{unified}{service}/vfiorun-{guest}");
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
                    value: cpus.map_or(all, cpu_list::format),
                },
                Write { path: format!("{directory}/{prefix}mems"), value: nodes },
            ],
            join: format!("{directory}/cgroup.procs"),
            directory,
        });
    }
    groups
}

/// The group of the service that this process is, in version 2: `/vfiorun.slice/vfiorun.service`. systemd calls
/// it as it calls the unit, OpenRC `openrc.NAME`.
fn own_service(host: &Host) -> Option<String> {
    let text = host.read("proc/self/cgroup").ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    let last = path.rsplit('/').next()?;
    (last.ends_with(".service") || last.starts_with("openrc.")).then(|| path.to_owned())
}

/// How a process leaves the groups that Android's init made for the service it belongs to: the
/// files, relative to the [`Host`], that it writes `0` to, to join the root of each hierarchy.
///
/// init puts every service into `uid_U/pid_P` and, from Android 11 on, kills the group when the
/// service's own process ends, oneshot or not (`Service::Reap` in `system/core/init/service.cpp`):
/// what such a service starts must be elsewhere by then. Empty outside of such a group.
pub fn leave_service(host: &Host) -> Vec<String> {
    let text = |path: &str| host.read(path).unwrap_or_default();
    let mounts = text("proc/self/mounts");
    let of_service = |path: &str| {
        let part = |start| path.split('/').any(|part: &str| part.starts_with(start));
        part("uid_") && part("pid_")
    };
    let joins = |line: &str| {
        // hierarchy:controllers:path; no controllers in version 2
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        if !of_service(path) {
            return None;
        }
        let mount = mounts.lines().find_map(|line| {
            let mut fields = line.split(' ').skip(1);
            let (place, kind, options) = (fields.next()?, fields.next()?, fields.next()?);
            let has = |controller| options.split(',').any(|option| option == controller);
            let this = match controllers {
                "" => kind == "cgroup2",
                _ => kind == "cgroup" && controllers.split(',').all(has),
            };
            this.then_some(place)
        })?;
        Some(format!("{}/cgroup.procs", mount.trim_start_matches('/')))
    };
    text("proc/self/cgroup").lines().filter_map(joins).collect()
}

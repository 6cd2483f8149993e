//! Out of the control groups that Android's init makes for a service.

use crate::common::device_tree;

use device_tree::Tree;
use vfioboot::device::guest::cgroup::leave_service;

const MOUNTS: &str = "none /dev/blkio cgroup rw,nosuid,blkio 0 0\n\
                      none /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n\
                      none /acct cgroup rw,nosuid,cpuacct 0 0\n";

/// `name` as for [`Tree::new`].
fn leaves(name: &str, groups: &str) -> Vec<String> {
    let tree = Tree::new(name);
    tree.file("proc/self/cgroup", groups);
    tree.file("proc/self/mounts", MOUNTS);
    leave_service(&tree.host())
}

#[test]
fn a_services_group_is_left_in_every_hierarchy_that_has_one() {
    assert_eq!(
        leaves(
            "cgroup-service",
            "3:cpuacct:/uid_0/pid_812\n2:blkio:/background\n0::/system/uid_0/pid_812\n"
        ),
        ["acct/cgroup.procs", "sys/fs/cgroup/cgroup.procs"]
    );
}

#[test]
fn other_groups_stay_as_they_are() {
    assert_eq!(
        leaves("cgroup-other", "2:blkio:/background\n0::/user.slice/user-0.slice\n"),
        [""; 0]
    );
    assert_eq!(leaves("cgroup-unmounted", "4:memory:/uid_0/pid_812\n"), [""; 0]);
    assert_eq!(leave_service(&Tree::new("cgroup-none").host()), [""; 0]);
}

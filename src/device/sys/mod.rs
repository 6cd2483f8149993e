//! The running system.
//!
//! | module | subject |
//! |---|---|
//! | [`host`] | the files of a running system under one root, so that tests use a fake tree |
//! | [`bounded`] | reads and writes that the kernel may not come back from |
//! | `descriptors` | the descriptors of this process, all at once |
//! | [`machine`], `device_tree` | the architecture of that system; what its firmware says it consists of |
//! | [`process`] | processes, kept apart even when a pid is used again |
//! | [`state`], [`lock`] | where journals are; one process at a time changes a device |
//! | `hugepages` | pools of hugetlb pages |
//! | `inside` | paths as a process in a chroot sees them |
//! | [`cpu_list`] | lists of processors as the kernel writes them |
//! | [`kmsg`], `kernel_log` | lines for the kernel log; the kernel log, read |
//! | [`kvm`] | what `/dev/kvm` answers |
//! | [`notify`] | what a service manager is told |
//! | `toml_text` | TOML into a type, with errors that name the line |

pub mod bounded;
pub mod cpu_list;
pub(crate) mod descriptors;
pub(crate) mod device_tree;
pub mod host;
pub mod hugepages;
pub(crate) mod inside;
pub(crate) mod kernel_log;
pub mod kmsg;
pub mod kvm;
pub mod lock;
pub mod machine;
pub mod notify;
pub mod process;
pub mod state;
pub(crate) mod toml_text;
mod toml_value;

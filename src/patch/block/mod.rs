//! Host drivers that a patch keeps away from devices.
//!
//! | Where the driver is | What keeps it away |
//! |---|---|
//! | a module of a ramdisk with `modules.load` | a line less in `modules.load`, one more in `modules.blocklist` |
//! | another module | `module_blacklist=`, and `modprobe.blacklist=` for the kmod of an initramfs |
//! | part of the kernel | `initcall_blacklist=` with the function that starts it |
//!
//! A module that first-stage init lists never gets `module_blacklist=`: PID 1 restores the lists in
//! recovery, and there init gives up at the first module that the kernel refuses.
//!
//! | file | subject |
//! |---|---|
//! | `plan` | what the plan shows |
//! | `contribute` | finds each driver, and keeps it away |
//! | `refuse` | the drivers that the device needs |
//! | `storage` | what the host boots from |
//! | `initcall` | the function that starts a driver of the kernel |

pub(crate) mod contribute;
mod initcall;
pub(crate) mod plan;
mod refuse;
mod storage;

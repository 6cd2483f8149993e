//! Why a device must not be taken from the system: everything that depends on it, asked of the
//! kernel and not guessed from paths.
//!
//! | module | subject |
//! |---|---|
//! | [`survey`] | the system looked at once; what each of its devices is needed for |
//! | [`need`] | a reason, what it weighs, and where it was read |
//! | `carriers` | which PCI devices a place in sysfs is on |
//! | `blocks` | disks, partitions and what is made of them |
//! | `disks` | mounts in every mount namespace, swap, pools, holders, and exclusive opens |
//! | `mounts` | `/proc/PID/mountinfo` |
//! | `processes` | device nodes that processes have open |
//! | `shares` | filesystems that the host of a virtual machine shares with it |
//! | `network` | the ways out, servers of disks and mounts, the present session |
//! | `machine` | picture, console, keyboard, parts of the board |

mod blocks;
mod carriers;
mod disks;
mod machine;
mod mounts;
pub mod need;
mod network;
mod processes;
mod shares;
pub mod survey;

pub(crate) use carriers::Functions;
pub use need::{InUse, Need, Weight};
pub(crate) use network::functions::set_function;
pub(crate) use processes::open_by_processes;
pub use survey::Survey;

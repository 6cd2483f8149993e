//! A virtual machine, from its file to its end.
//!
//! | module | subject |
//! |---|---|
//! | [`mod@file`] | the guest file: for each key what it needs, and what it is for QEMU and libvirt |
//! | [`cpu`], [`memory`], [`cgroup`] | where a guest runs and what its memory is made of |
//! | [`qemu`] | QEMU's command line, its monitor, where it is |
//! | [`log`] | the file that its output is written to |
//! | [`token`] | what a physical function and its virtual ones share |
//! | [`libvirt`] | libvirt's domain XML |
//! | [`new`] | the first file of a guest, for this machine |
//! | [`run`] | examine, take the devices, start, supervise, give back |

pub mod cgroup;
pub mod cpu;
pub mod file;
pub mod libvirt;
pub mod log;
pub mod memory;
pub mod new;
pub mod qemu;
pub mod run;
pub mod token;

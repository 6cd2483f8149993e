//! A virtual machine, from its file to its end.
//!
//! | module | subject |
//! |---|---|
//! | [`mod@file`] | the guest file |
//! | [`cpu`], [`memory`], [`cgroup`] | where a guest runs and what its memory is made of |
//! | [`qemu`] | QEMU's arguments, its monitor, where it is |
//! | [`libvirt`] | a guest as libvirt's domain XML |
//! | [`run`] | look, take, start, stay, give back |

pub mod cgroup;
pub mod cpu;
pub mod file;
pub mod libvirt;
pub mod memory;
pub mod qemu;
pub mod run;

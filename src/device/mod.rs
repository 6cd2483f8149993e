//! What runs on the device.
//!
//! | module | subject |
//! |---|---|
//! | [`host`] | the files of a running system under one root, so that tests use a fake tree |
//! | [`pci`] | which PCI devices there are, read from sysfs |
//! | [`bind`] | one device to another driver, checked, and put back when it fails |
//! | [`modules`] | kernel modules, in the order that the boot file gives |
//! | [`bootmode`] | is this a boot in which to do anything? |
//! | [`kmsg`] | lines for the kernel log |
//! | [`late`] | devices that appear only after PID 1 has started |
//! | [`boot_file`] | the boot file read and checked |
//! | [`boot`] | the boot file carried out: all of the above, in order |
//! | [`original_init`] | the program that the runtime stands in for, put back |
//! | [`kvm`] | what /dev/kvm answers |
//! | [`doctor`] | every prerequisite of passthrough, looked at |
//! | [`pid1`] | the process that cannot fail: fork, deadline, cleanup, exec of the real init |
//!
//! Everything below [`pid1`] returns values or reports through a callback and
//! can be run against a directory; [`pid1`] alone mounts, forks and executes.

pub mod bind;
pub mod boot;
pub mod boot_file;
pub mod bootmode;
pub mod doctor;
pub mod host;
pub mod kmsg;
pub mod kvm;
pub mod late;
pub mod modules;
pub mod original_init;
pub mod pci;
pub mod pid1;

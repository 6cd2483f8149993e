//! What runs on the device.
//!
//! | module | subject |
//! |---|---|
//! | [`host`] | the files of a running system under one root, so that tests use a fake tree |
//! | [`pci`] | which PCI devices there are, read from sysfs |
//! | [`bind`] | one device to another driver, checked, and put back when it fails |
//! | [`group`] | IOMMU groups: what must go together |
//! | [`holders`] | why a device must not be taken from the system |
//! | [`names`] | names of vendors, devices and classes |
//! | [`inventory`] | all devices, and whether each can be passed through |
//! | [`users`] | who has a device open through VFIO |
//! | [`process`] | processes, told apart even when a pid is used again |
//! | [`state`], [`lock`] | where journals are; one process at a time changes devices |
//! | [`undo`] | what a step was, and how it is undone |
//! | [`journal`] | the steps on disk before they are made |
//! | [`plan`] | what is written to have devices on vfio-pci, or why not, as data |
//! | [`lease`] | a plan carried out, for as long as somebody needs the devices |
//! | [`recover`] | what an owner that is gone left behind, undone; devices given back |
//! | [`kvm`], [`vfio`] | what /dev/kvm and /dev/vfio answer |
//! | [`cpu`], [`memory`], [`cgroup`] | where a guest runs and what its memory is made of |
//! | [`guest`] | the guest file |
//! | [`qemu`] | QEMU's arguments, its monitor, where it is |
//! | [`libvirt`] | a guest as libvirt's domain XML |
//! | [`run`] | a guest from its file to its end |
//! | [`modules`] | kernel modules, in the order that the boot file gives |
//! | [`cmdline`] | the words of a kernel command line |
//! | [`bootmode`] | is this a boot in which to do anything? |
//! | [`kernel_log`] | the kernel log, read |
//! | [`kmsg`] | lines for the kernel log |
//! | [`late`] | devices that appear only after PID 1 has started |
//! | [`toml_text`] | TOML into a type, with errors that name the line |
//! | [`boot_file`] | the boot file read and checked |
//! | [`boot`] | the boot file carried out: all of the above, in order |
//! | [`original_init`] | the program that the runtime stands in for, put back |
//! | [`doctor`] | every prerequisite of passthrough, looked at |
//! | [`pid1`] | the process that cannot fail: fork, deadline, cleanup, exec of the real init |
//!
//! Everything below [`pid1`] returns values or reports through a callback and
//! can be run against a directory; [`pid1`] alone mounts, forks and executes.

pub mod bind;
pub mod boot;
pub mod boot_file;
pub mod bootmode;
pub mod cgroup;
pub mod cpu;
pub mod doctor;
pub mod group;
pub mod guest;
pub mod holders;
pub mod host;
pub mod inventory;
pub mod journal;
pub mod kernel_log;
pub mod kmsg;
pub mod kvm;
pub mod late;
pub mod lease;
pub mod libvirt;
pub mod lock;
pub mod memory;
pub mod modules;
pub mod names;
pub mod original_init;
pub mod pci;
pub mod pid1;
pub mod plan;
pub mod process;
pub mod qemu;
pub mod recover;
pub mod run;
pub mod state;
pub mod toml_text;
pub mod undo;
pub mod users;
pub mod vfio;

//! What runs on the device, in folders that depend on each other from the bottom up only:
//!
//! | folder | subject |
//! |---|---|
//! | [`sys`] | the running system: its files under one root, processes, kernel log, locks, KVM |
//! | [`bus`] | PCI devices, their IOMMU groups, who uses them, what VFIO answers |
//! | [`causes`] | why a device does not come into a guest, and what to do |
//! | [`bind`] | devices to vfio-pci and back, with a journal of every step |
//! | [`boot`] | PID 1, which carries out the boot file and never keeps a system from booting |
//! | [`guest`] | the guest file, and a virtual machine from its start to its end |
//! | [`service`] | the service that starts guests with the machine, for systemd, OpenRC and runit |
//! | [`doctor`] | every prerequisite of passthrough, examined on the running system |
//!
//! `boot` and `guest` do not know each other; `doctor` asks all but `boot`. Everything reads and
//! writes the system through a [`sys::host::Host`], so that it can be run against a directory;
//! [`boot::pid1`] and [`guest::run::launch`] alone mount, fork and execute.

pub mod bind;
pub mod boot;
pub mod bus;
pub mod causes;
pub mod doctor;
pub mod guest;
pub mod service;
pub mod sys;

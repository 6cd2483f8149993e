//! PCI devices and what the kernel knows of them.
//!
//! | module | subject |
//! |---|---|
//! | [`pci`] | which PCI devices there are, read from sysfs |
//! | [`group`] | IOMMU groups: what must go together |
//! | `board` | what the device tree says about host bridges, their IOMMU and their MSIs |
//! | `interrupts` | whether a device can raise only its own interrupts |
//! | [`names`] | names of vendors, devices and classes |
//! | [`in_use`] | why a device must not be taken from the system |
//! | [`health`] | whether a device is there, answers, and has errors |
//! | [`rom`] | its option ROM |
//! | `sriov` | physical and virtual functions |
//! | [`usb`] | USB devices, and their nodes |
//! | `users` | which processes have a device open through VFIO |
//! | [`vfio`] | what `/dev/vfio` answers |

pub mod board;
pub mod group;
pub mod health;
pub mod in_use;
pub(crate) mod interrupts;
pub mod names;
pub mod pci;
pub mod rom;
pub(crate) mod sriov;
pub mod usb;
pub(crate) mod users;
pub mod vfio;

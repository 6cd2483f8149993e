//! Devices to vfio-pci and back.
//!
//! | module | subject |
//! |---|---|
//! | [`driver`] | one device to another driver, checked, and put back when it fails |
//! | [`plan`] | what is written to have devices on vfio-pci, or why not, as data |
//! | [`undo`] | what a step was, and how it is undone |
//! | [`shared`] | attributes that several guests change, given back by difference |
//! | [`journal`] | the steps on disk before they are made |
//! | [`lease`] | a plan carried out, for as long as a process needs the devices |
//! | [`functions`] | virtual functions, made and taken back |
//! | [`recover`] | the steps of an owner that is gone, undone; devices given back |
//! | [`inventory`] | all devices, and whether each can be passed through |

pub mod driver;
pub mod functions;
pub mod inventory;
pub mod journal;
pub mod lease;
pub mod plan;
pub mod recover;
pub mod shared;
pub mod undo;

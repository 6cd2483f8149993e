//! How a device with these images boots: what the kernel starts, from which ramdisk, and which
//! program has changed it. Only the images are used; each statement has its evidence.
//!
//! | file | subject |
//! |---|---|
//! | `kind` | the kinds of boot flow |
//! | `model` | what is known about a flow |
//! | `statement` | a statement and its evidence |
//! | `managers` | root managers, and how each starts |
//! | `detect` | detects the flow from the images |

mod detect;
mod kind;
mod managers;
mod model;
mod statement;

pub(super) use detect::{Basis, detect};
pub use kind::FlowKind;
pub use managers::RootManager;
pub use model::{Flow, RecoveryPlace};
pub use statement::{Evidence, Statement};

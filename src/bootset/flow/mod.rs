//! How a device with these images boots: what the kernel starts, from which ramdisk, and who has
//! changed it before. From the images alone, each statement with its evidence.
//!
//! | file | subject |
//! |---|---|
//! | `kind` | the kinds of boot flow |
//! | `model` | what is known of a flow |
//! | `statement` | a statement and what shows it |
//! | `managers` | root managers, and in which way each is there |
//! | `detect` | the flow, out of what the images have |

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

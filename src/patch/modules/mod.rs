//! The modules that a patch needs: which, from where, who loads them, and whether they will load.
//!
//! | file | subject |
//! |---|---|
//! | `plan` | the options, and what the plan shows |
//! | `choose` | chooses from the given modules and those of the ramdisk |
//! | `decide` | who loads: PID 1, or the ramdisk's own first-stage init |
//! | `pid1` | modules that PID 1 loads |
//! | `lists` | the lists of a ramdisk, edited |
//! | `libmodprobe` | modules that first-stage init loads by them |
//! | `vfio_options` | the options of the VFIO modules that the user asks for |
//! | `contribute` | the contribution of modules to a patch |

pub(crate) mod choose;
pub(crate) mod contribute;
pub(crate) mod decide;
pub(crate) mod libmodprobe;
pub(crate) mod lists;
pub(crate) mod pid1;
pub(crate) mod plan;
pub(crate) mod vfio_options;

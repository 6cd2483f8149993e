//! The modules that a patch needs: which, from where, who loads them, and whether they will load.
//!
//! | file | subject |
//! |---|---|
//! | `plan` | the options, and what the plan shows |
//! | `choose` | chooses from the given modules and those of the ramdisk |
//! | `decide` | who loads: PID 1, or the ramdisk's own first-stage init |
//! | `pid1` | modules that PID 1 loads |
//! | `libmodprobe` | the lists of a ramdisk with lines added |
//! | `contribute` | the contribution of modules to a patch |

pub mod choose;
pub mod contribute;
pub mod decide;
pub mod libmodprobe;
pub mod pid1;
pub mod plan;

//! The modules that a patch needs: which, from where, who loads them, and whether they will load.
//!
//! | file | subject |
//! |---|---|
//! | `plan` | what is asked for, and what the plan shows |
//! | `choose` | what must be loaded, out of what was given and what the ramdisk has |
//! | `decide` | who loads: PID 1, or the ramdisk's own first-stage init |
//! | `pid1` | modules that PID 1 loads |
//! | `libmodprobe` | the lists of a ramdisk with lines added |
//! | `contribute` | what modules add to the patch |

pub(crate) mod choose;
pub(crate) mod contribute;
pub(crate) mod decide;
pub(crate) mod libmodprobe;
pub(crate) mod pid1;
pub(crate) mod plan;

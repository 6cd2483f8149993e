//! How the kernel starts the runtime: by `rdinit=`, or because the runtime takes the path
//! of the init program.
//!
//! | file | subject |
//! |---|---|
//! | `kind` | the kinds of hooks |
//! | `rdinit` | the `rdinit=` parameters of a set |
//! | `choose` | chooses the hook for a set |
//! | `original` | the init program that the runtime displaces |
//! | `contribute` | the contribution of the hook to a patch |

pub(crate) mod choose;
pub(crate) mod contribute;
pub(crate) mod kind;
pub(crate) mod original;
pub(crate) mod rdinit;

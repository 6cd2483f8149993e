//! How the kernel comes to start the runtime: by `rdinit=`, or because the runtime takes the path
//! of the init program.
//!
//! | file | subject |
//! |---|---|
//! | `kind` | the hooks there are |
//! | `rdinit` | the `rdinit=` parameters of a set |
//! | `choose` | which hook a set needs |
//! | `original` | the init program that the runtime displaces |
//! | `contribute` | what a hook adds to the patch |

pub(crate) mod choose;
pub(crate) mod contribute;
pub(crate) mod kind;
pub(crate) mod original;
pub(crate) mod rdinit;

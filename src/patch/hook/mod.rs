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

pub mod choose;
pub mod contribute;
pub mod kind;
pub mod original;
pub mod rdinit;

//! The kernel parameters that a patch adds.
//!
//! | file | subject |
//! |---|---|
//! | `parameter` | one parameter, and how it is put on a line |
//! | `x86` | the IOMMU parameters of x86_64 |
//! | `contribute` | which ones a patch adds |
//! | `cmdline` | the image whose line takes them |

pub(crate) mod cmdline;
pub(crate) mod contribute;
pub(crate) mod parameter;
pub(crate) mod x86;

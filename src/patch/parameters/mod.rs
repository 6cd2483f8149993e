//! The kernel parameters that a patch adds.
//!
//! | file | subject |
//! |---|---|
//! | `parameter` | one parameter, and how it is put on a line |
//! | `iommu` | the modes of the IOMMU, and their parameters |
//! | `x86` | the IOMMU parameters of x86_64 that are added by themselves |
//! | `contribute` | which ones a patch adds |
//! | `cmdline` | the image whose line takes them |

pub(crate) mod cmdline;
pub(crate) mod contribute;
pub(crate) mod iommu;
pub(crate) mod parameter;
pub(crate) mod x86;

//! Where kernel parameters are in a set of images.
//!
//! | file | subject |
//! |---|---|
//! | `read` | headers, bootconfig, device trees; all of them for a set |
//! | `avb` | kernel command line descriptors |
//! | `note` | omissions and assumptions |
//! | `named` | an image with its name |

mod avb;
mod named;
mod note;
mod read;

pub use note::Hashtrees;
pub use note::LineNote;
pub use read::CommandLines;
pub use read::DeviceTreeLine;

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

pub use avb::{AvbLine, of_avb};
pub use named::Named;
pub use note::{Hashtrees, LineNote};
pub use read::{
    CommandLines, DeviceTreeLine, bootconfig_of, of_bootconfig, of_device_trees, of_headers,
};

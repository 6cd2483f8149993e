//! The on-disk formats of boot partitions.
//!
//! [`Image::parse`] reads a boot, init_boot, recovery or vendor_boot image, a bare ramdisk, a bare
//! kernel or a vbmeta image, into *regions* that tile the file exactly. Writing an unmodified image copies
//! its regions, so identity holds by construction; [`Image::rebuild`] writes an edited one.
//!
//! | file | subject |
//! |---|---|
//! | `wire` | wire structs with the offsets of their fields |
//! | `header/` | the headers of all versions as one model |
//! | `layout` | the sections as the header describes them |
//! | `region` | the regions that tile the file |
//! | `fragment` | the vendor ramdisk table |
//! | `dt_table` | QCDT, DTBH and dtbo tables |
//! | `wrapper/` | vendor headers around an image or a section |
//! | `avb/` | AVB: footer, vbmeta image, keys, signatures |
//! | [`bootconfig`] | reads, validates and edits the bootconfig of vendor_boot v4 |
//! | `id` | the SHA-1 `id` of v0–v2 |
//! | `rebuild`, `output` | an edited image as chunks to write |
//! | `unpacked` | a directory of sections and `image.toml` |
//! | `read` | an image over borrowed bytes |
//! | `identify`, `lookalike`, `hint` | bare payloads; files that are not boot images |

pub mod avb;
pub mod bootconfig;
mod dt_table;
mod error;
mod fragment;
mod header;
mod hint;
mod id;
mod identify;
mod kind;
pub(crate) mod layout;
mod lookalike;
mod output;
mod policy;
mod problem;
mod read;
mod rebuild;
mod region;
mod section;
pub mod unpacked;
mod wire;
mod wrapper;

pub use avb::AvbFooter;
pub use dt_table::{DtEntry, DtTable};
pub use error::Error;
pub use fragment::FragmentType;
pub use fragment::{Fragment, resize_fragment};
pub use header::OsVersion;
pub use header::{Header, Value, text_of};
pub use hint::Hint;
pub use kind::ImageKind;
pub use output::{Chunk, Output};
pub use policy::AvbPolicy;
pub use policy::{AvbChange, DerivedPolicy};
pub use problem::Problem;
pub use read::Image;
pub use rebuild::Edit;
pub use rebuild::Rebuilt;
pub use region::{Region, RegionKind};
pub use section::SectionName;
pub use wrapper::{Wrapper, WrapperField, trailer_name};

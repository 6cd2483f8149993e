//! Android Verified Boot 2: the footer, the vbmeta image, its descriptors, keys and signatures.
//!
//! The formats are those of AOSP's `external/avb` (`libavb/avb_footer.h`,
//! `avb_vbmeta_image.h`, `avb_*_descriptor.h`, `avb_crypto.h`), all numbers big-endian. Parsing
//! accepts exactly what `libavb` accepts, because bootloaders use it.
//!
//! | file | subject |
//! |---|---|
//! | `footer` | the last 64 bytes of a partition |
//! | `vbmeta` | header, authentication block, auxiliary block |
//! | `descriptor` | the descriptors of the auxiliary block |
//! | `algorithm` | hashes and signature algorithms |
//! | `key` | AVB's public key format, PEM keys, signatures |
//! | `partition` | the vbmeta image of a partition, and the partition's name |
//! | `sign` | edits and signs a vbmeta image |
//! | `certificate` | the boot signatures of GKI and AVB 1.0 |

mod algorithm;
mod certificate;
mod descriptor;
mod error;
mod footer;
mod key;
mod partition;
mod sign;
mod vbmeta;

pub use algorithm::{Algorithm, HashAlgorithm, RsaAlgorithm};
pub use certificate::{Avb1Signature, GkiCertificate};
pub use descriptor::{ChainPartition, Hash};
pub use descriptor::{Descriptor, Entry, Hashtree};
pub(crate) use error::MAX_VBMETA_SIZE;
pub use error::SignError;
pub use footer::AvbFooter;
pub use key::{KeyError, PublicKey, SigningKey};
pub use sign::VbmetaEdit;
pub use vbmeta::Vbmeta;
pub use vbmeta::{Flags, VbmetaHeader};

pub(crate) use descriptor::printable;
pub(super) use sign::rewrite;

//! Android Verified Boot 2: the footer, the vbmeta image, its descriptors, keys and signatures.
//!
//! The formats are those of AOSP's `external/avb` (`libavb/avb_footer.h`,
//! `avb_vbmeta_image.h`, `avb_*_descriptor.h`, `avb_crypto.h`), all numbers big-endian; what is
//! accepted is what `libavb` accepts, because that is what a bootloader runs.
//!
//! | file | subject |
//! |---|---|
//! | `footer` | the last 64 bytes of a partition |
//! | `vbmeta` | header, authentication block, auxiliary block |
//! | `descriptor` | what the auxiliary block describes |
//! | `algorithm` | hashes and signature algorithms |
//! | `key` | AVB's public key format, PEM keys, signatures |
//! | `partition` | the vbmeta image of a partition, and whose it is |
//! | `sign` | a vbmeta image with other digests, keys and flags |
//! | `certificate` | the boot signature of GKI, and AVB 1.0's |

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
pub use descriptor::{ChainPartition, Descriptor, Entry, Hash, Hashtree};
pub use error::{MAX_VBMETA_SIZE, SignError};
pub use footer::AvbFooter;
pub use key::{KeyError, PublicKey, SigningKey};
pub use sign::VbmetaEdit;
pub use vbmeta::{Flags, Vbmeta, VbmetaHeader};

pub(crate) use descriptor::printable;
pub(super) use sign::rewrite;

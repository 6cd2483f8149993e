//! Which devices boot the result.

use serde::{Serialize, Serializer};

use super::options::AvbMode;
use super::signing::{Relation, Signing, partition};
use crate::bootset::Cover;
use crate::image::avb::SigningKey;
use crate::image::{AvbPolicy, Image};

/// The flag of a vbmeta image that disables verification (`AVB_VBMETA_IMAGE_FLAGS_VERIFICATION_DISABLED`
/// in `libavb/avb_vbmeta_image.h`).
const VERIFICATION_DISABLED: u32 = 2;

/// Whether a device in one of Verified Boot's states boots the result. The states are those of
/// <https://source.android.com/docs/security/features/verifiedboot/boot-flow>.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outlook {
    /// Locked, with the manufacturer's key.
    pub green: Prospect,
    /// Locked, with the user's own key.
    pub yellow: Prospect,
    /// Unlocked.
    pub orange: Prospect,
}

/// What a device does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Prospect {
    /// Whether it boots; None if that depends on unknown facts.
    pub boots: Option<bool>,
    /// Why.
    pub why: Reason,
}

/// Why a device boots the result, or does not. Serialised as its text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// The signed digest is that of the original.
    #[error("the signed digest is that of the original image and no longer matches")]
    OldDigest,
    /// The digest of the blob is updated, and not signed.
    #[error(
        "the digest in the vbmeta blob is updated but not signed, and a signed vbmeta.img still \
         has the old one"
    )]
    UnsignedBlob,
    /// The digest of vbmeta.img is updated, and not signed.
    #[error("the digest in vbmeta.img is updated but not signed")]
    UnsignedVbmeta,
    /// An unlocked device.
    #[error("verification errors are tolerated")]
    ErrorsTolerated,
    /// Everything is signed.
    #[error("digests and signatures are right")]
    Right,
    /// vbmeta.img on the device is the old one.
    #[error("vbmeta.img names another key or the old digest, and was not given")]
    VbmetaNotGiven,
    /// A vbmeta.img is needed that chains to the key.
    #[error("only with a vbmeta.img that chains to this key and is signed with your own")]
    NeedsOwnVbmeta,
    /// vbmeta.img has no descriptor for the images.
    #[error("vbmeta.img does not describe the images that change")]
    NotDescribed,
    /// Verification is disabled, which a locked device refuses.
    #[error("vbmeta.img disables verification, which a locked device refuses")]
    DisabledWhenLocked,
    /// Verification is disabled.
    #[error("vbmeta.img disables verification")]
    Disabled,
    /// Signed with the same key.
    #[error("vbmeta.img is signed with the same key as before")]
    SameKey,
    /// Signed with another key.
    #[error("vbmeta.img is not signed with the manufacturer's key")]
    OtherKey,
    /// A device that accepts the user's key.
    #[error(
        "where the device accepts your own key (fastboot flash avb_custom_key) and that is sha1 \
         {fingerprint}: flash key and images, boot once, then lock"
    )]
    CustomKey {
        /// SHA-1 of the key in AVB's form, in hex.
        fingerprint: String,
    },
    /// Nothing is signed.
    #[error("no signature covers the image any more")]
    NotSigned,
    /// A chained partition without a vbmeta image.
    #[error(
        "vbmeta.img chains to {partition}, and a chained partition without a vbmeta image is \
         invalid metadata, which no device tolerates"
    )]
    ChainBroken {
        /// The partition.
        partition: String,
    },
    /// It depends on vbmeta.img.
    #[error(
        "if vbmeta.img has the partition's digest, or disables verification; not if it chains to \
         the partition (give vbmeta.img to know)"
    )]
    DependsOnVbmeta,
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Prospect {
    fn boots(why: Reason) -> Self {
        Prospect { boots: Some(true), why }
    }

    fn fails(why: Reason) -> Self {
        Prospect { boots: Some(false), why }
    }

    fn depends(why: Reason) -> Self {
        Prospect { boots: None, why }
    }
}

impl Outlook {
    /// The same for a locked device with any key.
    fn locked(why: Reason, orange: Prospect) -> Self {
        Outlook { green: Prospect::fails(why.clone()), yellow: Prospect::fails(why), orange }
    }

    /// What devices do with the result; None if no image that changes has a footer and no
    /// vbmeta.img was given.
    pub(crate) fn of(signing: &Signing<'_>, images: &[Image<'_>]) -> Option<Self> {
        let has_footer = |(i, _): &(usize, Relation)| images[*i].avb().is_some();
        if signing.top.is_none() && !signing.changed.iter().any(has_footer) {
            return None;
        }
        Some(match signing.options.mode {
            AvbMode::Preserve => preserved(signing, images),
            AvbMode::Resign(key) => resigned(signing, key),
            AvbMode::Strip => stripped(signing, images),
        })
    }
}

fn preserved(signing: &Signing<'_>, images: &[Image<'_>]) -> Outlook {
    let kept = |(i, _): &(usize, Relation)| images[*i].keeps_vbmeta(AvbPolicy::Preserve);
    let locked = match (signing.vbmetas.is_empty(), signing.changed.iter().all(kept)) {
        (true, true) => Reason::OldDigest,
        (true, false) => Reason::UnsignedBlob,
        (false, _) => Reason::UnsignedVbmeta,
    };
    Outlook::locked(locked, Prospect::boots(Reason::ErrorsTolerated))
}

fn resigned(signing: &Signing<'_>, key: &SigningKey) -> Outlook {
    let orange = Prospect::boots(Reason::Right);
    let Some(top) = signing.top.as_ref().filter(|_| signing.changes_top()) else {
        let (green, yellow) = match &signing.top {
            None => (Reason::VbmetaNotGiven, Reason::NeedsOwnVbmeta),
            Some(_) => (Reason::NotDescribed, Reason::NotDescribed),
        };
        let (green, yellow) = (Prospect::fails(green), Prospect::depends(yellow));
        return Outlook { green, yellow, orange };
    };
    let flags = signing.options.vbmeta_flags.unwrap_or(top.header.flags);
    if flags & VERIFICATION_DISABLED != 0 {
        return Outlook::locked(Reason::DisabledWhenLocked, Prospect::boots(Reason::Disabled));
    }
    let signer = signing.options.vbmeta_key.unwrap_or(key).public();
    let green = match top.public_key() == signer.to_avb() {
        true => Prospect::boots(Reason::SameKey),
        false => Prospect::fails(Reason::OtherKey),
    };
    let fingerprint = signer.fingerprint().to_string();
    Outlook { green, yellow: Prospect::boots(Reason::CustomKey { fingerprint }), orange }
}

fn stripped(signing: &Signing<'_>, images: &[Image<'_>]) -> Outlook {
    let with_footer = signing.changed.iter().filter(|(i, _)| images[*i].avb().is_some());
    let relations: Vec<(usize, Relation)> = with_footer.copied().collect();
    let chained =
        relations.iter().find(|(_, r)| matches!(r, Relation::Covered(_, Cover::Chain(_))));
    let orange = match chained {
        Some((i, _)) => Prospect::fails(Reason::ChainBroken { partition: partition(&images[*i]) }),
        None if relations.iter().any(|(_, r)| *r == Relation::Unknown) => {
            Prospect::depends(Reason::DependsOnVbmeta)
        }
        None => Prospect::boots(Reason::ErrorsTolerated),
    };
    Outlook::locked(Reason::NotSigned, orange)
}

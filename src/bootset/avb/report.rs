//! The checks of an image, and their result.

/// The result of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is right.
    Pass,
    /// It is wrong.
    Fail,
    /// Information that does not affect the result.
    Note,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Check {
    /// What was checked: `structure`, `hash`, `signature`, `key`, `digest`, `chain`, `flags`,
    /// `rollback`, `hashtree`, `avb1`, `gki`.
    pub part: &'static str,
    /// The result.
    pub outcome: Outcome,
    /// What was found, and where.
    pub message: String,
    /// What that means for the image; None for what did not fail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<NotVerified>,
}

/// Why an image is not verified.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[non_exhaustive]
pub enum NotVerified {
    /// No signature covers it.
    #[error("no signature covers it")]
    NotSigned,
    /// Footer or vbmeta image are not what libavb reads.
    #[error("libavb does not read its footer or its vbmeta image")]
    Structure,
    /// Hash or signature of its vbmeta image are wrong.
    #[error("its signature is wrong")]
    Signature,
    /// Another key signed it than the one that must have.
    #[error("the key is not the one that must have signed it")]
    Key,
    /// The flags of its vbmeta image.
    #[error("the flags of its vbmeta image")]
    Flags,
    /// A digest is not that of the image.
    #[error("the digest of {partition} is another one")]
    Digest {
        /// The partition.
        partition: String,
    },
    /// A digest that the device stores itself, so nothing that is signed covers the image.
    #[error("the digest of {partition} is not in the vbmeta image")]
    PersistentDigest {
        /// The partition.
        partition: String,
    },
    /// A digest covers only the first bytes of the image.
    #[error("the digest of {partition} covers {covered} bytes of {size}")]
    Partly {
        /// The partition.
        partition: String,
        /// Bytes that it covers.
        covered: u64,
        /// Bytes of header and sections.
        size: u64,
    },
    /// Its own vbmeta image has no digest of its partition.
    #[error(
        "no signed digest covers {partition}{}",
        described_as(.described)
    )]
    NotCovered {
        /// The partition.
        partition: String,
        /// The partitions whose digests are there.
        described: Vec<String>,
    },
    /// The vbmeta images of the set have no descriptor of its partition.
    #[error("vbmeta.img does not describe {partition}")]
    NotDescribed {
        /// The partition.
        partition: String,
    },
    /// The chain to it, or from it, is not one that libavb follows.
    #[error("the chain to it is wrong")]
    Chain,
    /// The vbmeta image that covers it is not verified.
    #[error("the vbmeta image that covers it is not verified")]
    AboveNotVerified,
}

fn described_as(described: &[String]) -> String {
    match described {
        [] => String::new(),
        names => format!(
            " (there are digests of {}: name the partition with --partition)",
            names.join(", ")
        ),
    }
}

/// The verification of one image.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct ImageVerification {
    /// Every check passed, and a signature covers the image: its own, or that of the vbmeta image
    /// with its digest.
    pub verified: bool,
    /// Why not; None if it is verified.
    pub reason: Option<NotVerified>,
    /// The partition that it was verified as; None for a vbmeta image.
    pub partition: Option<String>,
    /// The checks, in order.
    pub checks: Vec<Check>,
}

/// The verification of a set of images, in their order.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Verification {
    /// Every image is verified.
    pub verified: bool,
    /// One for each image.
    pub images: Vec<ImageVerification>,
}

/// The checks of one image so far.
#[derive(Default)]
pub(super) struct Report {
    checks: Vec<Check>,
    /// The first thing that is wrong.
    reason: Option<NotVerified>,
    /// The partition whose digest was compared, or whose vbmeta image this is.
    pub partition: Option<String>,
    /// What was compared with the image is signed.
    pub signed: bool,
    /// A digest of the image was compared; a vbmeta image is what is signed.
    pub covered: bool,
}

impl Report {
    fn say(&mut self, part: &'static str, outcome: Outcome, message: impl Into<String>) {
        self.checks.push(Check { part, outcome, message: message.into(), reason: None });
    }

    pub(crate) fn pass(&mut self, part: &'static str, message: impl Into<String>) {
        self.say(part, Outcome::Pass, message);
    }

    pub(crate) fn note(&mut self, part: &'static str, message: impl Into<String>) {
        self.say(part, Outcome::Note, message);
    }

    pub(crate) fn fail(
        &mut self,
        part: &'static str,
        reason: NotVerified,
        message: impl Into<String>,
    ) {
        self.reason.get_or_insert_with(|| reason.clone());
        let (outcome, reason) = (Outcome::Fail, Some(reason));
        self.checks.push(Check { part, outcome, message: message.into(), reason });
    }

    /// Whether everything so far shows that the image is verified.
    pub(crate) fn verified(&self) -> bool {
        self.reason.is_none() && self.signed && self.covered
    }

    pub(crate) fn finish(mut self) -> ImageVerification {
        if self.reason.is_none() && !self.verified() {
            let reason = NotVerified::NotSigned;
            self.fail("signature", reason, "no signature covers this image");
        }
        let verified = self.verified();
        let Report { checks, reason, partition, .. } = self;
        ImageVerification { verified, reason, partition, checks }
    }
}

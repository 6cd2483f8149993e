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
}

/// The verification of one image.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ImageVerification {
    /// Every check passed, and a signature covers the image: its own, or that of the vbmeta image
    /// with its digest.
    pub verified: bool,
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
    pub checks: Vec<Check>,
    /// A signature covers the image.
    pub signed: bool,
}

impl Report {
    pub(crate) fn say(&mut self, part: &'static str, outcome: Outcome, message: impl Into<String>) {
        self.checks.push(Check { part, outcome, message: message.into() });
    }

    pub(crate) fn decide(&mut self, part: &'static str, right: bool, pass: String, fail: String) {
        match right {
            true => self.say(part, Outcome::Pass, pass),
            false => self.say(part, Outcome::Fail, fail),
        }
    }

    pub(crate) fn finish(mut self) -> ImageVerification {
        let failed = self.checks.iter().any(|check| check.outcome == Outcome::Fail);
        if !failed && !self.signed {
            self.say("signature", Outcome::Fail, "no signature covers this image");
        }
        ImageVerification { verified: self.signed && !failed, checks: self.checks }
    }
}

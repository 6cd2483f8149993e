//! AVB's metadata is what the plan says.

use super::read_back::ReadBack;
use super::report::AvbProof;
use super::unproven::Unproven;
use crate::bootset::BootSet;
use crate::bootset::avb::{self, NotVerified, Outcome};
use crate::image::{AvbPolicy, Image};
use crate::patch::avb::options::AvbMode;
use crate::patch::avb::signing::{Relation, Signing};
use crate::patch::error::Error;
use crate::patch::rewrite::Rewritten;

/// Prove it; None if no image that changed has metadata.
///
/// # Errors
/// [`Error::NotProven`].
pub(super) fn prove(
    originals: &BootSet<'_>,
    read: &ReadBack<'_>,
    rewritten: &Rewritten<'_>,
) -> Result<Option<AvbProof>, Error> {
    if rewritten.outlook.is_none() {
        return Ok(None);
    }
    let signing = &rewritten.signing;
    let keeps = |index: usize| originals.images()[index].keeps_vbmeta(AvbPolicy::Preserve);
    let pairs = || {
        let index = signing.changed.iter().map(|(index, _)| *index);
        index.map(|index| (&originals.images()[index], &read.set.images()[index]))
    };
    match signing.options.mode {
        AvbMode::Strip => {
            pairs().try_for_each(|(_, now)| removed(now))?;
            Ok(Some(AvbProof::Removed))
        }
        AvbMode::Preserve
            if signing.vbmetas.is_empty() && signing.changed.iter().all(|(i, _)| keeps(*i)) =>
        {
            pairs().try_for_each(|(before, now)| kept(before, now))?;
            Ok(Some(AvbProof::Kept))
        }
        AvbMode::Preserve | AvbMode::Resign(_) => {
            pairs()
                .filter(|(before, _)| before.avb().is_some())
                .try_for_each(|(_, now)| leads(now))?;
            right(read, signing)?;
            Ok(Some(AvbProof::Right))
        }
    }
}

fn wrong(image: &Image<'_>, what: impl Into<String>) -> Error {
    Unproven::Avb { image: image.kind(), what: what.into() }.into()
}

fn removed(now: &Image<'_>) -> Result<(), Error> {
    match now.avb() {
        None => Ok(()),
        Some(_) => Err(wrong(now, "it has a footer")),
    }
}

/// The footer leads to a blob.
fn leads(now: &Image<'_>) -> Result<(), Error> {
    let problem = now.problems().iter().find(|problem| problem.field.starts_with("avb_footer"));
    match (problem, now.avb()) {
        (Some(problem), _) => Err(wrong(now, problem.to_string())),
        (None, None) => Err(wrong(now, "it has no footer")),
        (None, Some(_)) => Ok(()),
    }
}

/// The blob is the same, and the footer leads to it.
fn kept(before: &Image<'_>, now: &Image<'_>) -> Result<(), Error> {
    let Some(footer) = before.avb() else { return Ok(()) };
    leads(now)?;
    let blob = now.avb().and_then(|footer| now.bytes().get(footer.vbmeta_range()));
    match blob.is_some() && blob == before.bytes().get(footer.vbmeta_range()) {
        true => Ok(()),
        false => Err(wrong(now, "the vbmeta blob is not the same")),
    }
}

/// Digests and signatures, computed again.
fn right(read: &ReadBack<'_>, signing: &Signing<'_>) -> Result<(), Error> {
    let report = avb::verify(&read.set, None);
    let resigned = matches!(signing.options.mode, AvbMode::Resign(_));
    for index in &read.changed {
        let image = &read.set.images()[*index];
        let described = signing
            .changed
            .iter()
            .any(|(own, relation)| own == index && matches!(relation, Relation::Covered(..)));
        let signed = resigned
            && (image.avb().is_some()
                || described
                || signing.vbmetas.iter().any(|own| own.index == *index));
        let own = report.images.get(*index);
        // No digest of a vbmeta image is for it, or not for all of it: that was so before.
        let uncovered = |own: &avb::Check| {
            matches!(
                own.reason,
                Some(
                    NotVerified::NotCovered { .. }
                        | NotVerified::NotDescribed { .. }
                        | NotVerified::PersistentDigest { .. }
                        | NotVerified::Partly { .. }
                )
            )
        };
        let promised = |own: &avb::Check| match own.part {
            "structure" | "hash" => true,
            "digest" => !uncovered(own),
            "signature" => signed && !uncovered(own),
            _ => false,
        };
        let checks = own.map(|own| own.checks.as_slice());
        let mut failed = checks.unwrap_or_default().iter();
        let failed = failed.find(|own| own.outcome == Outcome::Fail && promised(own));
        if let Some(failed) = failed {
            return Err(wrong(image, failed.message.clone()));
        }
    }
    Ok(())
}

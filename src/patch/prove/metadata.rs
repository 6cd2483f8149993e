//! AVB's metadata is what the plan says.

use super::read_back::ReadBack;
use super::report::AvbProof;
use super::unproven::Unproven;
use crate::bootset::BootSet;
use crate::bootset::avb::{self, Outcome};
use crate::image::avb::Vbmeta;
use crate::image::{AvbPolicy, Image};
use crate::patch::avb::options::AvbMode;
use crate::patch::avb::signing::Signing;
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
            right(originals, read, signing)?;
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

/// The digests and signatures that were made, computed again.
fn right(originals: &BootSet<'_>, read: &ReadBack<'_>, signing: &Signing<'_>) -> Result<(), Error> {
    let images = read.set.images();
    for (index, _) in &signing.changed {
        let made =
            !originals.images()[*index].keeps_vbmeta(signing.policy(&originals.images()[*index]));
        let own = images[*index].vbmeta().filter(|_| made);
        let above = signing.vbmetas.iter().filter_map(|own| images[own.index].vbmeta());
        for vbmeta in own.into_iter().chain(above).filter_map(Result::ok) {
            digests(&images[*index], &vbmeta)?;
        }
    }
    match signing.options.mode {
        AvbMode::Resign(_) => signatures(read, signing),
        AvbMode::Preserve | AvbMode::Strip => Ok(()),
    }
}

/// Every digest of the image in `vbmeta` is right, unless the device keeps it itself.
fn digests(image: &Image<'_>, vbmeta: &Vbmeta<'_>) -> Result<(), Error> {
    let own = vbmeta.hashes().filter(|(_, hash)| image.is_for(hash.partition_name));
    for (_, hash) in own.filter(|(_, hash)| !hash.digest.is_empty()) {
        let size = usize::try_from(hash.image_size).ok();
        let content = size.and_then(|size| image.bytes().get(..size));
        let digest = hash.algorithm().zip(content);
        let digest = digest.map(|(algorithm, content)| algorithm.digest(&[hash.salt, content]));
        if digest.is_some_and(|digest| digest != hash.digest) || content.is_none() {
            return Err(wrong(image, "a digest is wrong"));
        }
    }
    Ok(())
}

fn signatures(read: &ReadBack<'_>, signing: &Signing<'_>) -> Result<(), Error> {
    let report = avb::verify(&read.set, None);
    for index in &read.changed {
        let image = &read.set.images()[*index];
        let made = image.avb().is_some() || signing.vbmetas.iter().any(|own| own.index == *index);
        let checks = report.images.get(*index).map(|own| own.checks.as_slice());
        let promised = |part: &str| matches!(part, "structure" | "hash" | "signature");
        let mut failed = checks.unwrap_or_default().iter().filter(|_| made);
        if let Some(failed) = failed.find(|own| own.outcome == Outcome::Fail && promised(own.part))
        {
            return Err(wrong(image, failed.message.clone()));
        }
    }
    Ok(())
}

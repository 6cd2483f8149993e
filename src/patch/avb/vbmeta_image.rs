//! The vbmeta images for images that change.

use super::changes::signed_by;
use super::options::AvbMode;
use super::signing::{Relation, Resigned, Signing, partition};
use crate::bootset::Cover;
use crate::image::avb::{Vbmeta, VbmetaEdit, printable};
use crate::image::{AvbFooter, Chunk, DerivedPolicy, Image, Output, RegionKind};
use crate::patch::edit::{AvbEdit, Change, PlannedEdit};
use crate::patch::error::Error;

/// A vbmeta image for images that change.
pub(crate) struct NewVbmeta<'a> {
    /// Its index in the set.
    pub index: usize,
    /// The file.
    pub output: Output<'a>,
    /// For the plan.
    pub planned: PlannedEdit,
}

/// A rebuilt image.
pub(crate) struct Written<'o, 'a> {
    /// The file.
    pub output: &'o Output<'a>,
    /// Bytes of the image proper.
    pub content_size: u64,
}

/// The vbmeta images for the `written` images, by index; those that the top-level one chains to first.
///
/// # Errors
/// [`Error::SignVbmeta`], [`Error::VbmetaTrailing`], [`Error::NothingToSign`].
pub(crate) fn build<'o, 'a: 'o>(
    signing: &Signing<'a>,
    images: &[Image<'a>],
    written: impl Fn(usize) -> Option<Written<'o, 'a>>,
) -> Result<Vec<NewVbmeta<'a>>, Error> {
    signing.vbmetas.iter().map(|own| one(signing, own, images, &written)).collect()
}

fn one<'o, 'a: 'o>(
    signing: &Signing<'a>,
    own: &Resigned<'a>,
    images: &[Image<'a>],
    written: &impl Fn(usize) -> Option<Written<'o, 'a>>,
) -> Result<NewVbmeta<'a>, Error> {
    let mut edit = VbmetaEdit::new(own.vbmeta.clone());
    let mut summary = Vec::new();
    for (i, relation) in &signing.changed {
        let Relation::Covered(by, cover) = *relation else { continue };
        if by != own.index {
            continue;
        }
        let partition = partition(&images[*i]);
        match (cover, signing.options.mode) {
            (Cover::Digest(descriptor), _) => {
                let Some(Written { output, content_size }) = written(*i) else { continue };
                let size = hashed_size(&images[*i], content_size, output.size());
                edit.set_digest(descriptor, output, size)?;
                summary.push(format!("digest of {partition} ({size} bytes)"));
            }
            (Cover::Chain(descriptor), AvbMode::Resign(key)) => {
                let key = key.public();
                edit.set_chain_key(descriptor, &key.to_avb());
                summary.push(format!("key of {partition} (sha1 {})", key.fingerprint()));
            }
            (Cover::Chain(_), AvbMode::Preserve | AvbMode::Strip) => {}
        }
    }
    let chained = signing.vbmetas.iter().filter(|_| own.chain.is_none());
    for chained in chained {
        let (Some(descriptor), Some(key)) = (chained.chain, signing.signer(chained)) else {
            continue;
        };
        let key = key.public();
        edit.set_chain_key(descriptor, &key.to_avb());
        let partition = own.vbmeta.descriptors[descriptor].descriptor.partition();
        let partition = printable(partition.unwrap_or_default());
        summary.push(format!("key of {partition} (sha1 {})", key.fingerprint()));
    }
    if let Some(flags) = signing.options.vbmeta_flags.filter(|_| own.chain.is_none()) {
        edit.set_flags(flags);
        summary.push(format!("flags {flags}"));
    }
    let (why, blob) = match signing.signer(own) {
        Some(key) => (AvbEdit::TopResigned, edit.sign(key)?),
        None => (AvbEdit::TopRehashed, edit.write_unsigned().ok_or(Error::NothingToSign)?),
    };
    let after = Vbmeta::parse(&blob, 0).map_err(Error::Vbmeta)?;
    let after = format!("{}; {}", signed_by(&after), summary.join(", "));
    let change = Change::Vbmeta { why, before: signed_by(&own.vbmeta), after };
    let image = &images[own.index];
    let output = image.wrap(replace_blob(image, blob)?, DerivedPolicy::KeepRight)?;
    let planned = PlannedEdit { image: own.index, change };
    Ok(NewVbmeta { index: own.index, output, planned })
}

/// The number of bytes that are hashed: without a footer up to the padding, in whole blocks.
fn hashed_size(image: &Image<'_>, content: u64, file: u64) -> u64 {
    match image.avb() {
        Some(_) => content,
        None => content.next_multiple_of(AvbFooter::BLOB_ALIGNMENT).min(file),
    }
}

/// The file of a vbmeta image with another blob in it; it does not become smaller.
fn replace_blob<'a>(image: &Image<'a>, blob: Vec<u8>) -> Result<Output<'a>, Error> {
    let trailing = image.regions().iter().find(|region| region.kind == RegionKind::Trailing);
    let trailing = trailing.map(|region| region.offset);
    if let Some(trailing) = trailing.filter(|trailing| blob.len() > *trailing) {
        return Err(Error::VbmetaTrailing { size: blob.len(), trailing });
    }
    let size = blob.len();
    // A wrapper says how much a loader reads, which is whole blocks.
    let least = match image.wrapper() {
        Some(_) => size.next_multiple_of(AvbFooter::BLOB_ALIGNMENT as usize),
        None => size,
    };
    let file = image.bytes().len().max(least);
    let mut output = Output::default();
    output.push(Chunk::owned(blob));
    let zeros = trailing.unwrap_or(file).saturating_sub(size);
    output.push(Chunk::Zeros(zeros as u64));
    if let Some(trailing) = trailing {
        output.push(Chunk::borrowed(&image.bytes()[trailing..]));
    }
    Ok(output)
}

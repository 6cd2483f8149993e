//! What becomes of AVB's metadata when images change, and what devices do with the result.

use serde::Serialize;

use super::{Error, PlannedEdit, PlannedImage};
use crate::image::avb::{Algorithm, Descriptor, PublicKey, SigningKey, Vbmeta, VbmetaEdit};
use crate::image::{
    AvbChange, AvbFooter, AvbPolicy, Chunk, Image, ImageKind, Output, Rebuilt, RegionKind,
};

/// Bytes that avbtool's `add_hash_footer` keeps free behind an image: `MAX_VBMETA_SIZE` and
/// `MAX_FOOTER_SIZE`.
const AVBTOOL_ROOM: u64 = (64 << 10) + 4096;

/// What becomes of AVB's metadata.
#[derive(Clone, Copy, Debug, Default)]
pub struct AvbOptions<'k> {
    /// In the images that change.
    pub mode: AvbMode<'k>,
    /// Signs a vbmeta.img of the set instead of the key of [`AvbMode::Resign`].
    pub vbmeta_key: Option<&'k SigningKey>,
    /// The flags that a vbmeta.img gets; None keeps those it has.
    pub vbmeta_flags: Option<u32>,
}

/// What becomes of AVB's metadata in the images that change.
#[derive(Clone, Copy, Debug, Default)]
pub enum AvbMode<'k> {
    /// Signed blobs stay byte-identical, unsigned ones get the right digest.
    #[default]
    Preserve,
    /// Every digest and every signature is made anew with this key, in a vbmeta.img too.
    Resign(&'k SigningKey),
    /// Footer and blob are removed.
    Strip,
}

/// Whether a device in one of Verified Boot's states boots the result. The states are those of
/// <https://source.android.com/docs/security/features/verifiedboot/boot-flow>.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outlook {
    /// Locked, with the manufacturer's key.
    pub green: Prospect,
    /// Locked, with a key of the user's own.
    pub yellow: Prospect,
    /// Unlocked.
    pub orange: Prospect,
}

/// What a device does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Prospect {
    /// Whether it boots; None where that depends on what is not known here.
    pub boots: Option<bool>,
    /// Why.
    pub why: String,
}

impl Prospect {
    fn new(boots: impl Into<Option<bool>>, why: impl Into<String>) -> Self {
        Prospect { boots: boots.into(), why: why.into() }
    }
}

/// How the vbmeta.img of the set speaks of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    /// With the digest, in the descriptor of this index.
    Hash(usize),
    /// With the key of its vbmeta blob, in the descriptor of this index.
    Chain(usize),
    /// Not at all.
    Nothing,
    /// No vbmeta.img was given.
    Unknown,
}

/// The decision, before anything is written.
pub struct Signing<'a> {
    options: AvbOptions<'a>,
    /// The images that change, and how vbmeta.img speaks of each.
    changed: Vec<(usize, Relation)>,
    /// Index of the vbmeta.img, when it changes.
    pub vbmeta: Option<usize>,
    /// The vbmeta.img of the set.
    top: Option<Vbmeta<'a>>,
}

/// A vbmeta.img made anew.
pub struct NewVbmeta<'a> {
    pub output: Output<'a>,
    pub edit: PlannedEdit,
}

impl<'a> Signing<'a> {
    /// Decide what is signed when the images of these indices change.
    ///
    /// # Errors
    /// [`Error::NothingToSign`], [`Error::ChainedWithoutFooter`], [`Error::Vbmeta`].
    pub fn choose(
        images: &[Image<'a>],
        changed: &[usize],
        options: &AvbOptions<'a>,
    ) -> Result<Self, Error> {
        let index = images.iter().position(|image| image.kind() == ImageKind::Vbmeta);
        let top = index.and_then(|index| images[index].vbmeta()).transpose();
        let top = top.map_err(Error::Vbmeta)?;
        let relation = |i: &usize| {
            let relation = top.as_ref().map(|top| relation(top, &images[*i]));
            (*i, relation.unwrap_or(Relation::Unknown))
        };
        let changed: Vec<(usize, Relation)> = changed.iter().map(relation).collect();
        let mut signing = Signing { options: *options, changed, vbmeta: None, top };
        match options.mode {
            AvbMode::Strip => {}
            AvbMode::Preserve => {
                let unsigned = signing.top.as_ref().map(Vbmeta::algorithm);
                let unsigned = unsigned == Some(Algorithm::None);
                let hashed = |(_, relation): &_| matches!(relation, Relation::Hash(_));
                signing.vbmeta = index.filter(|_| unsigned && signing.changed.iter().any(hashed));
            }
            AvbMode::Resign(_) => {
                for (i, relation) in &signing.changed {
                    if matches!(relation, Relation::Chain(_)) && images[*i].avb().is_none() {
                        return Err(Error::ChainedWithoutFooter(partition(&images[*i])));
                    }
                }
                let described =
                    |(_, relation): &_| matches!(relation, Relation::Hash(_) | Relation::Chain(_));
                let described = signing.changed.iter().any(described);
                signing.vbmeta = index.filter(|_| described || options.vbmeta_flags.is_some());
                let footer = signing.changed.iter().any(|(i, _)| images[*i].avb().is_some());
                if !footer && !described {
                    return Err(Error::NothingToSign);
                }
            }
        }
        Ok(signing)
    }

    /// The policy for an image that changes.
    pub fn policy(&self, image: &Image<'_>) -> AvbPolicy<'a> {
        match self.options.mode {
            AvbMode::Resign(key) if image.avb().is_some() => AvbPolicy::Resign(key),
            AvbMode::Strip => AvbPolicy::Strip,
            _ => AvbPolicy::Preserve,
        }
    }

    /// The key that signs vbmeta.img.
    fn vbmeta_key(&self) -> Option<&'a SigningKey> {
        match self.options.mode {
            AvbMode::Resign(key) => Some(self.options.vbmeta_key.unwrap_or(key)),
            _ => None,
        }
    }

    /// The vbmeta.img for the planned images.
    ///
    /// # Errors
    /// [`Error::SignVbmeta`], [`Error::VbmetaTrailing`].
    pub fn vbmeta_image(
        &self,
        images: &[Image<'a>],
        planned: &[PlannedImage<'a>],
    ) -> Result<NewVbmeta<'a>, Error> {
        let (Some(index), Some(top)) = (self.vbmeta, &self.top) else {
            return Err(Error::NothingToSign);
        };
        let mut edit = VbmetaEdit::new(top.clone());
        let mut told = Vec::new();
        for (i, relation) in &self.changed {
            let partition = partition(&images[*i]);
            match (*relation, self.options.mode) {
                (Relation::Hash(descriptor), _) => {
                    let Some(output) = &planned[*i].output else { continue };
                    let size = hashed_size(&images[*i], planned[*i].content_size, output.size());
                    edit.set_digest(descriptor, output, size)?;
                    told.push(format!("digest of {partition} ({size} bytes)"));
                }
                (Relation::Chain(descriptor), AvbMode::Resign(key)) => {
                    let key = key.public();
                    edit.set_chain_key(descriptor, &key.to_avb());
                    told.push(format!("key of {partition} (sha1 {})", key.fingerprint()));
                }
                _ => {}
            }
        }
        if let Some(flags) = self.options.vbmeta_flags {
            edit.set_flags(flags);
            told.push(format!("flags {flags}"));
        }
        let blob = match self.vbmeta_key() {
            Some(key) => edit.sign(key)?,
            None => edit.write_unsigned().ok_or(Error::NothingToSign)?,
        };
        let after = Vbmeta::parse(&blob, 0).map_err(Error::Vbmeta)?;
        let why = match self.vbmeta_key() {
            Some(_) => {
                "resign: it names the new digests and keys, and is signed anew; everything else in it stays"
            }
            None => "it is not signed: the digest in it is made right",
        };
        let edit = PlannedEdit {
            image: index,
            what: "vbmeta",
            why: why.to_owned(),
            before: signed_by(top),
            after: format!("{}; {}", signed_by(&after), told.join(", ")),
        };
        let output = in_place_of(&images[index], blob)?;
        Ok(NewVbmeta { output, edit })
    }

    /// What people should know besides the outlook.
    pub fn warnings(&self, images: &[Image<'_>], planned: &[PlannedImage<'_>]) -> Vec<String> {
        let AvbMode::Resign(key) = self.options.mode else { return Vec::new() };
        let mut warnings = Vec::new();
        let mut algorithm = |image: &Image<'_>, key: &SigningKey| {
            let Some(Ok(vbmeta)) = image.vbmeta() else { return };
            let before = vbmeta.algorithm();
            if let Ok(after) = key.algorithm(before)
                && Algorithm::Rsa(after) != before
            {
                warnings.push(format!(
                    "{}: it is signed with {} instead of {}, because the key has {} bits",
                    image.kind(),
                    after.name,
                    before.name(),
                    after.key_bits
                ));
            }
        };
        for (i, _) in &self.changed {
            algorithm(&images[*i], key);
        }
        if let (Some(index), Some(key)) = (self.vbmeta, self.vbmeta_key()) {
            algorithm(&images[index], key);
        }
        for (i, relation) in &self.changed {
            if *relation == Relation::Nothing {
                let partition = partition(&images[*i]);
                warnings.push(format!(
                    "vbmeta.img says nothing about {partition}: the device does not verify it by that"
                ));
            }
            let (size, file) = (planned[*i].content_size, images[*i].file().len() as u64);
            if images[*i].avb().is_some() && size + AVBTOOL_ROOM > file {
                warnings.push(format!(
                    "{}: the image of {size} bytes leaves {} of the partition's {file} for AVB. Devices take that, but avbtool wants {AVBTOOL_ROOM} and would not sign it: at most {} bytes",
                    partition(&images[*i]),
                    file - size,
                    file.saturating_sub(AVBTOOL_ROOM)
                ));
            }
        }
        warnings
    }

    /// What devices do with the result; None where no image that changes has a footer and no
    /// vbmeta.img was given.
    pub fn outlook(&self, images: &[Image<'_>]) -> Option<Outlook> {
        let has_footer = |(i, _): &(usize, Relation)| images[*i].avb().is_some();
        if self.top.is_none() && !self.changed.iter().any(has_footer) {
            return None;
        }
        Some(match self.options.mode {
            AvbMode::Preserve => self.outlook_preserved(images),
            AvbMode::Resign(key) => self.outlook_resigned(key),
            AvbMode::Strip => self.outlook_stripped(images),
        })
    }

    fn outlook_preserved(&self, images: &[Image<'_>]) -> Outlook {
        let kept = |(i, _): &(usize, Relation)| images[*i].keeps_vbmeta(AvbPolicy::Preserve);
        let locked = match (self.vbmeta, self.changed.iter().all(kept)) {
            (None, true) => {
                "the digest that is signed is that of the original image, and no longer matches"
            }
            (None, false) => {
                "the vbmeta blob has the right digest, but nobody signed it, and a signed vbmeta.img still has the old one"
            }
            (Some(_), _) => "vbmeta.img has the right digest, but nobody signed it",
        };
        let orange = "verification errors are tolerated";
        Outlook {
            green: Prospect::new(false, locked),
            yellow: Prospect::new(false, format!("{locked}; --avb resign --key is for that")),
            orange: Prospect::new(true, orange),
        }
    }

    fn outlook_resigned(&self, key: &SigningKey) -> Outlook {
        let orange = Prospect::new(true, "digests and signatures are right");
        let Some(top) = self.top.as_ref().filter(|_| self.vbmeta.is_some()) else {
            let (green, yellow) = match &self.top {
                None => (
                    "vbmeta.img names another key or the old digest, and was not given",
                    "only with a vbmeta.img that chains to this key and is signed with your own: give it with --vbmeta to have that done",
                ),
                Some(_) => (
                    "vbmeta.img says nothing about the images that change",
                    "vbmeta.img says nothing about the images that change",
                ),
            };
            return Outlook {
                green: Prospect::new(false, green),
                yellow: Prospect::new(None, yellow),
                orange,
            };
        };
        let flags = self.options.vbmeta_flags.unwrap_or(top.header.flags);
        if flags & 2 != 0 {
            let why = "vbmeta.img disables verification, which a locked device refuses";
            return Outlook {
                green: Prospect::new(false, why),
                yellow: Prospect::new(false, why),
                orange: Prospect::new(true, "vbmeta.img disables verification"),
            };
        }
        let signer = self.options.vbmeta_key.unwrap_or(key).public();
        let same = top.public_key() == signer.to_avb();
        let green = match same {
            true => Prospect::new(true, "vbmeta.img is signed with the key that it had before"),
            false => Prospect::new(false, "vbmeta.img is not signed with the manufacturer's key"),
        };
        let yellow = format!(
            "where the device takes a key of your own (fastboot flash avb_custom_key) and that is sha1 {}: flash key and images, boot once, then lock",
            signer.fingerprint()
        );
        Outlook { green, yellow: Prospect::new(true, yellow), orange }
    }

    fn outlook_stripped(&self, images: &[Image<'_>]) -> Outlook {
        let locked = "nothing signs the image any more";
        let relations: Vec<(usize, Relation)> =
            self.changed.iter().filter(|(i, _)| images[*i].avb().is_some()).copied().collect();
        let chained = relations.iter().find(|(_, r)| matches!(r, Relation::Chain(_)));
        let orange = match chained {
            Some((i, _)) => Prospect::new(
                false,
                format!(
                    "vbmeta.img chains to {}, and a chained partition without a vbmeta image is invalid metadata, which no device tolerates",
                    partition(&images[*i])
                ),
            ),
            None if relations.iter().any(|(_, r)| *r == Relation::Unknown) => Prospect::new(
                None,
                "where vbmeta.img has the partition's digest, or disables verification; not where it chains to the partition (give vbmeta.img to know)",
            ),
            None => Prospect::new(true, "verification errors are tolerated"),
        };
        Outlook {
            green: Prospect::new(false, locked),
            yellow: Prospect::new(false, locked),
            orange,
        }
    }
}

fn relation(top: &Vbmeta<'_>, image: &Image<'_>) -> Relation {
    let partition = partition(image);
    let about = top.descriptors.iter().enumerate().filter(|(_, entry)| {
        entry.descriptor.partition().is_some_and(|name| name == partition.as_bytes())
    });
    let mut found = about.filter_map(|(i, entry)| match entry.descriptor {
        Descriptor::Hash(_) => Some(Relation::Hash(i)),
        Descriptor::ChainPartition(_) => Some(Relation::Chain(i)),
        _ => None,
    });
    found.next().unwrap_or(Relation::Nothing)
}

/// The partition that an image is for.
fn partition(image: &Image<'_>) -> String {
    let name = image.partition_name();
    name.map_or_else(|| image.kind().to_string(), |name| name.escape_ascii().to_string())
}

/// How much of a partition is hashed: without a footer up to the padding, in whole blocks.
fn hashed_size(image: &Image<'_>, content: u64, file: u64) -> u64 {
    match image.avb() {
        Some(_) => content,
        None => content.next_multiple_of(AvbFooter::BLOB_ALIGNMENT).min(file),
    }
}

/// The file of a vbmeta image with another one in it; it does not get smaller.
fn in_place_of<'a>(image: &Image<'a>, blob: Vec<u8>) -> Result<Output<'a>, Error> {
    let trailing = image.regions().iter().find(|region| region.kind == RegionKind::Trailing);
    let trailing = trailing.map(|region| region.offset);
    if let Some(trailing) = trailing.filter(|trailing| blob.len() > *trailing) {
        return Err(Error::VbmetaTrailing { size: blob.len(), trailing });
    }
    let size = blob.len();
    let file = image.bytes().len();
    let mut output = Output::default();
    output.push(Chunk::owned(blob));
    let zeros = trailing.unwrap_or(file).saturating_sub(size);
    output.push(Chunk::Zeros(zeros as u64));
    if let Some(trailing) = trailing {
        output.push(Chunk::borrowed(&image.bytes()[trailing..]));
    }
    Ok(output)
}

/// What follows for the metadata of an image that was rebuilt.
pub fn edits(index: usize, image: &Image<'_>, rebuilt: &Rebuilt<'_>) -> Vec<PlannedEdit> {
    let (Some(before), Some(change)) = (image.avb(), rebuilt.avb_change) else {
        return Vec::new();
    };
    let edit = |what, why: &str, before, after| PlannedEdit {
        image: index,
        what,
        why: why.to_owned(),
        before,
        after,
    };
    let why = match change {
        AvbChange::Preserved => {
            "preserve: the vbmeta blob stays byte-identical, the footer points to its new place"
        }
        AvbChange::Rehashed => "the vbmeta blob is not signed: the digest in it is made right",
        AvbChange::Resigned { .. } => {
            "resign: the vbmeta blob has the new digest and is signed anew; properties, rollback index and salt stay"
        }
        AvbChange::Stripped => "strip: blob and footer are overwritten with zeros, the size stays",
    };
    let Some(after) = &rebuilt.avb else {
        return vec![edit("avb_footer", why, footer_text(before), "none".to_owned())];
    };
    let mut edits = Vec::new();
    if before != after {
        edits.push(edit("avb_footer", why, footer_text(before), footer_text(after)));
    }
    let old = image.vbmeta().and_then(Result::ok);
    if change != AvbChange::Preserved
        && let Some(old) = old
    {
        let start = image.wrapper().map_or(0, |wrapper| wrapper.payload_range().start as u64);
        let blob = rebuilt.output.slice(start + after.vbmeta_offset, after.vbmeta_size);
        let after = Vbmeta::parse(&blob, 0).map(|new| digests(&new)).unwrap_or_default();
        edits.push(edit("vbmeta", why, digests(&old), after));
    }
    edits
}

fn footer_text(footer: &AvbFooter) -> String {
    format!("image {} bytes, vbmeta at {}", footer.original_image_size, footer.vbmeta_offset)
}

fn digests(vbmeta: &Vbmeta<'_>) -> String {
    let digests = vbmeta.hashes().map(|(_, hash)| {
        let name = hash.partition_name.escape_ascii();
        let algorithm = hash.hash_algorithm.escape_ascii();
        format!(", {algorithm} of {name} {}", hex::encode(hash.digest))
    });
    signed_by(vbmeta) + &digests.collect::<String>()
}

fn signed_by(vbmeta: &Vbmeta<'_>) -> String {
    let name = vbmeta.algorithm().name();
    match PublicKey::from_avb(vbmeta.public_key()) {
        Ok(key) => format!("{name} by the key sha1 {}", key.fingerprint()),
        Err(_) => name,
    }
}

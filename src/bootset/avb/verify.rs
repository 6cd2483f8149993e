//! Whether images match their vbmeta images, and whether these are signed.
//!
//! The same checks as `avb_vbmeta_image_verify` and `avb_slot_verify` of libavb. Images that are
//! given together with a vbmeta image are what it describes. An image is verified when a digest of
//! its partition, which the right key signed, is that of its bytes; nothing else verifies it.

use super::partition::Names;
use super::report::{ImageVerification, NotVerified, Report, Verification};
use super::tree::{Cover, chain_to, chains, cover};
use crate::bootset::{BootSet, Role};
use crate::image::avb::{
    ChainPartition, Descriptor, MAX_VBMETA_SIZE, PublicKey, Vbmeta, printable,
};
use crate::image::{Image, ImageKind};

/// Verify the images of a set. With `trusted` a signature only counts when the top-level vbmeta
/// image (of a set without one: every image) carries that key.
pub fn verify(set: &BootSet<'_>, trusted: Option<&PublicKey>) -> Verification {
    verify_as(set, trusted, &[])
}

/// The same, where the partitions of some images are known: index and name. Without it, the kind of an
/// image says which names its partition may have.
pub fn verify_as(
    set: &BootSet<'_>,
    trusted: Option<&PublicKey>,
    partitions: &[(usize, &str)],
) -> Verification {
    let images = set.images();
    let mut names = set.partition_names();
    for (image, name) in partitions {
        if let Some(names) = names.get_mut(*image) {
            *names = Names::stated(name);
        }
    }
    let mut reports: Vec<Report> = images.iter().map(|_| Report::default()).collect();
    let parsed: Vec<Option<Vbmeta<'_>>> = std::iter::zip(images, &mut reports)
        .map(|(image, report)| report.structure(image))
        .collect();
    let judge = Judge { set, trusted, names, parsed, top: set.position(Role::Vbmeta) };
    // A vbmeta image covers others only if it is verified itself.
    let rank = |image: &usize| match set.roles()[*image] {
        Role::Vbmeta => 0,
        Role::ChainedVbmeta => 1,
        _ => 2,
    };
    let mut order: Vec<usize> = (0..images.len()).collect();
    order.sort_by_key(rank);
    for image in order {
        judge.image(image, &mut reports);
    }
    let images: Vec<ImageVerification> = reports.into_iter().map(Report::finish).collect();
    Verification { verified: images.iter().all(|image| image.verified), images }
}

/// What decides about the images of a set.
struct Judge<'s, 'a> {
    set: &'s BootSet<'a>,
    trusted: Option<&'s PublicKey>,
    /// The partitions that each image may be for.
    names: Vec<Names>,
    /// The vbmeta image that each image is or carries.
    parsed: Vec<Option<Vbmeta<'a>>>,
    /// The top-level vbmeta image.
    top: Option<usize>,
}

impl Judge<'_, '_> {
    /// Judge an image after the vbmeta images above it.
    fn image(&self, index: usize, reports: &mut [Report]) {
        let image = &self.set.images()[index];
        let own = self.parsed[index].as_ref();
        let Some(top) = self.top.filter(|top| *top != index) else {
            let report = &mut reports[index];
            self.top(index, report);
            return;
        };
        let above = self.above(index, top);
        let verified = above.is_none_or(|(above, _)| reports[above].verified());
        let report = &mut reports[index];
        match above {
            None => report.not_described(image, &self.names[index], own, self.set.name(index)),
            Some((above, Cover::Digest(_))) => {
                if own.is_some() {
                    report.note(
                        "signature",
                        "its own vbmeta image is not read: vbmeta has its digest",
                    );
                }
                if let Some(vbmeta) = &self.parsed[above] {
                    report.digests(vbmeta, &self.names[index], image, "vbmeta ");
                    report.signed = verified;
                }
            }
            Some((above, Cover::Chain(chain))) => {
                let chain = self.parsed[above].as_ref().and_then(|vbmeta| {
                    chains(vbmeta).find(|(index, _)| *index == chain).map(|(_, chain)| chain)
                });
                if let Some(chain) = chain {
                    self.chained(index, chain, report);
                    report.signed &= verified;
                }
            }
        }
        if !verified {
            let reason = NotVerified::AboveNotVerified;
            report.fail("chain", reason, "the vbmeta image above it is not verified itself");
        }
    }

    /// The vbmeta image that covers an image, and how: the top-level one, or one to which it chains.
    fn above(&self, index: usize, top: usize) -> Option<(usize, Cover)> {
        let (image, names) = (&self.set.images()[index], &self.names[index]);
        if image.kind() == ImageKind::Vbmeta {
            let above = self.parsed[top].as_ref()?;
            let file = names.first().unwrap_or_else(|| self.set.name(index));
            return Some((top, Cover::Chain(chain_to(above, file, image)?)));
        }
        let chained = self.set.members().filter(|(.., role)| *role == Role::ChainedVbmeta);
        let vbmetas = std::iter::once(top).chain(chained.map(|(index, ..)| index));
        vbmetas
            .filter(|vbmeta| *vbmeta != index)
            .find_map(|vbmeta| Some((vbmeta, cover(self.parsed[vbmeta].as_ref()?, names)?)))
    }

    /// An image that nothing is above: the top-level vbmeta image, or any in a set without one.
    fn top(&self, index: usize, report: &mut Report) {
        let image = &self.set.images()[index];
        let Some(own) = &self.parsed[index] else { return };
        report.signature(own, self.trusted);
        report.header(own, true);
        if image.kind() == ImageKind::Vbmeta {
            report.covered = true;
            self.elsewhere(index, own, report);
            return;
        }
        report.own_digest(own, &self.names[index], image);
        report.hash_trees(own);
    }

    /// An image to which a vbmeta image chains.
    fn chained(&self, index: usize, chain: &ChainPartition<'_>, report: &mut Report) {
        let image = &self.set.images()[index];
        let own = self.parsed[index].as_ref();
        if let Some(own) = own {
            report.signature(own, None);
            report.header(own, false);
        }
        report.chain(chain, own);
        let Some(own) = own else { return };
        for (_, chain) in chains(own) {
            let partition = printable(chain.partition_name);
            let message = format!("to {partition} in a chained vbmeta image: libavb refuses it");
            report.fail("chain", NotVerified::Chain, message);
        }
        if image.kind() == ImageKind::Vbmeta {
            report.covered = true;
            self.elsewhere(index, own, report);
        } else {
            report.own_digest(own, &self.names[index], image);
        }
        report.hash_trees(own);
    }

    /// The partitions that a vbmeta image describes and that are not in the set.
    fn elsewhere(&self, index: usize, vbmeta: &Vbmeta<'_>, report: &mut Report) {
        let given = |partition: &[u8], entry: usize| {
            let images = self.set.images().iter().enumerate().filter(|(other, _)| *other != index);
            images.into_iter().any(|(other, image)| match image.kind() {
                ImageKind::Vbmeta => {
                    let file = self.names[other].first().unwrap_or_else(|| self.set.name(other));
                    chain_to(vbmeta, file, image) == Some(entry)
                }
                _ => self.names[other].has(partition),
            })
        };
        let entries = vbmeta.descriptors.iter().enumerate();
        let described = entries.filter_map(|(i, entry)| Some((i, entry.descriptor.partition()?)));
        let missing: Vec<String> = described
            .filter(|(entry, partition)| !given(partition, *entry))
            .map(|(_, partition)| printable(partition))
            .collect();
        if !missing.is_empty() {
            report.note("digest", format!("not given, so not checked: {}", missing.join(", ")));
        }
    }
}

impl Report {
    /// The vbmeta image, if libavb can read it.
    fn structure<'a>(&mut self, image: &Image<'a>) -> Option<Vbmeta<'a>> {
        if let Some(signature) = image.avb1_signature() {
            let message = format!(
                "an AVB 1.0 signature of {} bytes at {} (boot_signer), for {} and the first {} bytes; it is not checked here",
                signature.size, signature.offset, signature.target, signature.length
            );
            self.note("avb1", message);
        }
        for certificate in image.gki_certificates() {
            self.note("gki", certificate.describe());
        }
        for problem in image.problems().iter().filter(|p| p.field.starts_with("avb_footer")) {
            self.fail("structure", NotVerified::Structure, problem.to_string());
        }
        let vbmeta = match image.vbmeta()? {
            Ok(vbmeta) => vbmeta,
            Err(problem) => {
                // For a bare vbmeta image this is one of its problems, too.
                self.fail("structure", NotVerified::Structure, problem.to_string());
                return None;
            }
        };
        let size = vbmeta.bytes().len();
        let place = match image.avb() {
            Some(footer) => format!("footer, and vbmeta image at {}", footer.vbmeta_offset),
            None => "vbmeta image at 0".to_owned(),
        };
        if size > MAX_VBMETA_SIZE {
            let message =
                format!("{place} has {size} bytes, libavb loads at most {MAX_VBMETA_SIZE}");
            self.fail("structure", NotVerified::Structure, message);
        } else {
            let message = format!(
                "{place}: {size} bytes, {} descriptors, made by {}",
                vbmeta.descriptors.len(),
                vbmeta.release_string().escape_ascii()
            );
            self.pass("structure", message);
        }
        Some(vbmeta)
    }

    /// Rollback index and flags of a vbmeta image that libavb reads.
    fn header(&mut self, vbmeta: &Vbmeta<'_>, is_top: bool) {
        let header = &vbmeta.header;
        let (index, location) = (header.rollback_index, header.rollback_index_location);
        self.note("rollback", format!("index {index} at location {location}"));
        let flags = vbmeta.flags();
        if flags.0 == 0 {
            return;
        }
        match (is_top, flags.verification_disabled()) {
            (true, false) => self.note("flags", format!("flags are {flags}")),
            (true, true) => {
                let why = "an unlocked device reads nothing else, a locked one refuses it";
                self.fail("flags", NotVerified::Flags, format!("flags are {flags}: {why}"));
            }
            (false, _) => {
                let why = "in a chained vbmeta image they must be 0: libavb refuses it";
                self.fail("flags", NotVerified::Flags, format!("flags are {flags}: {why}"));
            }
        }
    }

    /// The digest in the image's own vbmeta image.
    fn own_digest(&mut self, own: &Vbmeta<'_>, names: &Names, image: &Image<'_>) {
        if !self.digests(own, names, image, "") {
            self.not_covered(own, names);
        }
    }

    fn hash_trees(&mut self, vbmeta: &Vbmeta<'_>) {
        for entry in &vbmeta.descriptors {
            if let Descriptor::Hashtree(tree) = &entry.descriptor {
                let partition = printable(tree.partition_name);
                self.note("hashtree", format!("of {partition} is not checked here"));
            }
        }
    }

    /// No vbmeta image of the set has a descriptor of the image. Its own is still of interest.
    fn not_described(
        &mut self,
        image: &Image<'_>,
        names: &Names,
        own: Option<&Vbmeta<'_>>,
        file: &str,
    ) {
        if let Some(own) = own {
            self.signature(own, None);
        }
        let partition = match (names.first(), image.kind()) {
            (Some(name), _) => name.to_owned(),
            (None, ImageKind::Vbmeta) => file.to_owned(),
            (None, kind) => kind.to_string(),
        };
        let message = format!(
            "the vbmeta image says nothing about {partition}: the device does not verify it"
        );
        self.fail("chain", NotVerified::NotDescribed { partition }, message);
    }

    /// The key of a chained image, and what a chain must say.
    fn chain(&mut self, chain: &ChainPartition<'_>, own: Option<&Vbmeta<'_>>) {
        let partition = printable(chain.partition_name);
        let location = chain.rollback_index_location;
        if location == 0 {
            let message = format!(
                "the chain to {partition} has rollback index location 0, expected 1 or more"
            );
            self.fail("chain", NotVerified::Chain, message);
        }
        let fingerprint = |key: &[u8]| {
            PublicKey::from_avb(key).map_or_else(|_| "no key".to_owned(), |key| key.fingerprint())
        };
        match own {
            None => {
                let message = format!(
                    "the vbmeta image chains to {partition}, but this image has no vbmeta image of its own"
                );
                self.fail("chain", NotVerified::NotSigned, message);
            }
            Some(own) if own.public_key() == chain.public_key && !chain.public_key.is_empty() => {
                let message = format!(
                    "{partition}: the key is the one that the vbmeta image names, rollback index location {location}"
                );
                self.pass("chain", message);
            }
            Some(own) => {
                let message = format!(
                    "{partition}: the vbmeta image asks for the key with sha1 {}, this image has the one with sha1 {}",
                    fingerprint(chain.public_key),
                    fingerprint(own.public_key())
                );
                self.fail("chain", NotVerified::Key, message);
            }
        }
        self.partition.get_or_insert(partition);
    }
}

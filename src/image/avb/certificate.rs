//! Other signatures of boot images: AVB 1.0 and the GKI boot signature.

use super::super::{Image, RegionKind, SectionName};
use super::descriptor::printable;
use super::{Algorithm, PublicKey, Vbmeta};

/// The signature that `boot_signer` appends to an image (AVB 1.0), DER:
/// `SEQUENCE { formatVersion, certificate, algorithm, SEQUENCE { target, length }, signature }`
/// (AOSP `external/verity/BootSignature.java`). It is recognised but not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Avb1Signature {
    /// Offset in the file, in bytes.
    pub offset: usize,
    /// Size in bytes.
    pub size: usize,
    /// The partition that it is for, such as `/boot`.
    pub target: String,
    /// Number of signed bytes from the start of the file.
    pub length: u64,
}

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;

/// The contents of the DER value at the start of `bytes`, and the bytes after it. None if it has
/// another tag, or is longer than `bytes`.
fn der(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (contents, found, rest) = der_any(bytes)?;
    (found == tag).then_some((contents, rest))
}

fn der_any(bytes: &[u8]) -> Option<(&[u8], u8, &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    Some((contents, tag, rest))
}

impl Avb1Signature {
    fn parse(bytes: &[u8], offset: usize) -> Option<Self> {
        let (contents, after) = der(bytes, SEQUENCE)?;
        let (_, rest) = der(contents, INTEGER)?;
        let (_, rest) = der(rest, SEQUENCE)?;
        let (_, rest) = der(rest, SEQUENCE)?;
        let (attributes, rest) = der(rest, SEQUENCE)?;
        der(rest, OCTET_STRING)?;
        let (target, _, rest) = der_any(attributes)?;
        let (length, _) = der(rest, INTEGER)?;
        if length.len() > 9 {
            return None;
        }
        let length = length.iter().fold(0u64, |length, digit| length << 8 | u64::from(*digit));
        let size = bytes.len() - after.len();
        let target = target.escape_ascii().to_string();
        Some(Avb1Signature { offset, size, target, length })
    }
}

/// A certificate of a GKI boot signature: a vbmeta image for the whole boot image (`boot`) or for
/// its kernel (`generic_kernel`). Android's test suite verifies it, bootloaders do not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GkiCertificate<'a> {
    /// Offset in the file, in bytes.
    pub offset: usize,
    /// The vbmeta image.
    pub vbmeta: Vbmeta<'a>,
}

/// Bytes of the boot signature that `certify_bootimg` writes after the sections.
const GKI_SIGNATURE_SIZE: usize = 16 << 10;

impl<'a> Image<'a> {
    /// Unknown bytes from `offset` on, including trailing zeros, which are a padding region.
    fn rest_from(&self, offset: usize) -> &'a [u8] {
        let vbmeta = self.regions().iter().find(|region| region.kind == RegionKind::Vbmeta);
        let end = vbmeta.map_or(self.bytes().len(), |region| region.offset);
        &self.bytes()[offset..end.max(offset)]
    }

    /// The AVB 1.0 signature after the sections.
    pub fn avb1_signature(&self) -> Option<Avb1Signature> {
        let trailing = self.regions().iter().filter(|r| r.kind == RegionKind::Trailing);
        let mut found =
            trailing.filter_map(|r| Avb1Signature::parse(self.rest_from(r.offset), r.offset));
        found.next()
    }

    /// The last 16 KiB of the image, without AVB's blob and footer.
    fn gki_signature(&self) -> Option<(usize, &'a [u8])> {
        let size = self.avb().map_or(self.bytes().len() as u64, |avb| avb.original_image_size);
        let end = usize::try_from(size).ok()?;
        let start = end.checked_sub(GKI_SIGNATURE_SIZE)?;
        Some((start, self.bytes().get(start..end)?))
    }

    /// The certificates of a GKI boot signature: in its section (v4), or in the last 16 KiB of the
    /// image.
    pub fn gki_certificates(&self) -> Vec<GkiCertificate<'a>> {
        let own = RegionKind::Section(SectionName::BootSignature);
        let sections = self.regions().iter().filter(|region| region.kind == own);
        let sections = sections.map(|region| (region.offset, self.region_bytes(region)));
        let unknown = |(start, _): &(usize, &[u8])| {
            let region = self.regions().iter().find(|region| region.offset == *start);
            region.is_some_and(|region| region.kind == RegionKind::Trailing)
        };
        let mut certificates = Vec::new();
        for (offset, bytes) in sections.chain(self.gki_signature().filter(unknown)) {
            let mut start = 0;
            while start < bytes.len().min(GKI_SIGNATURE_SIZE)
                && let Ok(vbmeta) = Vbmeta::parse(&bytes[start..], 0)
            {
                let offset = offset + start;
                start += vbmeta.bytes().len();
                certificates.push(GkiCertificate { offset, vbmeta });
            }
        }
        certificates
    }
}

impl GkiCertificate<'_> {
    /// Describe its purpose and whether its signature is valid.
    pub fn describe(&self) -> String {
        let vbmeta = &self.vbmeta;
        let partitions: Vec<String> =
            vbmeta.hashes().map(|(_, hash)| printable(hash.partition_name)).collect();
        let key = PublicKey::from_avb(vbmeta.public_key());
        let signed = match (vbmeta.algorithm(), key) {
            (Algorithm::Rsa(rsa), Ok(key)) => {
                let digest = rsa.hash.digest(&vbmeta.signed_parts());
                let valid =
                    digest == vbmeta.hash() && key.verifies(rsa.hash, &digest, vbmeta.signature());
                let verdict =
                    if valid { "its signature is valid" } else { "its signature is not valid" };
                format!("{}, {verdict}", rsa.name)
            }
            (algorithm, _) => algorithm.name(),
        };
        format!("GKI certificate for {} at {}: {signed}", partitions.join(", "), self.offset)
    }
}

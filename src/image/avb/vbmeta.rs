//! A vbmeta image: a header of 256 bytes, the authentication block (hash and signature) and the
//! auxiliary block (descriptors and keys). `AvbVBMetaImageHeader` of `avb_vbmeta_image.h`.

use std::io::Cursor;

use binrw::{BinRead, BinWrite, binrw};

use super::super::wire::wire;
use super::super::{Problem, text_of};
use super::descriptor::{self, Descriptor, Entry, Hash};
use super::{Algorithm, HashAlgorithm};

/// Both blocks are padded to a multiple of this many bytes.
pub(super) const BLOCK_ALIGNMENT: usize = 64;

wire! {
    /// The header's fields. Offsets are relative to the block that they point into.
    #[binrw]
    #[brw(big, magic = b"AVB0")]
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct VbmetaHeader, VbmetaHeaderAt from VbmetaHeader::MAGIC.len() => {
        /// Major version of libavb that can read this, 1.
        pub required_libavb_version_major: u32,
        /// Minimum minor version of libavb.
        pub required_libavb_version_minor: u32,
        /// Bytes of the authentication block, a multiple of 64.
        pub authentication_data_block_size: u64,
        /// Bytes of the auxiliary block, a multiple of 64.
        pub auxiliary_data_block_size: u64,
        /// See `Algorithm::from_number`.
        pub algorithm_type: u32,
        /// Offset of the hash in the authentication block.
        pub hash_offset: u64,
        /// Size of the hash in bytes.
        pub hash_size: u64,
        /// Offset of the signature in the authentication block.
        pub signature_offset: u64,
        /// Size of the signature in bytes.
        pub signature_size: u64,
        /// Offset of the public key in the auxiliary block.
        pub public_key_offset: u64,
        /// Size of the public key in bytes.
        pub public_key_size: u64,
        /// Offset of the public key's metadata in the auxiliary block.
        pub public_key_metadata_offset: u64,
        /// Size of the metadata in bytes.
        pub public_key_metadata_size: u64,
        /// Offset of the descriptors in the auxiliary block.
        pub descriptors_offset: u64,
        /// Size of the descriptors in bytes.
        pub descriptors_size: u64,
        /// A device rejects an image whose index is below the index that it has stored.
        pub rollback_index: u64,
        /// See [`Flags`].
        pub flags: u32,
        /// Where the device stores the rollback index; 0 in a chained vbmeta image.
        pub rollback_index_location: u32,
        /// The tool that made it, NUL-terminated.
        pub release_string: [u8; 48],
        pub(super) reserved: [u8; 80],
    }
}

/// The bits of the header's `flags`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(pub u32);

impl Flags {
    /// dm-verity is disabled (`AVB_VBMETA_IMAGE_FLAGS_HASHTREE_DISABLED`).
    pub(crate) fn hashtree_disabled(self) -> bool {
        self.0 & 1 != 0
    }

    /// Descriptors are ignored (`AVB_VBMETA_IMAGE_FLAGS_VERIFICATION_DISABLED`).
    pub(crate) fn verification_disabled(self) -> bool {
        self.0 & 2 != 0
    }
}

impl std::fmt::Display for Flags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = [
            self.hashtree_disabled().then_some("hashtree disabled"),
            self.verification_disabled().then_some("verification disabled"),
        ];
        let names: Vec<&str> = names.into_iter().flatten().collect();
        match names.is_empty() {
            true => write!(f, "{}", self.0),
            false => write!(f, "{} ({})", self.0, names.join(", ")),
        }
    }
}

const AT: VbmetaHeaderAt = VbmetaHeader::AT;

impl VbmetaHeader {
    /// Size of the header in bytes.
    pub(crate) const SIZE: usize = Self::AT.end;
    pub(super) const MAGIC: &[u8; 4] = b"AVB0";

    /// The 256 bytes.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::with_capacity(Self::SIZE));
        let written = self.write(&mut bytes);
        debug_assert!(written.is_ok());
        bytes.into_inner()
    }

    /// Read the header at the start of `bytes`; its version and release string are checked.
    fn parse(bytes: &[u8]) -> Result<Self, Problem> {
        let problem = |field, offset, message| Problem { field, offset, message };
        if bytes.len() < Self::SIZE {
            let message = format!("takes {} bytes, {} are left", Self::SIZE, bytes.len());
            return Err(problem("vbmeta.header", 0, message));
        }
        let header = Self::read(&mut Cursor::new(bytes)).map_err(|_| {
            let found = bytes[..4].escape_ascii();
            problem("vbmeta.magic", 0, format!("is \"{found}\", expected \"AVB0\""))
        })?;
        let version = header.required_libavb_version_major;
        if version != 1 {
            let message = format!("is {version}, expected 1, the only version that libavb reads");
            let offset = AT.required_libavb_version_major;
            return Err(problem("vbmeta.required_libavb_version_major", offset, message));
        }
        if !header.release_string.contains(&0) {
            let message = "has no NUL in its 48 bytes".to_owned();
            return Err(problem("vbmeta.release_string", AT.release_string, message));
        }
        Ok(header)
    }

    /// Check that both blocks are within the `available` bytes; returns the size of the vbmeta
    /// image.
    fn check_blocks(&self, available: u64) -> Result<u64, Problem> {
        let blocks = [
            (
                "vbmeta.authentication_data_block_size",
                AT.authentication_data_block_size,
                self.authentication_data_block_size,
            ),
            (
                "vbmeta.auxiliary_data_block_size",
                AT.auxiliary_data_block_size,
                self.auxiliary_data_block_size,
            ),
        ];
        let mut end = Self::SIZE as u64;
        for (field, offset, size) in blocks {
            if !size.is_multiple_of(BLOCK_ALIGNMENT as u64) {
                let message = format!("is {size}, expected a multiple of {BLOCK_ALIGNMENT}");
                return Err(Problem { field, offset, message });
            }
            let after = end.checked_add(size).filter(|end| *end <= available);
            end = after.ok_or_else(|| {
                let left = available - end;
                let message = format!("is {size}, the image has {left} bytes left for it");
                Problem { field, offset, message }
            })?;
        }
        Ok(end)
    }

    /// Check that every part is inside its block.
    fn check_parts(&self) -> Result<(), Problem> {
        let authentication = [
            ("vbmeta.hash_offset", AT.hash_offset, self.hash_offset, self.hash_size),
            (
                "vbmeta.signature_offset",
                AT.signature_offset,
                self.signature_offset,
                self.signature_size,
            ),
        ];
        let auxiliary = [
            (
                "vbmeta.public_key_offset",
                AT.public_key_offset,
                self.public_key_offset,
                self.public_key_size,
            ),
            (
                "vbmeta.public_key_metadata_offset",
                AT.public_key_metadata_offset,
                self.public_key_metadata_offset,
                self.public_key_metadata_size,
            ),
            (
                "vbmeta.descriptors_offset",
                AT.descriptors_offset,
                self.descriptors_offset,
                self.descriptors_size,
            ),
        ];
        let blocks = [
            (self.authentication_data_block_size, &authentication[..]),
            (self.auxiliary_data_block_size, &auxiliary[..]),
        ];
        for (block, parts) in blocks {
            for &(field, at, offset, size) in parts {
                if offset.checked_add(size).is_none_or(|end| end > block) {
                    let message = format!("{size} bytes at {offset} exceed the block of {block}");
                    return Err(Problem { field, offset: at, message });
                }
            }
        }
        Ok(())
    }

    /// Check that hash and signature have the sizes of the algorithm.
    fn check_algorithm(&self) -> Result<(), Problem> {
        let problem = |field, offset, message| Problem { field, offset, message };
        let Algorithm::Rsa(rsa) = self.algorithm() else { return Ok(()) };
        let name = rsa.name;
        let hash = rsa.hash.size() as u64;
        if self.hash_size != hash {
            let message = format!("is {}, expected {hash} for {name}", self.hash_size);
            return Err(problem("vbmeta.hash_size", AT.hash_size, message));
        }
        let signature = (rsa.key_bits / 8) as u64;
        if self.signature_size != signature {
            let message = format!("is {}, expected {signature} for {name}", self.signature_size);
            return Err(problem("vbmeta.signature_size", AT.signature_size, message));
        }
        if self.public_key_size == 0 {
            let message = format!("is 0, expected the key of {name}");
            return Err(problem("vbmeta.public_key_size", AT.public_key_size, message));
        }
        Ok(())
    }

    fn algorithm(&self) -> Algorithm {
        Algorithm::from_number(self.algorithm_type)
    }
}

/// A vbmeta image over borrowed bytes, its structure checked as `avb_vbmeta_image_verify` does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vbmeta<'a> {
    /// Header and both blocks.
    bytes: &'a [u8],
    /// The header.
    pub header: VbmetaHeader,
    /// The descriptors in order.
    pub descriptors: Vec<Entry<'a>>,
}

impl<'a> Vbmeta<'a> {
    /// Read the vbmeta image at the start of `bytes`, which is at `at` in its file.
    ///
    /// # Errors
    /// A vbmeta image that libavb would reject, with the field and its offset in the file.
    pub fn parse(bytes: &'a [u8], at: usize) -> Result<Self, Problem> {
        let in_file = |problem: Problem| Problem { offset: at + problem.offset, ..problem };
        let header = VbmetaHeader::parse(bytes).map_err(in_file)?;
        let size = header.check_blocks(bytes.len() as u64).map_err(in_file)?;
        header.check_parts().map_err(in_file)?;
        header.check_algorithm().map_err(in_file)?;
        let bytes = &bytes[..size as usize];
        let mut vbmeta = Vbmeta { bytes, header, descriptors: Vec::new() };
        let start = vbmeta.auxiliary_offset() + vbmeta.header.descriptors_offset as usize;
        let size = vbmeta.header.descriptors_size as usize;
        vbmeta.descriptors =
            descriptor::parse_all(&bytes[start..start + size], start).map_err(in_file)?;
        Ok(vbmeta)
    }

    /// Header and blocks.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The algorithm of the signature.
    pub fn algorithm(&self) -> Algorithm {
        self.header.algorithm()
    }

    /// The flags.
    pub fn flags(&self) -> Flags {
        Flags(self.header.flags)
    }

    /// The tool that made it.
    pub fn release_string(&self) -> &[u8] {
        text_of(&self.header.release_string)
    }

    /// The signed bytes: the header and the auxiliary block.
    pub(crate) fn signed_parts(&self) -> [&'a [u8]; 2] {
        [&self.bytes[..VbmetaHeader::SIZE], &self.bytes[self.auxiliary_offset()..]]
    }

    /// Offset of the auxiliary block in bytes.
    pub(crate) fn auxiliary_offset(&self) -> usize {
        VbmetaHeader::SIZE + self.header.authentication_data_block_size as usize
    }

    /// The hash in the authentication block.
    pub(crate) fn hash(&self) -> &'a [u8] {
        self.part(VbmetaHeader::SIZE, self.header.hash_offset, self.header.hash_size)
    }

    /// The signature.
    pub(crate) fn signature(&self) -> &'a [u8] {
        self.part(VbmetaHeader::SIZE, self.header.signature_offset, self.header.signature_size)
    }

    /// The embedded public key in AVB's format; empty if there is none.
    pub fn public_key(&self) -> &'a [u8] {
        let header = &self.header;
        self.part(self.auxiliary_offset(), header.public_key_offset, header.public_key_size)
    }

    /// The metadata of the public key; usually empty.
    pub(crate) fn public_key_metadata(&self) -> &'a [u8] {
        let (offset, size) =
            (self.header.public_key_metadata_offset, self.header.public_key_metadata_size);
        self.part(self.auxiliary_offset(), offset, size)
    }

    /// The hash descriptors, each with its index among all descriptors.
    pub(crate) fn hashes(&self) -> impl Iterator<Item = (usize, &Hash<'a>)> {
        self.descriptors.iter().enumerate().filter_map(|(i, entry)| match &entry.descriptor {
            Descriptor::Hash(hash) => Some((i, hash)),
            _ => None,
        })
    }

    /// The hash descriptor of the partition that contains this vbmeta image, and whose content has
    /// `image_size` bytes: that of one of these partitions, of that size if there are several. Of
    /// descriptors for other partitions it is the one of that size, or the only one.
    pub(crate) fn own_hash(
        &self,
        partitions: &[&str],
        image_size: u64,
    ) -> Option<(usize, &Hash<'a>)> {
        let named =
            |hash: &Hash<'_>| partitions.iter().any(|name| name.as_bytes() == hash.partition_name);
        let any_named = self.hashes().any(|(_, hash)| named(hash));
        let candidates = || self.hashes().filter(|(_, hash)| !any_named || named(hash));
        let of_size = candidates().find(|(_, hash)| hash.image_size == image_size);
        let first = || {
            let mut all = candidates();
            all.next().filter(|_| any_named || all.next().is_none())
        };
        of_size.or_else(first)
    }

    // Parsing has checked that every part is inside its block.
    fn part(&self, block: usize, offset: u64, size: u64) -> &'a [u8] {
        let start = block + offset as usize;
        &self.bytes[start..start + size as usize]
    }
}

impl Hash<'_> {
    /// Its hash algorithm; None if unknown.
    pub(crate) fn algorithm(&self) -> Option<HashAlgorithm> {
        HashAlgorithm::from_name(self.hash_algorithm)
    }
}

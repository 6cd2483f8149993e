//! The descriptors of a vbmeta image.

use std::io::Cursor;

use binrw::{BinRead, binread};

use super::super::wire::wire;
use super::super::{Problem, text_of};

/// Tag and size before each descriptor (`AvbDescriptor`).
const HEAD: usize = 16;

/// A descriptor with its offset and its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Offset in the vbmeta image, in bytes.
    pub offset: usize,
    /// All its bytes, including tag and size.
    pub bytes: &'a [u8],
    /// The parsed descriptor.
    pub descriptor: Descriptor<'a>,
}

/// A parsed descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Descriptor<'a> {
    /// A key and a value for the operating system.
    Property {
        /// The key.
        key: &'a [u8],
        /// The value.
        value: &'a [u8],
    },
    /// A dm-verity hash tree.
    Hashtree(Hashtree<'a>),
    /// The digest of a whole partition.
    Hash(Hash<'a>),
    /// Parameters for the kernel command line.
    KernelCmdline {
        /// When they apply: bit 0, if hash trees are not disabled; bit 1, if they are disabled.
        flags: u32,
        /// The parameters.
        cmdline: &'a [u8],
    },
    /// A partition with its own vbmeta image, and the key of that image.
    ChainPartition(ChainPartition<'a>),
    /// Any other descriptor.
    Unknown {
        /// Its tag.
        tag: u64,
    },
}

/// A hash descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hash<'a> {
    /// Number of hashed bytes from the start of the partition.
    pub image_size: u64,
    /// Name of the hash: `sha256`, `sha512`.
    pub hash_algorithm: &'a [u8],
    /// The partition, without A/B suffix.
    pub partition_name: &'a [u8],
    /// The salt, which is hashed before the image.
    pub salt: &'a [u8],
    /// The digest; empty for a persistent digest, which the device stores itself.
    pub digest: &'a [u8],
    /// Bit 0: the partition has no A/B suffix.
    pub flags: u32,
}

/// A hash tree descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hashtree<'a> {
    /// Version of dm-verity's format.
    pub dm_verity_version: u32,
    /// Number of bytes that the tree covers.
    pub image_size: u64,
    /// Offset of the tree in bytes.
    pub tree_offset: u64,
    /// Size of the tree in bytes.
    pub tree_size: u64,
    /// Name of the hash.
    pub hash_algorithm: &'a [u8],
    /// The partition, without A/B suffix.
    pub partition_name: &'a [u8],
    /// The salt, which is hashed before each block.
    pub salt: &'a [u8],
    /// The root digest of the tree.
    pub root_digest: &'a [u8],
    /// Bit 0: the partition has no A/B suffix.
    pub flags: u32,
}

/// A chain partition descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainPartition<'a> {
    /// Where the device stores the partition's rollback index; at least 1.
    pub rollback_index_location: u32,
    /// The partition, without A/B suffix.
    pub partition_name: &'a [u8],
    /// The key its vbmeta image must carry, in AVB's format.
    pub public_key: &'a [u8],
    /// Bit 0: the partition has no A/B suffix.
    pub flags: u32,
}

wire! {
    #[binread]
    #[br(big)]
    struct HashWire, HashAt from HEAD => {
        image_size: u64,
        hash_algorithm: [u8; 32],
        partition_name_len: u32,
        salt_len: u32,
        digest_len: u32,
        flags: u32,
        #[br(temp)]
        _reserved: [u8; 60],
    }
}

wire! {
    #[binread]
    #[br(big)]
    struct HashtreeWire, HashtreeAt from HEAD => {
        dm_verity_version: u32,
        image_size: u64,
        tree_offset: u64,
        tree_size: u64,
        #[br(temp)]
        _data_block_size: u32,
        #[br(temp)]
        _hash_block_size: u32,
        #[br(temp)]
        _fec: [u8; 20],
        hash_algorithm: [u8; 32],
        partition_name_len: u32,
        salt_len: u32,
        root_digest_len: u32,
        flags: u32,
        #[br(temp)]
        _reserved: [u8; 60],
    }
}

wire! {
    #[binread]
    #[br(big)]
    struct ChainWire, ChainAt from HEAD => {
        rollback_index_location: u32,
        partition_name_len: u32,
        public_key_len: u32,
        flags: u32,
        #[br(temp)]
        _reserved: [u8; 60],
    }
}

#[binread]
#[br(big)]
struct CmdlineWire {
    flags: u32,
    length: u32,
}

#[binread]
#[br(big)]
struct PropertyWire {
    key_len: u64,
    value_len: u64,
}

/// Parse the descriptors in `bytes`, which are at `at` in the vbmeta image.
///
/// # Errors
/// A descriptor whose size is not a multiple of 8, that extends past the end of `bytes`, or whose
/// parts extend past its own end.
pub(super) fn parse_all(bytes: &[u8], at: usize) -> Result<Vec<Entry<'_>>, Problem> {
    let mut entries = Vec::new();
    let mut start = 0;
    while start < bytes.len() {
        let offset = at + start;
        let problem = |message: String| Problem { field: "vbmeta.descriptor", offset, message };
        let rest = &bytes[start..];
        let (Some(tag), Some(following)) = (number(rest, 0), number(rest, 8)) else {
            return Err(problem(format!(
                "number {} takes 16 bytes, {} are left",
                entries.len(),
                rest.len()
            )));
        };
        let size = usize::try_from(following).ok().and_then(|size| size.checked_add(HEAD));
        let Some(own) = size.and_then(|size| rest.get(..size)) else {
            return Err(problem(format!(
                "number {} has num_bytes_following {following}, {} bytes are left",
                entries.len(),
                rest.len() - HEAD
            )));
        };
        if !following.is_multiple_of(8) {
            return Err(problem(format!(
                "number {} has num_bytes_following {following}, expected a multiple of 8",
                entries.len()
            )));
        }
        let descriptor = parse(tag, own).ok_or_else(|| {
            problem(format!(
                "number {} ({}): the sizes of its parts exceed its {} bytes",
                entries.len(),
                kind_name(tag),
                own.len()
            ))
        })?;
        entries.push(Entry { offset, bytes: own, descriptor });
        start += own.len();
    }
    Ok(entries)
}

fn number(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn kind_name(tag: u64) -> &'static str {
    match tag {
        0 => "property",
        1 => "hashtree",
        2 => "hash",
        3 => "kernel_cmdline",
        4 => "chain_partition",
        _ => "unknown",
    }
}

/// Splits the variable part of a descriptor.
struct Pieces<'a> {
    rest: &'a [u8],
}

impl<'a> Pieces<'a> {
    fn take(&mut self, size: impl TryInto<usize>) -> Option<&'a [u8]> {
        let (piece, rest) = self.rest.split_at_checked(size.try_into().ok()?)?;
        self.rest = rest;
        Some(piece)
    }
}

/// Split a descriptor into its fixed fields and its variable part.
fn split<W>(bytes: &[u8]) -> Option<(W, Pieces<'_>)>
where
    W: BinRead + binrw::meta::ReadEndian,
    for<'b> W::Args<'b>: Default,
{
    let mut cursor = Cursor::new(bytes);
    cursor.set_position(HEAD as u64);
    let wire = W::read(&mut cursor).ok()?;
    let rest = bytes.get(usize::try_from(cursor.position()).ok()?..)?;
    Some((wire, Pieces { rest }))
}

fn parse(tag: u64, bytes: &[u8]) -> Option<Descriptor<'_>> {
    Some(match tag {
        0 => {
            let (wire, mut pieces) = split::<PropertyWire>(bytes)?;
            let key = pieces.take(wire.key_len)?;
            let end_of_key = pieces.take(1usize)?;
            let value = pieces.take(wire.value_len)?;
            let end_of_value = pieces.take(1usize)?;
            if [end_of_key, end_of_value] != [&[0u8][..]; 2] {
                return None;
            }
            Descriptor::Property { key, value }
        }
        1 => {
            let (wire, mut pieces) = split::<HashtreeWire>(bytes)?;
            Descriptor::Hashtree(Hashtree {
                dm_verity_version: wire.dm_verity_version,
                image_size: wire.image_size,
                tree_offset: wire.tree_offset,
                tree_size: wire.tree_size,
                hash_algorithm: name_in(
                    bytes,
                    HashtreeWire::AT.hash_algorithm,
                    &wire.hash_algorithm,
                )?,
                partition_name: pieces.take(wire.partition_name_len)?,
                salt: pieces.take(wire.salt_len)?,
                root_digest: pieces.take(wire.root_digest_len)?,
                flags: wire.flags,
            })
        }
        2 => {
            let (wire, mut pieces) = split::<HashWire>(bytes)?;
            Descriptor::Hash(Hash {
                image_size: wire.image_size,
                hash_algorithm: name_in(bytes, HashWire::AT.hash_algorithm, &wire.hash_algorithm)?,
                partition_name: pieces.take(wire.partition_name_len)?,
                salt: pieces.take(wire.salt_len)?,
                digest: pieces.take(wire.digest_len)?,
                flags: wire.flags,
            })
        }
        3 => {
            let (wire, mut pieces) = split::<CmdlineWire>(bytes)?;
            Descriptor::KernelCmdline { flags: wire.flags, cmdline: pieces.take(wire.length)? }
        }
        4 => {
            let (wire, mut pieces) = split::<ChainWire>(bytes)?;
            Descriptor::ChainPartition(ChainPartition {
                rollback_index_location: wire.rollback_index_location,
                partition_name: pieces.take(wire.partition_name_len)?,
                public_key: pieces.take(wire.public_key_len)?,
                flags: wire.flags,
            })
        }
        _ => Descriptor::Unknown { tag },
    })
}

/// A partition's name, printable.
pub(crate) fn printable(partition: &[u8]) -> String {
    partition.escape_ascii().to_string()
}

/// The NUL-terminated name of a hash, borrowed from the descriptor.
fn name_in<'a>(bytes: &'a [u8], at: usize, field: &[u8; 32]) -> Option<&'a [u8]> {
    bytes.get(at..at + text_of(field).len())
}

impl Descriptor<'_> {
    /// AOSP's name for its kind.
    pub fn kind(&self) -> &'static str {
        kind_name(match self {
            Descriptor::Property { .. } => 0,
            Descriptor::Hashtree(_) => 1,
            Descriptor::Hash(_) => 2,
            Descriptor::KernelCmdline { .. } => 3,
            Descriptor::ChainPartition(_) => 4,
            Descriptor::Unknown { tag } => *tag,
        })
    }

    /// The partition that it describes.
    pub(crate) fn partition(&self) -> Option<&[u8]> {
        match self {
            Descriptor::Hashtree(hashtree) => Some(hashtree.partition_name),
            Descriptor::Hash(hash) => Some(hash.partition_name),
            Descriptor::ChainPartition(chain) => Some(chain.partition_name),
            _ => None,
        }
    }
}

impl Entry<'_> {
    /// The bytes of this hash descriptor with another image size and a digest of the same length;
    /// a persistent digest stays empty. None if this is not a hash descriptor.
    pub(super) fn with_digest(&self, image_size: u64, digest: &[u8]) -> Option<Vec<u8>> {
        let Descriptor::Hash(hash) = &self.descriptor else { return None };
        let mut bytes = self.bytes.to_vec();
        let size = HashWire::AT.image_size..HashWire::AT.hash_algorithm;
        bytes[size].copy_from_slice(&image_size.to_be_bytes());
        let start = HashWire::AT.end + hash.partition_name.len() + hash.salt.len();
        if !hash.digest.is_empty() {
            bytes
                .get_mut(start..start + hash.digest.len())?
                .copy_from_slice(digest.get(..hash.digest.len())?);
        }
        Some(bytes)
    }

    /// The bytes of this chain partition descriptor with another key. None if this is another
    /// descriptor.
    pub(super) fn with_key(&self, key: &[u8]) -> Option<Vec<u8>> {
        let Descriptor::ChainPartition(chain) = &self.descriptor else { return None };
        let mut bytes = self.bytes[..ChainWire::AT.end + chain.partition_name.len()].to_vec();
        bytes.extend_from_slice(key);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        let following = (bytes.len() - HEAD) as u64;
        bytes[8..HEAD].copy_from_slice(&following.to_be_bytes());
        let length = u32::try_from(key.len()).ok()?;
        bytes[ChainWire::AT.public_key_len..ChainWire::AT.flags]
            .copy_from_slice(&length.to_be_bytes());
        Some(bytes)
    }
}

//! Descriptors: what a vbmeta image says about partitions.

use std::io::Cursor;

use binrw::{BinRead, binread};

use super::super::{Problem, text_of};

/// Tag and size in front of each descriptor (`AvbDescriptor`).
const HEAD: usize = 16;

/// A descriptor, where it stands and its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Offset in the vbmeta image, in bytes.
    pub offset: usize,
    /// All its bytes, tag and size included.
    pub bytes: &'a [u8],
    /// What it says.
    pub descriptor: Descriptor<'a>,
}

/// What a descriptor says.
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
    /// Words for the kernel command line.
    KernelCmdline {
        /// When they apply: bit 0, hash trees not disabled; bit 1, hash trees disabled.
        flags: u32,
        /// The words.
        cmdline: &'a [u8],
    },
    /// A partition with a vbmeta image of its own, and whose key that must carry.
    ChainPartition(ChainPartition<'a>),
    /// Any other.
    Unknown {
        /// Its tag.
        tag: u64,
    },
}

/// A hash descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hash<'a> {
    /// Bytes of the partition that are hashed, from its start.
    pub image_size: u64,
    /// Name of the hash: `sha256`, `sha512`.
    pub hash_algorithm: &'a [u8],
    /// The partition, without A/B suffix.
    pub partition_name: &'a [u8],
    /// Hashed in front of the image.
    pub salt: &'a [u8],
    /// The digest; empty for one that the device stores itself (a persistent digest).
    pub digest: &'a [u8],
    /// Bit 0: the partition has no A/B suffix.
    pub flags: u32,
}

/// A hash tree descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hashtree<'a> {
    /// Version of dm-verity's format.
    pub dm_verity_version: u32,
    /// Bytes that the tree covers.
    pub image_size: u64,
    /// Where the tree starts, in bytes.
    pub tree_offset: u64,
    /// Bytes of the tree.
    pub tree_size: u64,
    /// Name of the hash.
    pub hash_algorithm: &'a [u8],
    /// The partition, without A/B suffix.
    pub partition_name: &'a [u8],
    /// Hashed in front of each block.
    pub salt: &'a [u8],
    /// The tree's root.
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

#[binread]
#[br(big)]
struct HashWire {
    image_size: u64,
    hash_algorithm: [u8; 32],
    partition_name_len: u32,
    salt_len: u32,
    digest_len: u32,
    flags: u32,
    #[br(temp)]
    _reserved: [u8; 60],
}

#[binread]
#[br(big)]
struct HashtreeWire {
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

#[binread]
#[br(big)]
struct ChainWire {
    rollback_index_location: u32,
    partition_name_len: u32,
    public_key_len: u32,
    flags: u32,
    #[br(temp)]
    _reserved: [u8; 60],
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

/// Offset of `image_size` in a hash descriptor.
const HASH_IMAGE_SIZE: usize = HEAD;
/// Where the partition's name starts in a hash descriptor.
const HASH_NAME: usize = HEAD + 116;
/// Offset of `public_key_len` in a chain partition descriptor.
const CHAIN_KEY_LEN: usize = HEAD + 8;
/// Where the partition's name starts in a chain partition descriptor.
const CHAIN_NAME: usize = HEAD + 76;
/// Offset of `hash_algorithm` in a hash descriptor and in a hash tree descriptor.
const HASH_ALGORITHM: usize = HEAD + 8;
const HASHTREE_ALGORITHM: usize = HEAD + 56;

/// The descriptors in `bytes`, which stand at `at` in the vbmeta image.
///
/// # Errors
/// One whose size is no multiple of 8, or that reaches behind the end, or whose parts reach
/// behind its own end.
pub(super) fn parse_all(bytes: &[u8], at: usize) -> Result<Vec<Entry<'_>>, Problem> {
    let mut entries = Vec::new();
    let mut start = 0;
    while start < bytes.len() {
        let offset = at + start;
        let wrong = |message: String| Problem { field: "vbmeta.descriptor", offset, message };
        let rest = &bytes[start..];
        let (Some(tag), Some(following)) = (number(rest, 0), number(rest, 8)) else {
            return Err(wrong(format!(
                "number {} takes 16 bytes, {} are left",
                entries.len(),
                rest.len()
            )));
        };
        let size = usize::try_from(following).ok().and_then(|size| size.checked_add(HEAD));
        let Some(own) = size.and_then(|size| rest.get(..size)) else {
            return Err(wrong(format!(
                "number {} has num_bytes_following {following}, {} bytes are left",
                entries.len(),
                rest.len() - HEAD
            )));
        };
        if !following.is_multiple_of(8) {
            return Err(wrong(format!(
                "number {} has num_bytes_following {following}, expected a multiple of 8",
                entries.len()
            )));
        }
        let descriptor = parse(tag, own).ok_or_else(|| {
            wrong(format!(
                "number {} ({}): what it says of its parts does not fit its {} bytes",
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

/// Cuts a descriptor's variable part into pieces.
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

/// The fixed fields and what stands behind them.
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
                hash_algorithm: name_in(bytes, HASHTREE_ALGORITHM, &wire.hash_algorithm)?,
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
                hash_algorithm: name_in(bytes, HASH_ALGORITHM, &wire.hash_algorithm)?,
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
pub(super) fn printable(partition: &[u8]) -> String {
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

    /// The partition it is about.
    pub fn partition(&self) -> Option<&[u8]> {
        match self {
            Descriptor::Hashtree(hashtree) => Some(hashtree.partition_name),
            Descriptor::Hash(hash) => Some(hash.partition_name),
            Descriptor::ChainPartition(chain) => Some(chain.partition_name),
            _ => None,
        }
    }
}

impl Entry<'_> {
    /// The bytes of this hash descriptor with another image size and digest, which has the size
    /// of the old one; a persistent digest stays empty. None when it is no hash descriptor.
    pub(super) fn with_digest(&self, image_size: u64, digest: &[u8]) -> Option<Vec<u8>> {
        let Descriptor::Hash(hash) = &self.descriptor else { return None };
        let mut bytes = self.bytes.to_vec();
        bytes[HASH_IMAGE_SIZE..HASH_IMAGE_SIZE + 8].copy_from_slice(&image_size.to_be_bytes());
        let start = HASH_NAME + hash.partition_name.len() + hash.salt.len();
        if !hash.digest.is_empty() {
            bytes
                .get_mut(start..start + hash.digest.len())?
                .copy_from_slice(digest.get(..hash.digest.len())?);
        }
        Some(bytes)
    }

    /// The bytes of this chain partition descriptor with another key. None when it is none.
    pub(super) fn with_key(&self, key: &[u8]) -> Option<Vec<u8>> {
        let Descriptor::ChainPartition(chain) = &self.descriptor else { return None };
        let mut bytes = self.bytes[..CHAIN_NAME + chain.partition_name.len()].to_vec();
        bytes.extend_from_slice(key);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        let following = (bytes.len() - HEAD) as u64;
        bytes[8..HEAD].copy_from_slice(&following.to_be_bytes());
        let length = u32::try_from(key.len()).ok()?;
        bytes[CHAIN_KEY_LEN..CHAIN_KEY_LEN + 4].copy_from_slice(&length.to_be_bytes());
        Some(bytes)
    }
}

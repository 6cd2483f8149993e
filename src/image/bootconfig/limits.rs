//! The kernel's limits for a bootconfig.

/// The limits for a bootconfig text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Size in bytes (`XBC_DATA_MAX` without the terminating NUL).
    pub bytes: usize,
    /// Number of nodes: one for each word of a key and for each value (`XBC_NODE_MAX`).
    pub nodes: usize,
}

impl Limits {
    /// The limits of current kernels: 32 KiB less two bytes, and 8192 nodes.
    pub const KERNEL: Limits = Limits { bytes: 32 * 1024 - 2, nodes: 8192 };
    /// Bytes of text that are read at all: far more than any kernel takes, so that a text that is a little
    /// too large can be edited.
    pub const READ: usize = 256 * 1024;
    /// The node limit of kernels before 5.19.
    pub const NODES_OF_OLD_KERNELS: usize = 1024;
    /// Size of a whole key including dots, in bytes (`XBC_KEYLEN_MAX` without the NUL).
    pub(crate) const KEY_BYTES: usize = 255;
    /// Number of words in a key, and nesting depth of braces (`XBC_DEPTH_MAX`).
    pub(crate) const DEPTH: usize = 16;
    /// Number of words in a key that the kernel can read out again: at `XBC_DEPTH_MAX` words
    /// `xbc_node_compose_key_after` fails, and what comes after the key is lost.
    pub(crate) const KEY_WORDS: usize = Self::DEPTH - 1;
}

//! What the kernel takes of a bootconfig.

/// What a text must not exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes (`XBC_DATA_MAX` less the NUL that ends it).
    pub bytes: usize,
    /// Nodes: one a word of a key, one a value (`XBC_NODE_MAX`).
    pub nodes: usize,
}

impl Limits {
    /// The kernel's own: 32 KiB less two bytes, and 8192 nodes.
    pub const KERNEL: Limits = Limits { bytes: 32 * 1024 - 2, nodes: 8192 };
    /// Nodes that every kernel with bootconfig takes; those before 5.19 refuse more.
    pub const NODES_OF_OLD_KERNELS: usize = 1024;
    /// Bytes of a whole key, dots included (`XBC_KEYLEN_MAX` less its NUL).
    pub const KEY_BYTES: usize = 255;
    /// Words of a key, and braces within braces (`XBC_DEPTH_MAX`).
    pub const DEPTH: usize = 16;
}

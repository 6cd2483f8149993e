//! The options for rc files.

/// The options for rc files.
#[derive(Clone, Debug, Default)]
pub struct RcOptions {
    /// The user's own, in order.
    pub files: Vec<RcFile>,
    /// Start the guests with `autostart = true` after boot.
    pub autostart: bool,
    /// The SELinux context of that service; if None, the boot flow decides.
    pub seclabel: Option<String>,
}

/// An rc file of the user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RcFile {
    /// File name without directories.
    pub name: String,
    /// Contents.
    pub bytes: Vec<u8>,
}

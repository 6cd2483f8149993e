//! What to do with rc files.

/// What a patch is to do with rc files.
#[derive(Clone, Debug, Default)]
pub struct RcOptions {
    /// The user's own, in order.
    pub files: Vec<RcFile>,
    /// Start the guests that are marked so once the system is up.
    pub autostart: bool,
    /// The SELinux context of the service for that; chosen by the boot flow when None.
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

//! Kernel versions.

use std::fmt;

/// The three numbers a kernel release begins with; missing ones are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KernelVersion {
    /// `6` of 6.1.192.
    pub major: u32,
    /// `1` of 6.1.192.
    pub minor: u32,
    /// `192` of 6.1.192.
    pub patch: u32,
}

impl KernelVersion {
    /// The version that a release (`6.1.192-android14-11-gabc`, `6.12-rc3`, `5.15`) begins with.
    /// None unless there are a major and a minor number.
    pub fn parse(release: &str) -> Option<Self> {
        let end = release.find(|c: char| !c.is_ascii_digit() && c != '.');
        let mut numbers = release[..end.unwrap_or(release.len())].split('.');
        let major = numbers.next()?.parse().ok()?;
        let minor = numbers.next()?.parse().ok()?;
        let patch = numbers.next().map_or(Some(0), |patch| patch.parse().ok())?;
        Some(KernelVersion { major, minor, patch })
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)?;
        if self.patch != 0 {
            write!(f, ".{}", self.patch)?;
        }
        Ok(())
    }
}

//! The profiles that come with the programs.

use super::{Profile, ProfileError};

/// A built-in profile.
#[derive(Clone, Copy, Debug)]
pub struct Builtin {
    /// Its name.
    pub name: &'static str,
    text: &'static str,
}

/// Every built-in profile, the default first.
pub const BUILTIN: &[Builtin] = &[
    Builtin { name: "passthrough", text: include_str!("../../kernel-configs/passthrough.toml") },
    Builtin { name: "kvm-only", text: include_str!("../../kernel-configs/kvm-only.toml") },
    Builtin { name: "hardened", text: include_str!("../../kernel-configs/hardened.toml") },
];

impl Builtin {
    /// Read it.
    ///
    /// # Errors
    /// None that can occur: the build script has read it.
    pub fn read(self) -> Result<Profile, ProfileError> {
        Profile::parse(self.text, self.name)
    }
}

impl Profile {
    /// The built-in profile of this name.
    ///
    /// # Errors
    /// [`ProfileError::NoSuchProfile`].
    pub fn builtin(name: &str) -> Result<Self, ProfileError> {
        match BUILTIN.iter().find(|builtin| builtin.name == name) {
            Some(builtin) => builtin.read(),
            None => Err(ProfileError::NoSuchProfile(name.to_owned())),
        }
    }
}

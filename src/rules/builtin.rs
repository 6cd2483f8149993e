//! The profiles that come with the programs, as texts.

/// A built-in profile.
#[derive(Clone, Copy, Debug)]
pub struct Builtin {
    /// Its name.
    pub name: &'static str,
    /// What is in its file.
    pub text: &'static str,
}

/// Every built-in profile, the default first.
pub const BUILTIN: &[Builtin] = &[
    Builtin { name: "passthrough", text: include_str!("../../kernel-configs/passthrough.toml") },
    Builtin { name: "kvm-only", text: include_str!("../../kernel-configs/kvm-only.toml") },
    Builtin { name: "hardened", text: include_str!("../../kernel-configs/hardened.toml") },
];

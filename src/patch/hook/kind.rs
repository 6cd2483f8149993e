//! The kinds of hooks.

use serde::{Serialize, Serializer};

/// How the kernel starts the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookKind {
    /// `rdinit=` on the command line names it.
    Rdinit,
    /// It takes the path of the init program, which it restores and executes.
    Init,
}

impl HookKind {
    /// The name in reports and options.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            HookKind::Rdinit => "rdinit",
            HookKind::Init => "init",
        }
    }
}

impl Serialize for HookKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Which hook to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HookChoice {
    /// `rdinit=` unless the images show that it would not reach the kernel.
    #[default]
    Auto,
    /// `rdinit=` or a refusal.
    Rdinit,
    /// The path of the init program.
    Init,
}

/// A row of [`HookChoice::TABLE`].
#[derive(Clone, Copy, Debug)]
pub struct HookRow {
    /// The choice.
    pub choice: HookChoice,
    /// Its name in options.
    pub name: &'static str,
    /// An explanation for help texts.
    pub help: &'static str,
}

impl HookChoice {
    /// All choices.
    pub const TABLE: &[HookRow] = &[
        HookRow {
            choice: HookChoice::Auto,
            name: "auto",
            help: "rdinit=, or /init if the images show that rdinit= would not reach the kernel",
        },
        HookRow {
            choice: HookChoice::Rdinit,
            name: HookKind::Rdinit.as_str(),
            help: "By rdinit= on the command line; nothing in the ramdisk is shadowed",
        },
        HookRow {
            choice: HookChoice::Init,
            name: HookKind::Init.as_str(),
            help: "The runtime takes the path /init and restores the original before it runs: for \
                   kernels and bootloaders that ignore the command line in the images",
        },
    ];

    /// The choice of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::TABLE.iter().find(|row| row.name == name).map(|row| row.choice)
    }
}

//! What does not fit together among the facts, and what a profile says of them.

use crate::bootset::{Incomplete, Origin, Provenance};
use crate::kernel::config::Duplicate;
use crate::kernel::{Arch, KernelVersion};
use crate::rules::Text;

/// Something about a kernel that no rule judges.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Note {
    /// The config is only a part of one.
    #[error("{provenance}: {what}")]
    Incomplete {
        /// The config.
        provenance: Provenance,
        /// What it is.
        what: Incomplete,
    },
    /// The config is for another architecture.
    #[error("the config is for {config}, but the kernel is for {kernel}")]
    OtherArchitecture {
        /// That of the config.
        config: Arch,
        /// That of the kernel.
        kernel: Arch,
    },
    /// The config is of another version.
    #[error("the config is of Linux {config}, but the kernel is {kernel}")]
    OtherVersion {
        /// That of the config.
        config: KernelVersion,
        /// That of the kernel.
        kernel: KernelVersion,
    },
    /// Symbols are set twice in the config.
    #[error(
        "{provenance}: {} is set again in line {}, which counts{}", .first.symbol, .first.line,
        match others { 0 => String::new(), others => format!("; {others} more lines do the same") }
    )]
    Duplicate {
        /// The config.
        provenance: Provenance,
        /// The first symbol, and where it is set again.
        first: Duplicate,
        /// How many such lines there are beside it.
        others: usize,
    },
    /// Lines of the config that set nothing.
    #[error("{provenance}: {} line(s) are not settings, the first is {first}", .others + 1)]
    StrangeLines {
        /// The config.
        provenance: Provenance,
        /// The number of the first one.
        first: usize,
        /// How many there are beside it.
        others: usize,
    },
    /// What the profile says of such a kernel.
    #[error("{text}")]
    Profile {
        /// What the verdict names for it: a hypervisor that is not plain KVM.
        hypervisor: Option<Text>,
        /// The text.
        text: Text,
    },
    /// What the profile says of a kernel parameter that is given.
    #[error("{name}{}{value} (from {origin}): {text}", if .value.is_empty() { "" } else { "=" })]
    Parameter {
        /// Its name.
        name: Text,
        /// Its value; empty without one.
        value: String,
        /// Where it is given.
        origin: Origin,
        /// What the verdict names for it.
        hypervisor: Option<Text>,
        /// The text.
        text: Text,
    },
}

impl Note {
    /// The hypervisor that the verdict names for it.
    pub(crate) fn hypervisor(&self) -> Option<&str> {
        match self {
            Note::Profile { hypervisor, .. } | Note::Parameter { hypervisor, .. } => {
                hypervisor.as_deref()
            }
            Note::Incomplete { .. }
            | Note::OtherArchitecture { .. }
            | Note::OtherVersion { .. }
            | Note::Duplicate { .. }
            | Note::StrangeLines { .. } => None,
        }
    }
}

//! Where facts about a kernel were read.

use crate::rules::Confidence;

/// Where a value was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// The config embedded in a kernel.
    Ikconfig {
        /// The name of the kernel's file (`boot.img`).
        what: String,
        /// Offset of `IKCFG_ST` in the decompressed kernel, in bytes.
        offset: u64,
    },
    /// A config file by this name.
    File(String),
    /// The kernel command line.
    Cmdline,
    /// Names in the kernel's own symbol table.
    Kallsyms {
        /// The name of the kernel's file.
        what: String,
        /// The number of names.
        count: usize,
        /// How certain it is.
        confidence: Confidence,
    },
    /// Nothing is known.
    NotKnown,
}

impl std::fmt::Display for Provenance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Provenance::Ikconfig { what, offset } => {
                write!(f, "IKCONFIG at offset {offset:#x} of the unpacked kernel in {what}")
            }
            Provenance::File(name) => write!(f, "config file {name}"),
            Provenance::Cmdline => f.write_str("kernel command line"),
            Provenance::Kallsyms { what, count, confidence } => {
                let sure = confidence.name();
                write!(f, "{count} names in the symbol table of the kernel in {what} ({sure})")
            }
            Provenance::NotKnown => f.write_str("not known"),
        }
    }
}

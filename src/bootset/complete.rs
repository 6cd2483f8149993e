//! Whether a config file is a whole `.config`, as `make` leaves it, or only a part of one.

use std::fmt;

use crate::kernel::KernelConfig;

/// A symbol near the top of every `.config`: it depends on nothing and has a default, so that
/// `make savedefconfig` leaves it out and nobody writes it into a fragment.
const FIRST: &str = "INIT_ENV_ARG_LIMIT";
/// The same near the end, in the menu "Kernel hacking": the one since Linux 3.14, the other until 6.
const LAST: [&str; 2] = ["PANIC_TIMEOUT", "PANIC_ON_OOPS_VALUE"];

/// Why a config is not a whole one. What such a config does not mention is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incomplete {
    /// A defconfig, or a fragment to merge.
    Fragment,
    /// Its end is missing.
    Truncated,
}

impl Incomplete {
    /// What `config` is; None for a whole one.
    pub(super) fn of(config: &KernelConfig) -> Option<Self> {
        let first = config.get(FIRST).is_some();
        let last = LAST.iter().any(|symbol| config.get(symbol).is_some());
        match (first, last) {
            (true, true) => None,
            (true, false) => Some(Incomplete::Truncated),
            (false, _) => Some(Incomplete::Fragment),
        }
    }
}

impl fmt::Display for Incomplete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Incomplete::Fragment => {
                "it is not a complete config, but a defconfig or a fragment: what it does not mention \
                 is unknown. make olddefconfig in the kernel's tree makes a complete one of it"
            }
            Incomplete::Truncated => {
                "it is not a complete config, its end is missing: what it does not mention is unknown"
            }
        })
    }
}

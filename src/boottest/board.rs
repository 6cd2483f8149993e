//! The machines and the devices that stand in, from `boards.toml`.

use std::sync::OnceLock;

use serde::Deserialize;

use crate::kernel::Arch;

const BOARDS: &str = include_str!("boards.toml");

/// A machine of QEMU.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Board {
    /// The architecture of its kernels.
    pub arch: Arch,
    /// For people.
    pub name: String,
    /// QEMU's program.
    pub qemu: String,
    /// Debian's package with that program.
    pub package: String,
    pub(super) machine: Vec<String>,
    pub(super) iommu: Vec<String>,
    pub(super) console: String,
    pub(super) early: String,
}

/// A device that stands in for one of the user's.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StandIn {
    pub id: String,
    pub model: String,
    #[serde(default)]
    pub drive: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Boards {
    pub always: Vec<String>,
    pub clock: Vec<String>,
    pub board: Vec<Board>,
    pub stand_in: Vec<StandIn>,
}

/// All of them.
pub(super) fn boards() -> &'static Boards {
    static READ: OnceLock<Boards> = OnceLock::new();
    READ.get_or_init(|| {
        // A test reads the file.
        toml::from_str(BOARDS).unwrap_or_default()
    })
}

impl Board {
    /// The machine for a kernel.
    pub(super) fn of(arch: Arch) -> Option<&'static Board> {
        boards().board.iter().find(|board| board.arch == arch)
    }
}

#[cfg(test)]
mod tests {
    use super::{BOARDS, Board, Boards};
    use crate::bootfile::DeviceSpec;
    use crate::kernel::Arch;

    #[test]
    fn the_table_is_valid() {
        let boards: Boards = toml::from_str(BOARDS).unwrap();
        for stand_in in boards.stand_in {
            assert!(matches!(stand_in.id.parse(), Ok(DeviceSpec::Id { .. })), "{}", stand_in.id);
        }
        assert!(Board::of(Arch::Arm64).is_some() && Board::of(Arch::X86_64).is_some());
    }
}

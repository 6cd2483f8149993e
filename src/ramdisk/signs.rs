//! The kinds of ramdisks, the table of signs that show each, and the search for them.

use std::io;
use std::sync::LazyLock;

use memchr::memmem;
use serde::{Deserialize, Serialize, Serializer};

use crate::root_manager::{Manager, patched_ramdisks};

/// What sort of ramdisk. A ramdisk may be several: a recovery's is also two-stage, a patched one
/// also what it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RamdiskKind {
    /// A root manager has patched it, and its `init` is the manager's.
    #[serde(skip_deserializing)]
    Patched(Manager),
    /// It has the recovery program.
    Recovery,
    /// Two-stage init (2SI): `init` mounts the system partition and goes on there. rc files in
    /// the ramdisk are never read.
    TwoStage,
    /// The ramdisk is Android's root file system; its `init.rc` is the one that is read.
    RootfsLegacy,
    /// A Linux distribution's initramfs (Debian, dracut, mkinitcpio, postmarketOS, buildroot).
    LinuxInitramfs,
    /// A piece of vendor_boot's: modules and first-stage files, without an `init`.
    VendorFragment,
    /// No entries.
    Empty,
    /// None of the above.
    Unknown,
}

impl RamdiskKind {
    /// As it is written in JSON and in `signs.toml`, and for people.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            RamdiskKind::Patched(manager) => {
                manager.ramdisk().map_or(("", ""), |ramdisk| (ramdisk.kind, ramdisk.title))
            }
            RamdiskKind::Recovery => ("recovery", "recovery"),
            RamdiskKind::TwoStage => ("two_stage", "two-stage init"),
            RamdiskKind::RootfsLegacy => ("rootfs_legacy", "legacy rootfs"),
            RamdiskKind::LinuxInitramfs => ("linux_initramfs", "Linux initramfs"),
            RamdiskKind::VendorFragment => ("vendor_fragment", "vendor ramdisk fragment"),
            RamdiskKind::Empty => ("empty", "empty"),
            RamdiskKind::Unknown => ("unknown", "unknown"),
        }
    }
}

impl std::fmt::Display for RamdiskKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.names().1)
    }
}

impl Serialize for RamdiskKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.names().0)
    }
}

/// The table; a test reads it.
const SIGNS: &str = include_str!("signs.toml");

static BUILTIN: LazyLock<Vec<Sign>> =
    LazyLock::new(|| toml::from_str::<File>(SIGNS).map(|file| file.sign).unwrap_or_default());

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    sign: Vec<Sign>,
}

/// One entry of the table; see there.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sign {
    pub kind: RamdiskKind,
    maker: Option<String>,
    renewed_by: Option<String>,
    #[serde(default)]
    paths: Vec<String>,
    #[serde(default)]
    below: Vec<String>,
    text: Option<String>,
    #[serde(default)]
    file: bool,
    #[serde(default)]
    originals: bool,
}

impl Sign {
    /// The program that makes such a ramdisk.
    pub(crate) fn maker(&'static self) -> Option<&'static str> {
        self.maker.as_deref()
    }

    /// What the file's data must contain.
    pub(crate) fn text(&'static self) -> Option<&'static str> {
        self.text.as_deref()
    }
}

/// What rebuilds a ramdisk of this maker, for people.
pub(crate) fn renewed_by(maker: &str) -> Option<&'static str> {
    let of = |sign: &&Sign| sign.maker.as_deref() == Some(maker);
    BUILTIN.iter().find(of)?.renewed_by.as_deref()
}

/// All signs, by number.
#[derive(Clone, Copy)]
pub(super) struct Signs(&'static [Sign]);

impl Signs {
    pub(crate) fn builtin() -> Self {
        Signs(&BUILTIN)
    }

    pub(crate) fn get(&self, number: usize) -> &'static Sign {
        &self.0[number]
    }

    /// The signs that a path is by itself.
    pub(crate) fn of_path(&self, path: &str, directory: bool) -> impl Iterator<Item = usize> {
        let holds = move |sign: &Sign| {
            let named = sign.paths.iter().any(|known| known == path)
                || sign.below.iter().any(|start| path.starts_with(start.as_str()));
            sign.text.is_none() && named && !(sign.file && directory)
        };
        self.0.iter().enumerate().filter(move |(_, sign)| holds(sign)).map(|(number, _)| number)
    }

    /// The signs that are in the data of the file at this path.
    fn texts(&self, path: &str) -> impl Iterator<Item = (usize, &'static str)> {
        // A packed one is not searched as it is.
        let is_original = patched_ramdisks()
            .filter_map(|(_, ramdisk)| ramdisk.original(path))
            .any(|original| original.compression.is_none());
        let of_path = move |sign: &Sign| {
            sign.paths.iter().any(|known| known == path) || sign.originals && is_original
        };
        let signs = self.0.iter().enumerate().filter(move |(_, sign)| of_path(sign));
        signs.filter_map(|(number, sign)| Some((number, sign.text()?)))
    }

    /// Whether there is something to look for in the file at this path.
    pub(crate) fn look_into(&self, path: &str) -> bool {
        self.texts(path).next().is_some()
    }
}

/// A writer that looks for a file's texts in what goes through it.
pub(super) struct Search {
    /// The end of what came before, one byte shorter than the longest text, and the new bytes.
    window: Vec<u8>,
    keep: usize,
    texts: Vec<(usize, &'static str, bool)>,
}

impl Search {
    /// For the file at this path.
    pub(crate) fn new(signs: &Signs, path: &str) -> Self {
        Self::of(signs.texts(path))
    }

    /// For an `init` that a root manager keeps.
    pub(crate) fn of_original(signs: &Signs) -> Self {
        let originals = signs.0.iter().enumerate().filter(|(_, sign)| sign.originals);
        Self::of(originals.filter_map(|(number, sign)| Some((number, sign.text()?))))
    }

    fn of(texts: impl Iterator<Item = (usize, &'static str)>) -> Self {
        let texts: Vec<_> = texts.map(|(number, text)| (number, text, false)).collect();
        let longest = texts.iter().map(|(_, text, _)| text.len()).max().unwrap_or_default();
        Search { window: Vec::new(), keep: longest.saturating_sub(1), texts }
    }

    /// Look into these bytes alone.
    pub(crate) fn window(&mut self, bytes: &[u8]) {
        for (_, text, found) in &mut self.texts {
            *found |= memmem::find(bytes, text.as_bytes()).is_some();
        }
    }

    /// The numbers of the signs that were found.
    pub(crate) fn found(&self) -> impl Iterator<Item = usize> {
        self.texts.iter().filter(|(_, _, found)| *found).map(|(number, ..)| *number)
    }
}

impl io::Write for Search {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut window = std::mem::take(&mut self.window);
        window.extend_from_slice(bytes);
        self.window(&window);
        window.drain(..window.len().saturating_sub(self.keep));
        self.window = window;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read() {
        let file: File = toml::from_str(SIGNS).unwrap_or_else(|error| panic!("{error}"));
        for sign in file.sign {
            let kind = format!("kind = \"{}\"", sign.kind.names().0);
            assert!(SIGNS.contains(&kind), "{sign:?}: written as it is read");
            assert!(!sign.paths.is_empty() || !sign.below.is_empty(), "{sign:?}");
            assert!(sign.text.is_none() || sign.below.is_empty(), "{sign:?}: text is for paths");
        }
    }
}

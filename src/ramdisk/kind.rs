//! What sort of ramdisk this is. A pure function of entry names and, where names do not tell,
//! of what is in `init`.
//!
//! The tests are those of Magisk's and KernelSU's own boot code and of AOSP's first-stage init.

use memchr::memmem;

use super::cpio::{Entry, FileType};
use super::{Entries, Error, Limits, normalise};

/// What sort of ramdisk. A ramdisk may be several: a recovery's is also two-stage, a patched one
/// also what it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RamdiskKind {
    /// Magisk has patched it: its `init` is magiskinit, which honours `overlay.d/*.rc`.
    MagiskPatched,
    /// KernelSU has patched it: its `init` loads `kernelsu.ko`, then runs `init.real`.
    KernelSuPatched,
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
    /// The name for reports.
    pub fn as_str(self) -> &'static str {
        match self {
            RamdiskKind::MagiskPatched => "Magisk-patched",
            RamdiskKind::KernelSuPatched => "KernelSU-patched",
            RamdiskKind::Recovery => "recovery",
            RamdiskKind::TwoStage => "two-stage init",
            RamdiskKind::RootfsLegacy => "legacy rootfs",
            RamdiskKind::LinuxInitramfs => "Linux initramfs",
            RamdiskKind::VendorFragment => "vendor ramdisk fragment",
            RamdiskKind::Empty => "empty",
            RamdiskKind::Unknown => "unknown",
        }
    }
}

impl std::fmt::Display for RamdiskKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// One kind and what shows it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// The kind.
    pub kind: RamdiskKind,
    /// The entry that shows it, or for [`RamdiskKind::Empty`] and [`RamdiskKind::Unknown`] what
    /// was not there.
    pub evidence: String,
}

/// Everything a ramdisk is, most telling first; never empty.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(transparent)]
pub struct Kinds(Vec<Finding>);

impl Kinds {
    /// The most telling finding.
    pub fn primary(&self) -> &Finding {
        &self.0[0]
    }

    /// All findings.
    pub fn findings(&self) -> &[Finding] {
        &self.0
    }

    /// Is this one of the kinds?
    pub fn has(&self, kind: RamdiskKind) -> bool {
        self.0.iter().any(|finding| finding.kind == kind)
    }
}

/// Classify by entry names (`/` or `./` before them does not matter) and, if known, the bytes of
/// the Android init program: `init`, or for a patched ramdisk the original that was put aside.
pub fn classify<'n>(names: impl IntoIterator<Item = &'n [u8]>, init: Option<&[u8]>) -> Kinds {
    let mut classifier = Classifier::default();
    for name in names {
        classifier.name(name, false);
    }
    if init.is_some_and(|init| memmem::find(init, SELINUX_SETUP).is_some()) {
        classifier.see(RamdiskKind::TwoStage, "init contains selinux_setup");
    }
    classifier.finish()
}

/// Classify a ramdisk, reading `init` and its kept originals where they stand in it.
///
/// # Errors
/// As [`super::Ramdisk::parse`].
pub fn classify_ramdisk(ramdisk: &[u8], limits: Limits) -> Result<Kinds, Error> {
    let mut entries = Entries::new(ramdisk, limits);
    let mut classifier = Classifier::default();
    while let Some(entry) = entries.next_entry()? {
        if entry.is_trailer() {
            continue;
        }
        let name = normalise(entry.path());
        classifier.name(&name, entry.file_type() == FileType::Directory);
        if is_init(&entry, &name) && contains_setup(&mut entries)? {
            let evidence = format!("{} contains selinux_setup", name.escape_ascii());
            classifier.see(RamdiskKind::TwoStage, &evidence);
        }
    }
    Ok(classifier.finish())
}

/// The argument with which first-stage init starts the second.
const SELINUX_SETUP: &[u8] = b"selinux_setup";

fn is_init(entry: &Entry, name: &[u8]) -> bool {
    let candidate: [&[u8]; 3] = [b"init", b"init.real", b".backup/init"];
    entry.file_type() == FileType::Regular && candidate.contains(&name)
}

/// Search the current entry's data, a window at a time.
fn contains_setup(entries: &mut Entries<'_>) -> Result<bool, Error> {
    let mut search = Search { window: Vec::new(), found: false };
    entries.copy_data(&mut search)?;
    Ok(search.found)
}

/// A writer that looks for [`SELINUX_SETUP`] in what goes through it.
struct Search {
    /// The end of what came before, one byte shorter than the needle, and the new bytes.
    window: Vec<u8>,
    found: bool,
}

impl std::io::Write for Search {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.window.extend_from_slice(bytes);
        self.found |= memmem::find(&self.window, SELINUX_SETUP).is_some();
        let keep = self.window.len().saturating_sub(SELINUX_SETUP.len() - 1);
        self.window.drain(..keep);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Collects evidence name by name; holds the first piece for every kind.
#[derive(Default)]
struct Classifier {
    findings: Vec<Finding>,
    entries: bool,
    init: bool,
    init_rc: bool,
    kernelsu: [bool; 2],
}

impl Classifier {
    /// Note the first evidence for a kind.
    fn see(&mut self, kind: RamdiskKind, evidence: &str) {
        if !self.findings.iter().any(|finding| finding.kind == kind) {
            self.findings.push(Finding { kind, evidence: evidence.into() });
        }
    }

    fn name(&mut self, name: &[u8], directory: bool) {
        let name = normalise(name);
        let Ok(name) = str::from_utf8(&name) else {
            self.entries = true;
            return;
        };
        // `.` is the root directory.
        self.entries |= !name.is_empty();
        self.init |= name == "init";
        self.init_rc |= name == "init.rc";
        self.kernelsu[0] |= name == "init.real";
        self.kernelsu[1] |= name == "kernelsu.ko";
        if let Some(kind) = kind_of(name, directory) {
            self.see(kind, name);
        }
    }

    fn finish(mut self) -> Kinds {
        use RamdiskKind::{KernelSuPatched, RootfsLegacy, TwoStage, VendorFragment};
        if self.kernelsu == [true; 2] {
            self.see(KernelSuPatched, "init.real, kernelsu.ko");
        }
        if self.init {
            self.findings.retain(|finding| finding.kind != VendorFragment);
            let two_stage = self.findings.iter().any(|finding| finding.kind == TwoStage);
            if self.init_rc && !two_stage {
                self.see(RootfsLegacy, "init.rc");
            }
        } else {
            // Files for a first stage that another ramdisk brings.
            let staged = self.findings.iter().find(|finding| finding.kind == TwoStage).cloned();
            if let Some(staged) = staged {
                self.findings.retain(|finding| finding.kind != TwoStage);
                self.see(VendorFragment, &staged.evidence);
            }
        }
        if self.findings.is_empty() {
            let (kind, evidence) = match (self.entries, self.init) {
                (false, _) => (RamdiskKind::Empty, "no entries"),
                (true, true) => (RamdiskKind::Unknown, "init, and nothing that tells whose"),
                (true, false) => (RamdiskKind::Unknown, "no init and no modules"),
            };
            self.see(kind, evidence);
        }
        self.findings.sort_by_key(|finding| finding.kind);
        Kinds(self.findings)
    }
}

/// What one name shows by itself.
fn kind_of(name: &str, directory: bool) -> Option<RamdiskKind> {
    use RamdiskKind::{LinuxInitramfs, MagiskPatched, Recovery, TwoStage, VendorFragment};
    let top = name.split('/').next().unwrap_or_default();
    Some(match name {
        ".backup/.magisk" => MagiskPatched,
        "sbin/recovery" | "system/bin/recovery" => Recovery,
        "second_stage_resources" | "apex" | "system/bin/init" => TwoStage,
        "etc/initrd-release"
        | "usr/lib/initrd-release"
        | "init_functions"
        | "init_functions.sh"
        | "usr/share/misc/source_deviceinfo"
        | "conf/initramfs.conf"
        | "conf/arch.conf"
        | "scripts/functions"
        | "bin/busybox"
        | "usr/bin/busybox" => LinuxInitramfs,
        _ if name.starts_with("overlay.d/sbin/magisk") => MagiskPatched,
        _ if top == "first_stage_ramdisk" => TwoStage,
        _ if name.starts_with("usr/lib/dracut") || name.starts_with("lib/dracut") => LinuxInitramfs,
        _ if !directory && name.starts_with("lib/modules/") => VendorFragment,
        _ => return None,
    })
}

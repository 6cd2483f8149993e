//! rc files of Android's init, in the place where the boot flow of the ramdisk honours them.
//!
//! | ramdisk | what init reads of it |
//! |---|---|
//! | legacy rootfs | `/init.rc` and what it imports: the segment shadows it with one `import` line more |
//! | Magisk-patched | `overlay.d/*.rc`, which magiskinit puts behind `init.rc`; what is in `overlay.d/sbin` stands below `${MAGISKTMP}` then (`native/src/init/rootdir.cpp`) |
//! | any other | nothing |
//!
//! In a boot that is to be left alone PID 1 puts the originals back.

use serde::Serialize;

use super::segment::SegmentFile;
use super::{Error, PlannedEdit};
use crate::bootfile::ORIGINALS;
use crate::cmdline::Cmdline;
use crate::image::{Header, Image, ImageKind, OsVersion};
use crate::ramdisk::classify_ramdisk;
use crate::ramdisk::cpio::{self, FileType};
use crate::ramdisk::kind::Kinds;
use crate::ramdisk::tree::{Tree, read_entry, read_file};
use crate::ramdisk::{Limits, RamdiskKind};
use crate::rc::{self, import::add_import};

/// Our own rc file on a legacy rootfs.
const INIT_RC: &str = "/init.vfioboot.rc";
/// Our own rc file for magiskinit.
const OVERLAY_RC: &str = "/overlay.d/vfioboot.rc";
/// Where magiskinit takes files from that its tmpfs is to have.
const OVERLAY_SBIN: &str = "/overlay.d/sbin";
/// The name of the runtime as a command, and of its service: init of Android 6 and earlier takes
/// no more than 16 characters.
const NAME: &str = "vfiorun";
/// The domain that Magisk's policy makes for itself, unconfined.
const MAGISK_LABEL: &str = "u:r:magisk:s0";
/// AOSP's `su.te`: a domain with rules in userdebug and eng builds only.
const SU_LABEL: &str = "u:r:su:s0";
/// The last Android that can have a legacy rootfs: 10 requires system-as-root.
const LAST_LEGACY: u32 = 9;
/// Far more than any init.rc has.
const MAX_INIT_RC: u64 = 4 << 20;

/// What a patch is to do with rc files.
#[derive(Clone, Debug, Default)]
pub struct RcOptions {
    /// The user's own, in order.
    pub files: Vec<RcFile>,
    /// Start the guests that are marked so once the system is up.
    pub autostart: bool,
    /// The SELinux context of the service for that; chosen by the boot flow when None.
    pub seclabel: Option<String>,
}

/// An rc file of the user's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RcFile {
    /// File name without directories.
    pub name: String,
    /// Contents.
    pub bytes: Vec<u8>,
}

/// Where rc files are honoured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RcPlace {
    /// `/init.rc` of a legacy rootfs.
    InitRc,
    /// `overlay.d` of a Magisk-patched ramdisk.
    MagiskOverlay,
}

/// rc files in a patch.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RcPlan {
    /// Where they go; None where they would be inert.
    pub place: Option<RcPlace>,
    /// Why there, or why not; empty when nobody asked.
    pub reason: String,
    /// The SELinux context of the service that starts guests; None when there is no such service.
    pub seclabel: Option<String>,
    /// What is put in or shadowed.
    pub files: Vec<PlannedFile>,
    /// What may go wrong, for people.
    #[serde(skip)]
    pub(super) warnings: Vec<String>,
    /// For the segment.
    #[serde(skip)]
    pub(super) segment: Vec<SegmentFile>,
    /// For the segment: paths and modes.
    #[serde(skip)]
    pub(super) directories: Vec<(String, u32)>,
    /// More names of the runtime.
    #[serde(skip)]
    pub(super) runtime_names: Vec<String>,
    /// For the boot file.
    #[serde(skip)]
    pub(super) shadows: Vec<String>,
}

/// A file that the segment puts into the ramdisk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedFile {
    /// Its path.
    pub path: String,
    /// What it is.
    pub what: String,
    /// Whether the ramdisk has a file there, which is shadowed.
    pub shadows: bool,
}

/// Decide what becomes of rc files in `ramdisk`, which the patch of the set changes. `kinds` are its
/// own, where somebody has read it before.
///
/// # Errors
/// [`Error::RcInert`] for files of the user's that init would never read, [`Error::RcName`],
/// [`Error::RcTaken`].
pub(super) fn resolve(
    images: &[Image<'_>],
    ramdisk: &[u8],
    kinds: Option<&Kinds>,
    options: &RcOptions,
) -> Result<RcPlan, Error> {
    if !options.autostart && options.files.is_empty() {
        return Ok(RcPlan::default());
    }
    check_names(&options.files)?;
    let kinds = match kinds {
        Some(kinds) => kinds.clone(),
        None => classify_ramdisk(ramdisk, Limits::default())?,
    };
    let inert = |reason: String| match options.files.first() {
        Some(file) => Err(Error::RcInert { file: file.name.clone(), reason }),
        None => Ok(RcPlan { reason, ..RcPlan::default() }),
    };
    let staged = images
        .iter()
        .any(|image| matches!(image.kind(), ImageKind::VendorBoot | ImageKind::InitBoot));
    let place = match place(&kinds, staged) {
        Ok(place) => place,
        Err(reason) => return inert(reason),
    };
    let warnings = check_files(&options.files, target(place, images))?;
    let mut builder = Builder {
        ramdisk,
        tree: Tree::read(ramdisk, Limits::default())?,
        plan: RcPlan { place: Some(place), warnings, ..RcPlan::default() },
    };
    match place {
        RcPlace::MagiskOverlay => builder.magisk(&kinds, options)?,
        RcPlace::InitRc => match builder.init_rc()? {
            Ok(init_rc) => builder.legacy(init_rc, images, options)?,
            Err(reason) => return inert(reason),
        },
    }
    Ok(builder.plan)
}

/// Where the boot flow honours rc files, or why nowhere. `staged`: the set has images of devices
/// that were launched with Android 11 or later.
fn place(kinds: &Kinds, staged: bool) -> Result<RcPlace, String> {
    if kinds.has(RamdiskKind::MagiskPatched) {
        return Ok(RcPlace::MagiskOverlay);
    }
    let two_stage = staged
        || [RamdiskKind::TwoStage, RamdiskKind::VendorFragment].into_iter().any(|k| kinds.has(k));
    let finding = kinds.primary();
    let because = format!("{}: {}", finding.kind, finding.evidence);
    Err(if kinds.has(RamdiskKind::KernelSuPatched) {
        format!(
            "{because}. KernelSU reads no rc files from the ramdisk. Guests are started by the \
             module that vfioboot module makes"
        )
    } else if kinds.has(RamdiskKind::Recovery) && !two_stage {
        format!("{because}. Its init.rc is read in recovery mode only, which is left alone")
    } else if two_stage {
        "two-stage init: it goes on in the system partition and reads rc files only there \
         (/system/etc/init and its like), never from this ramdisk. Guests are started by the module \
         that vfioboot module makes for Magisk, KernelSU and APatch"
            .to_owned()
    } else if kinds.has(RamdiskKind::RootfsLegacy) {
        return Ok(RcPlace::InitRc);
    } else {
        format!(
            "{because}. There is no init.rc, so it is not Android's init that runs from it: let the \
             system's own service manager call vfiorun autostart"
        )
    })
}

/// What is known of the Android that reads the files.
fn target(place: RcPlace, images: &[Image<'_>]) -> rc::Target {
    let headers = images.iter().filter_map(Image::header);
    let version = headers.filter_map(Header::os_version).filter_map(OsVersion::major).max();
    let legacy = place == RcPlace::InitRc;
    rc::Target {
        magisk: place == RcPlace::MagiskOverlay,
        oldest: version,
        newest: version.or(legacy.then_some(LAST_LEGACY)),
    }
}

/// Refuse what init could not make sense of. Gives the warnings.
fn check_files(files: &[RcFile], target: rc::Target) -> Result<Vec<String>, Error> {
    let mut lines = Vec::new();
    let mut worst = None;
    for file in files {
        for finding in rc::check(&file.bytes, target) {
            worst = worst.max(Some(finding.level));
            lines.push(format!("{}:{finding}", file.name));
        }
    }
    match worst {
        Some(rc::Level::Error) => Err(Error::RcFaulty(lines.join("\n"))),
        _ => Ok(lines),
    }
}

/// Each name becomes part of another one in the ramdisk.
fn check_names(files: &[RcFile]) -> Result<(), Error> {
    for (number, file) in files.iter().enumerate() {
        let refuse = |reason| Error::RcName { name: file.name.clone(), reason };
        let usual = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        let stem = file.name.strip_suffix(".rc").unwrap_or_default();
        if stem.is_empty() {
            return Err(refuse("init and magiskinit read files whose name ends in .rc"));
        }
        if !file.name.chars().all(usual) {
            return Err(refuse("the name may have letters, digits, '.', '_' and '-'"));
        }
        if files[..number].iter().any(|other| other.name == file.name) {
            return Err(refuse("two files of this name were given"));
        }
    }
    Ok(())
}

/// The `init.rc` that is to be shadowed.
struct InitRc {
    path: String,
    header: cpio::Header,
    bytes: Vec<u8>,
}

struct Builder<'r> {
    ramdisk: &'r [u8],
    tree: Tree,
    plan: RcPlan,
}

impl Builder<'_> {
    /// The file that init reads as `/init.rc`, or what is unusual about it.
    fn init_rc(&self) -> Result<Result<InitRc, String>, Error> {
        let Some(found) = self.tree.find(b"init.rc", true) else {
            return Ok(Err(
                "its init.rc is a symbolic link to a file that is not in the ramdisk".to_owned()
            ));
        };
        if found.file_type != FileType::Regular || found.size > MAX_INIT_RC {
            return Ok(Err(format!(
                "its init.rc is no file that could be read as one ({:?}, {} bytes)",
                found.file_type, found.size
            )));
        }
        let Ok(path) = String::from_utf8(found.path) else {
            return Ok(Err("the path of its init.rc is not UTF-8".to_owned()));
        };
        let entry = read_entry(self.ramdisk, found.source, Limits::default())?;
        Ok(entry
            .map(|(header, bytes)| InitRc { path: format!("/{path}"), header, bytes })
            .ok_or_else(|| "its init.rc is not in the ramdisk".to_owned()))
    }

    fn legacy(
        &mut self,
        init_rc: InitRc,
        images: &[Image<'_>],
        options: &RcOptions,
    ) -> Result<(), Error> {
        self.plan.reason = "legacy rootfs: init reads /init.rc of the ramdisk".to_owned();
        let mut text = own_header();
        for file in &options.files {
            text += &format!("import {}\n", user_path(RcPlace::InitRc, &file.name));
        }
        let label = match (&options.seclabel, options.autostart) {
            (_, false) => None,
            (Some(given), true) => Some(given.clone()),
            (None, true) => self.su_label(images),
        };
        if let Some(label) = label {
            let sbin = self.tree.find(b"sbin", false);
            let command = match sbin.is_some_and(|sbin| sbin.file_type == FileType::Directory) {
                true => format!("/sbin/{NAME}"),
                false => format!("/{NAME}"),
            };
            text += &service(&command, &label);
            self.runtime(&command)?;
            self.plan.seclabel = Some(label);
        } else if options.files.is_empty() {
            return Ok(());
        }
        self.add(INIT_RC, init_rc.header, text.into_bytes(), &what_own(&self.plan))?;
        for file in &options.files {
            let path = user_path(RcPlace::InitRc, &file.name);
            self.add(&path, init_rc.header, file.bytes.clone(), &format!("{}, yours", file.name))?;
        }
        if let Some(bytes) = add_import(&init_rc.bytes, INIT_RC) {
            let what = format!("the same with one line more: import {INIT_RC}");
            self.add(&init_rc.path, init_rc.header, bytes, &what)?;
        }
        Ok(())
    }

    /// The label for a ROM without Magisk, if any can work.
    fn su_label(&mut self, images: &[Image<'_>]) -> Option<String> {
        let permissive = images
            .iter()
            .filter_map(Image::header)
            .map(|header| Cmdline::new(header.cmdline()))
            .any(|line| line.value("androidboot.selinux") == Some(b"permissive"));
        let (debuggable, evidence) = match self.debuggable() {
            _ if permissive => (Some(true), "androidboot.selinux=permissive on the command line"),
            Some(true) => (Some(true), "ro.debuggable=1 in default.prop: a userdebug or eng build"),
            Some(false) => (Some(false), "ro.debuggable=0 in default.prop: a user build"),
            None => (None, "no default.prop says whether this is a userdebug or a user build"),
        };
        if debuggable == Some(false) {
            self.plan.reason += &format!(
                "; {evidence}, whose policy lets no domain start vfiorun as root from there, so no \
                 service is put in: use the module that vfioboot module makes, or --seclabel with a \
                 domain that this ROM has"
            );
            return None;
        }
        self.plan.reason += &format!("; {SU_LABEL}: {evidence}");
        if debuggable.is_none() {
            self.plan.warnings.push(format!(
                "autostart: {evidence}. On a user build the policy has no rules for {SU_LABEL}: init \
                 cannot start the service and says so in the kernel log, nothing else is affected. \
                 --seclabel names another domain, vfioboot module does without"
            ));
        }
        Some(SU_LABEL.to_owned())
    }

    /// `ro.debuggable`, where the ramdisk has it (up to Android 8).
    fn debuggable(&self) -> Option<bool> {
        let found = self.tree.find(b"default.prop", true)?;
        if found.size > MAX_INIT_RC {
            return None;
        }
        let mut bytes = Vec::new();
        read_file(self.ramdisk, &found.path, &mut bytes, Limits::default()).ok()?;
        let text = String::from_utf8_lossy(&bytes);
        let mut lines = text.lines().filter_map(|line| line.trim().strip_prefix("ro.debuggable="));
        // A ro. property keeps its first value.
        lines.next().map(|value| value.trim() == "1")
    }

    fn magisk(&mut self, kinds: &Kinds, options: &RcOptions) -> Result<(), Error> {
        self.plan.reason =
            "Magisk-patched: magiskinit puts overlay.d/*.rc behind init.rc".to_owned();
        let directories: &[&str] = match options.autostart {
            true => &["/overlay.d", OVERLAY_SBIN],
            false => &["/overlay.d"],
        };
        for directory in directories {
            if self.tree.find(directory.as_bytes(), false).is_none() {
                self.plan.directories.push(((*directory).to_owned(), 0o750));
            }
        }
        let header = cpio::Header { mode: 0o100_644, ..cpio::Header::default() };
        if options.autostart {
            let label = options.seclabel.clone().unwrap_or_else(|| MAGISK_LABEL.to_owned());
            self.plan.reason += &format!("; {label}: the domain that Magisk's policy adds");
            self.runtime(&format!("{OVERLAY_SBIN}/{NAME}"))?;
            // On a rootfs Magisk mounts its tmpfs over /sbin once /data is there and links only
            // what the ramdisk had in /sbin itself.
            if kinds.has(RamdiskKind::RootfsLegacy) && self.tree.find(b"sbin", false).is_some() {
                self.runtime(&format!("/sbin/{NAME}"))?;
            }
            let text = own_header() + &service(&format!("${{MAGISKTMP}}/{NAME}"), &label);
            self.plan.seclabel = Some(label);
            self.add(OVERLAY_RC, header, text.into_bytes(), &what_own(&self.plan))?;
        }
        for file in &options.files {
            let path = user_path(RcPlace::MagiskOverlay, &file.name);
            self.add(&path, header, file.bytes.clone(), &format!("{}, yours", file.name))?;
        }
        Ok(())
    }

    /// Another name for the runtime.
    fn runtime(&mut self, path: &str) -> Result<(), Error> {
        self.shadow(path, "vfiorun, a hard link")?;
        self.plan.runtime_names.push(path.to_owned());
        Ok(())
    }

    /// Put a file in.
    fn add(
        &mut self,
        path: &str,
        like: cpio::Header,
        bytes: Vec<u8>,
        what: &str,
    ) -> Result<(), Error> {
        self.shadow(path, what)?;
        self.plan.segment.push(SegmentFile::like(path, like, bytes).replacing());
        Ok(())
    }

    /// What stands at `path` is put aside, for PID 1 to put back.
    fn shadow(&mut self, path: &str, what: &str) -> Result<(), Error> {
        let found = self.tree.find(path.as_bytes(), false);
        let shadows = found.is_some();
        if let Some(found) = found {
            let original = match found.file_type {
                FileType::Regular | FileType::Symlink => {
                    read_entry(self.ramdisk, found.source, Limits::default())?
                }
                _ => None,
            };
            let Some((header, bytes)) = original else {
                return Err(Error::RcTaken { path: path.to_owned() });
            };
            let beside = format!("{ORIGINALS}{path}");
            self.plan.segment.push(SegmentFile::like(&beside, header, bytes));
        }
        self.plan.shadows.push(path.to_owned());
        self.plan.files.push(PlannedFile { path: path.to_owned(), what: what.to_owned(), shadows });
        Ok(())
    }
}

/// Where a file of the user's goes: under a name that nothing else has.
fn user_path(place: RcPlace, name: &str) -> String {
    match place {
        RcPlace::InitRc => format!("/init.vfioboot.{name}"),
        RcPlace::MagiskOverlay => format!("/overlay.d/vfioboot.{name}"),
    }
}

fn own_header() -> String {
    "# Written by vfioboot patch. In recovery, in charger mode and with vfioboot.disable PID 1\n\
     # takes it away before init runs.\n"
        .to_owned()
}

/// Starts the guests once Android is up: then `/data` is decrypted and mounted.
fn service(command: &str, label: &str) -> String {
    format!(
        "\non property:sys.boot_completed=1\n    start {NAME}\n\n\
         service {NAME} {command} autostart\n    class late_start\n    user root\n    group root\n    \
         seclabel {label}\n    disabled\n    oneshot\n"
    )
}

fn what_own(plan: &RcPlan) -> String {
    match &plan.seclabel {
        Some(label) => format!("starts vfiorun autostart at sys.boot_completed=1, as {label}"),
        None => "imports yours".to_owned(),
    }
}

impl RcPlan {
    /// The changes for people, of the image with this index.
    pub(super) fn edits(&self, image: usize) -> impl Iterator<Item = PlannedEdit> {
        self.files.iter().map(move |file| PlannedEdit {
            image,
            what: "rc",
            why: self.reason.clone(),
            before: match file.shadows {
                true => format!("{}, which stays below and is put back by PID 1", file.path),
                false => format!("no {}", file.path),
            },
            after: format!("{}: {}", file.path, file.what),
        })
    }
}

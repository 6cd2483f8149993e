//! The contribution of rc files to a patch.

use serde::Serialize;

use super::check;
use super::inert::Inert;
use super::label::{self, Label};
use super::options::{RcFile, RcOptions};
use super::overlay::Overlay;
use super::reason::{RcPlace, RcReason};
use super::text::{self, NAME, service};
use crate::bootset::FlowKind;
use crate::patch::context::Context;
use crate::patch::contribution::Contribution;
use crate::patch::edit::{Change, PlannedFile};
use crate::patch::error::Error;
use crate::patch::initramfs_files::InitramfsFiles;
use crate::patch::segment_file::SegmentDirectory;
use crate::patch::warning::Warning;
use crate::ramdisk::cpio::{FileType, Header};
use crate::rc::import::add_import;
use crate::root_manager::RcOverlay;

/// Our own rc file on a legacy rootfs.
pub(crate) const INIT_RC: &str = "/init.vfioboot.rc";
/// Much more than any init.rc has, in bytes.
const MAX_INIT_RC: u64 = 4 << 20;

/// rc files in a patch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RcPlan {
    /// Where they are added; None if init would not read them.
    pub place: Option<RcPlace>,
    /// The reason; empty if none was requested.
    pub reason: RcReason,
    /// The SELinux context of the service that starts guests; None if there is no such service.
    pub seclabel: Option<String>,
    /// What is added or shadowed.
    pub files: Vec<PlannedFile>,
}

/// Add the rc files to the ramdisk `files` if init reads them there.
///
/// # Errors
/// [`Error::RcInert`] for files of the user that init would never read, [`Error::RcName`],
/// [`Error::RcFaulty`], [`Error::RcTaken`].
pub(crate) fn contribute(
    set: &Context<'_, '_>,
    files: &InitramfsFiles<'_, '_>,
    options: &RcOptions,
) -> Result<(RcPlan, Contribution), Error> {
    if !options.autostart && options.files.is_empty() {
        return Ok(Default::default());
    }
    check::names(&options.files)?;
    let place = match RcPlace::of(set.flow()) {
        Ok(place) => place,
        Err(reason) => return inert(options, reason),
    };
    let warnings = check::check(&options.files, place, set)?;
    let mut overlay = Overlay::new(files);
    overlay.contribution.warnings = warnings;
    let label = match place {
        RcPlace::Overlay(manager) => manager_overlay(&mut overlay, manager, set, options)?,
        RcPlace::InitRc => match InitRc::read(files)? {
            Ok(init_rc) => legacy(&mut overlay, init_rc, set, options)?,
            Err(reason) => return inert(options, reason),
        },
    };
    let Overlay { mut contribution, planned, .. } = overlay;
    let reason = RcReason::Read { place, label: label.reason };
    let why = reason.to_string();
    let changes =
        planned.iter().map(|file| Change::RcFile { file: file.clone(), why: why.clone() });
    contribution.changes = changes.collect();
    let plan = RcPlan { place: Some(place), reason, seclabel: label.context, files: planned };
    Ok((plan, contribution))
}

/// Refuse files of the user if init would not read them.
fn inert(options: &RcOptions, reason: Inert) -> Result<(RcPlan, Contribution), Error> {
    match options.files.first() {
        Some(file) => Err(Error::RcInert { file: file.name.clone(), reason }),
        None => {
            let reason = RcReason::Inert(reason);
            Ok((RcPlan { reason, ..RcPlan::default() }, Contribution::default()))
        }
    }
}

/// The context of the service, if there is one, and why.
#[derive(Default)]
struct ChosenLabel {
    context: Option<String>,
    reason: Option<Label>,
}

/// The file that init reads as `/init.rc`.
struct InitRc {
    path: String,
    header: Header,
    bytes: Vec<u8>,
}

impl InitRc {
    /// Read it, or return what is unusual about it.
    fn read(files: &InitramfsFiles<'_, '_>) -> Result<Result<Self, Inert>, Error> {
        let Some(found) = files.find(b"init.rc", true)? else {
            return Ok(Err(Inert::DanglingInitRc));
        };
        if found.file_type != FileType::Regular || found.size > MAX_INIT_RC {
            let (file_type, size) = (found.file_type, found.size);
            return Ok(Err(Inert::UnreadableInitRc { file_type, size }));
        }
        let Some((header, bytes)) = files.entry(&found)? else {
            return Ok(Err(Inert::DanglingInitRc));
        };
        Ok(match String::from_utf8(found.path) {
            Ok(path) => Ok(InitRc { path: format!("/{path}"), header, bytes }),
            Err(_) => Err(Inert::OddInitRcPath),
        })
    }
}

/// `init.rc` of a legacy rootfs imports ours, and ours those of the user.
fn legacy(
    overlay: &mut Overlay<'_, '_, '_>,
    init_rc: InitRc,
    set: &Context<'_, '_>,
    options: &RcOptions,
) -> Result<ChosenLabel, Error> {
    let mut text = text::header();
    for file in &options.files {
        text += &format!("import {}\n", user_path(RcPlace::InitRc, file));
    }
    let label = legacy_label(overlay, set, options)?;
    if let Some(context) = &label.context {
        let sbin = overlay.files.find(b"sbin", false)?;
        let command = match sbin.is_some_and(|sbin| sbin.file_type == FileType::Directory) {
            true => format!("/sbin/{NAME}"),
            false => format!("/{NAME}"),
        };
        text += &service(&command, context);
        overlay.add_runtime(&command)?;
    } else if options.files.is_empty() {
        return Ok(label);
    }
    overlay.add(INIT_RC, init_rc.header, text.into_bytes(), &what_own(&label))?;
    user_files(overlay, RcPlace::InitRc, init_rc.header, &options.files)?;
    if let Some(bytes) = add_import(&init_rc.bytes, INIT_RC) {
        let what = format!("the same with one more line: import {INIT_RC}");
        overlay.add(&init_rc.path, init_rc.header, bytes, &what)?;
    }
    Ok(label)
}

fn legacy_label(
    overlay: &mut Overlay<'_, '_, '_>,
    set: &Context<'_, '_>,
    options: &RcOptions,
) -> Result<ChosenLabel, Error> {
    if !options.autostart {
        return Ok(ChosenLabel::default());
    }
    if let Some(given) = &options.seclabel {
        return Ok(ChosenLabel { context: Some(given.clone()), reason: None });
    }
    let label = Label::of_rom(set, overlay.files)?;
    if label == Label::UnknownBuild {
        let label = label::SU.to_owned();
        overlay.contribution.warnings.push(Warning::AutostartUncertain { label });
    }
    Ok(ChosenLabel { context: label.context().map(str::to_owned), reason: Some(label) })
}

/// The overlay of a root manager, whose rc files it appends to `init.rc`.
fn manager_overlay(
    overlay: &mut Overlay<'_, '_, '_>,
    own: &'static RcOverlay,
    set: &Context<'_, '_>,
    options: &RcOptions,
) -> Result<ChosenLabel, Error> {
    let programs = options.autostart.then_some(own.programs);
    for directory in std::iter::once(own.directory).chain(programs) {
        let path = format!("/{directory}");
        if !overlay.files.has(path.as_bytes())? {
            overlay.contribution.directories.push(SegmentDirectory { path, mode: 0o750 });
        }
    }
    let header = Header { mode: 0o100_644, ..Header::default() };
    let mut label = ChosenLabel::default();
    if options.autostart {
        let context = options.seclabel.clone().unwrap_or_else(|| own.context.to_owned());
        overlay.add_runtime(&format!("/{}/{NAME}", own.programs))?;
        let legacy = set.flow().kind == FlowKind::RootfsLegacy;
        if own.covers_sbin && legacy && overlay.files.has(b"sbin")? {
            overlay.add_runtime(&format!("/sbin/{NAME}"))?;
        }
        let text = text::header() + &service(&format!("{}/{NAME}", own.variable), &context);
        let reason = Some(Label::Manager { context: context.clone(), manager: own.manager });
        label = ChosenLabel { context: Some(context), reason };
        let path = own_path(own);
        overlay.add(&path, header, text.into_bytes(), &what_own(&label))?;
    }
    user_files(overlay, RcPlace::Overlay(own), header, &options.files)?;
    Ok(label)
}

/// Our own rc file in the overlay of a root manager.
fn own_path(own: &RcOverlay) -> String {
    format!("/{}/vfioboot.rc", own.directory)
}

/// The paths of our own rc files.
pub(crate) fn own_paths() -> impl Iterator<Item = String> {
    std::iter::once(INIT_RC.to_owned()).chain(RcOverlay::all().map(own_path))
}

fn user_files(
    overlay: &mut Overlay<'_, '_, '_>,
    place: RcPlace,
    header: Header,
    files: &[RcFile],
) -> Result<(), Error> {
    files.iter().try_for_each(|file| {
        let what = format!("{}, yours", file.name);
        overlay.add(&user_path(place, file), header, file.bytes.clone(), &what)
    })
}

/// The path for a file of the user: with an unused name.
fn user_path(place: RcPlace, file: &RcFile) -> String {
    match place {
        RcPlace::InitRc => format!("/init.vfioboot.{}", file.name),
        RcPlace::Overlay(own) => format!("/{}/vfioboot.{}", own.directory, file.name),
    }
}

fn what_own(label: &ChosenLabel) -> String {
    match &label.context {
        Some(label) => format!("starts vfiorun autostart at sys.boot_completed=1, as {label}"),
        None => "imports yours".to_owned(),
    }
}

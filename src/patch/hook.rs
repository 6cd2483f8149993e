//! How the kernel comes to start the runtime: by `rdinit=`, or because the runtime stands where
//! the kernel looks for the init program.

use serde::Serialize;

use super::kernel_facts::KernelFacts;
use super::target::Targets;
use super::{Error, target};
use crate::bootfile::{ORIGINAL_INIT, ORIGINAL_INIT_LINK, RUNTIME};
use crate::bootset::sources;
use crate::cmdline::Cmdline;
use crate::image::{Image, ImageKind};
use crate::ramdisk::cpio::{CpioWriter, FileType, Header};
use crate::ramdisk::tree::{Tree, read_entry};
use crate::ramdisk::{Limits, normalise};

/// What the kernel runs in an initramfs when no `rdinit=` says otherwise (`init/main.c`).
pub const DEFAULT_INIT: &str = "/init";

/// Which hook to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HookChoice {
    /// `rdinit=` unless the images show that it would not reach the kernel.
    #[default]
    Auto,
    /// `rdinit=` or a refusal.
    Rdinit,
    /// In place of the init program.
    Init,
}

/// The hook of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Hook {
    /// How the runtime is started.
    pub kind: HookKind,
    /// Why so.
    pub reason: String,
    /// The program that runs afterwards: `/init`, or what a former `rdinit=` names.
    pub init: String,
    /// The init program is one that a device tree names.
    #[serde(skip)]
    pub(super) of_device_tree: bool,
}

/// How the runtime is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HookKind {
    /// `rdinit=` on the command line names it.
    Rdinit,
    /// It shadows the init program, which it puts back and executes.
    Init,
}

impl Hook {
    /// Choose for a set whose patch changes `targets`.
    ///
    /// # Errors
    /// [`Error::Kernel`] or [`Error::NoCmdline`] when `rdinit=` was asked for and would have no
    /// effect.
    pub(super) fn choose(
        asked: HookChoice,
        images: &[Image<'_>],
        targets: &Targets,
        kernel: &KernelFacts,
    ) -> Result<Self, Error> {
        let init_boot_only =
            targets.line.is_none() && images[targets.carrier].kind() == ImageKind::InitBoot;
        let fixed = Fixed::find(images, kernel);
        let former = target::last_rdinit(images).map(|(_, value)| value);
        let of_fixed = |fixed: &Fixed| match fixed {
            // The kernel never sees what the images say.
            Fixed::Forced(init) => Some(init.clone().unwrap_or_else(|| DEFAULT_INIT.to_owned())),
            Fixed::Config(init) | Fixed::DeviceTree(init) => Some(init.clone()),
        };
        let init = fixed.as_ref().and_then(of_fixed).or(former);
        let init = init.unwrap_or_else(|| DEFAULT_INIT.to_owned());
        let against = match &fixed {
            Some(fixed) => Some(fixed.reason()),
            None if init_boot_only => Some(
                "bootloaders take no command line from init_boot, which is all there is of the \
                 set: rdinit= has no place to stand"
                    .to_owned(),
            ),
            None => None,
        };
        let kind = match (asked, &against, &fixed) {
            (HookChoice::Auto | HookChoice::Rdinit, None, _) => HookKind::Rdinit,
            (HookChoice::Auto, Some(_), _) | (HookChoice::Init, ..) => HookKind::Init,
            (HookChoice::Rdinit, Some(_), None) => return Err(Error::NoCmdline),
            (HookChoice::Rdinit, Some(_), Some(Fixed::Forced(_))) => {
                let reason = "it ignores the command line that the bootloader passes, and with it \
                              rdinit=, which starts the runtime: use --hook init";
                return Err(Error::Kernel { symbol: "CONFIG_CMDLINE_FORCE=y".to_owned(), reason });
            }
            // The other rdinit= may lose after all: the user knows.
            (HookChoice::Rdinit, Some(_), Some(_)) => HookKind::Rdinit,
        };
        let reason = match (kind, asked, against) {
            (HookKind::Rdinit, HookChoice::Rdinit, Some(against)) => {
                format!("asked for with --hook rdinit; by itself it would be otherwise: {against}")
            }
            (_, _, Some(against)) => against,
            (HookKind::Rdinit, _, None) if targets.line.is_none() => {
                "the bootloader's configuration has the command line, and the last rdinit= on it \
                 wins"
                    .to_owned()
            }
            (HookKind::Rdinit, _, None) => {
                "the images carry a command line, and the last rdinit= on it wins".to_owned()
            }
            (HookKind::Init, _, None) => "asked for with --hook init".to_owned(),
        };
        let of_device_tree = matches!(fixed, Some(Fixed::DeviceTree(_)));
        Ok(Hook { kind, reason, init, of_device_tree })
    }
}

/// What stands against `rdinit=` in the images: a line, or a word of one, that no header's command
/// line replaces.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fixed {
    /// The kernel heeds its own line alone, which names this program.
    Forced(Option<String>),
    /// The kernel's own line is put behind the bootloader's and names this program.
    Config(String),
    /// `/chosen/bootargs` of a device tree names this program.
    DeviceTree(String),
}

impl Fixed {
    fn find(images: &[Image<'_>], kernel: &KernelFacts) -> Option<Self> {
        let program = |line: String| target::rdinit_of(&Cmdline::new(line.into_bytes()));
        if let Some(line) = kernel.forced_cmdline() {
            return Some(Fixed::Forced(program(line)));
        }
        if let Some(init) = kernel.extending_cmdline().and_then(program) {
            return Some(Fixed::Config(init));
        }
        let mut trees = images.iter().flat_map(sources::of_device_trees);
        let init = trees.find_map(|tree| program(tree.text)).filter(|init| init != RUNTIME);
        init.map(Fixed::DeviceTree)
    }

    fn reason(&self) -> String {
        match self {
            Fixed::Forced(_) => {
                "CONFIG_CMDLINE_FORCE=y: the kernel ignores the command line that the bootloader \
                 passes, and rdinit= with it"
                    .to_owned()
            }
            Fixed::Config(init) => format!(
                "CONFIG_CMDLINE has rdinit={init}, and with CONFIG_CMDLINE_EXTEND it stands behind \
                 the bootloader's: the last rdinit= wins"
            ),
            Fixed::DeviceTree(init) => format!(
                "the device tree's /chosen/bootargs has rdinit={init}, which no command line in an \
                 image replaces; a bootloader that keeps it puts it where it likes, and the last \
                 rdinit= wins"
            ),
        }
    }
}

/// The init program of a ramdisk, to be put aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Original {
    /// Where it is, without leading `/`, with the symbolic links on the way resolved.
    path: Vec<u8>,
    form: Form,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    /// A file with one name, or a symbolic link: mode, owner and time are the header's.
    Moved(Header, Vec<u8>),
    /// A file that has this other name as well. Its data need not be in the ramdisk twice.
    Linked(Vec<u8>),
}

impl Original {
    /// Find the program at `path`, as the kernel would.
    ///
    /// # Errors
    /// [`Error::HookTarget`] when there is none to stand in for.
    pub(super) fn read(ramdisk: &[u8], path: &str) -> Result<Self, Error> {
        let limits = Limits::default();
        let refuse = |reason| Error::HookTarget { path: path.to_owned(), reason };
        let tree = Tree::read(ramdisk, limits)?;
        let found = tree.find(path.as_bytes(), false).ok_or_else(|| {
            refuse("is not in the ramdisk that the patch changes: give the image that has it")
        })?;
        if !matches!(found.file_type, FileType::Regular | FileType::Symlink) {
            return Err(refuse("is neither a file nor a symbolic link"));
        }
        if let Some(other) = tree.other_name(&found.path) {
            return Ok(Original { path: found.path, form: Form::Linked(other) });
        }
        let (header, data) = read_entry(ramdisk, found.source, limits)?
            .ok_or_else(|| refuse("is not in the ramdisk"))?;
        Ok(Original { path: found.path, form: Form::Moved(header, data) })
    }

    /// Bytes that putting it aside costs before compression.
    pub(super) fn cost(&self) -> usize {
        match &self.form {
            Form::Moved(_, data) => data.len(),
            Form::Linked(_) => 0,
        }
    }

    /// Write the original under its new name, and `runtime` where it was and under the paths
    /// `also`.
    ///
    /// A regular file that overwrites another keeps its inode and so changes what the other names
    /// of a hard link show (`do_name` in `init/initramfs.c` opens with `O_TRUNC`). A symbolic link
    /// in between makes the kernel unlink the old one first (`clean_path`).
    pub(super) fn write<W: std::io::Write>(
        &self,
        cpio: &mut CpioWriter<W>,
        runtime: &[u8],
        also: &[Vec<u8>],
    ) -> std::io::Result<()> {
        match &self.form {
            Form::Moved(header, data) => {
                cpio.like(&normalise(ORIGINAL_INIT.as_bytes()), header, data)?;
            }
            Form::Linked(other) => {
                let target = [b"/", &other[..]].concat();
                cpio.symlink(&normalise(ORIGINAL_INIT_LINK.as_bytes()), &target)?;
            }
        }
        cpio.symlink(&self.path, ORIGINAL_INIT.as_bytes())?;
        let names: Vec<&[u8]> =
            std::iter::once(&self.path).chain(also).map(Vec::as_slice).collect();
        cpio.linked(&names, 0o755, runtime)
    }
}

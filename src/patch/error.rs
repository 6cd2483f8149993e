//! Why a patch is refused.

use crate::image::{self, ImageKind};
use crate::modules::{ClosureError, Misfit, SurveyError};
use crate::ramdisk;

/// A patch, or its undoing, that cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No image of the set has a ramdisk.
    #[error(
        "no ramdisk to put the runtime into: give the image that has the ramdisk (init_boot.img for devices launched with Android 13 or later, boot.img before, or vendor_boot.img)"
    )]
    NoRamdisk,
    /// Bootloaders take no command line from any of the images.
    #[error(
        "bootloaders take no kernel command line from init_boot, which is all there is: give boot.img or vendor_boot.img as well, or use --hook init"
    )]
    NoCmdline,
    /// Two images of one kind.
    #[error("two {0} images in one set: give one of each kind")]
    TwoOfAKind(ImageKind),
    /// A legacy system-as-root device: the kernel never unpacks this ramdisk.
    #[error(
        "skip_initramfs on the command line: on this legacy system-as-root device the kernel does not unpack the ramdisk, so nothing in it can run. Either root the image with Magisk first, which makes the kernel unpack it, and patch the result; or leave the image alone and bind after boot: the module of `vfioboot module` in a root manager, or vfiorun bind"
    )]
    LegacySystemAsRoot,
    /// A processor architecture without passthrough.
    #[error("the kernel is for {arch}, vfiorun runs on arm64 and x86_64: {why}")]
    Architecture {
        /// The architecture.
        arch: &'static str,
        /// Why not, and what to do.
        why: &'static str,
    },
    /// A word for the command line that works against the patch.
    #[error("\"{word}\" cannot be added: {reason}")]
    Word {
        /// The word.
        word: String,
        /// Why not.
        reason: &'static str,
    },
    /// The ramdisk has nothing to go on with after vfiorun.
    #[error(
        "the ramdisk has no {0}: the kernel would mount root= instead, and a program started before that has nothing to go on with"
    )]
    NoInit(String),
    /// There is no program that the runtime could stand in for.
    #[error("--hook init: {path} {reason}")]
    HookTarget {
        /// Where the kernel looks for it.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The kernel's config forbids what the patch needs.
    #[error("the kernel has {symbol}: {reason}")]
    Kernel {
        /// The setting, as it stands in the config.
        symbol: String,
        /// What follows from it.
        reason: &'static str,
    },
    /// A ramdisk in a format that no kernel unpacks.
    #[error("the ramdisk is {0}, which the kernel does not unpack")]
    Format(String),
    /// The runtime is no program for this device.
    #[error("the runtime {0}")]
    Runtime(String),
    /// This build carries no runtime for the architecture.
    #[error(
        "this vfioboot carries no vfiorun for {0}: give one with --runtime FILE (make dist builds it)"
    )]
    NoRuntime(&'static str),
    /// A module that cannot be loaded on this kernel.
    #[error("module {name}: {reason}")]
    Module {
        /// File name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// Where modules were to be taken from there is none that is needed.
    #[error(
        "CONFIG_{symbol} is not built in, and there is no module {name} in the ramdisk nor in {given}"
    )]
    NoModule {
        /// The module.
        name: &'static str,
        /// Its symbol in the kernel's config.
        symbol: &'static str,
        /// Where it was looked for.
        given: String,
    },
    /// Modules that the kernel will refuse.
    #[error("{}", misfits_text(.0))]
    Misfits(Vec<Misfit>),
    /// No first-stage init that could load modules.
    #[error(
        "the ramdisk has no modules.load, so nothing in it loads modules by libmodprobe's lists: leave out --modules-by libmodprobe"
    )]
    NoLibmodprobe,
    /// An rc file that init would never read.
    #[error("{file}: an rc file in this ramdisk would be inert: {reason}")]
    RcInert {
        /// The user's file.
        file: String,
        /// Why it would be.
        reason: String,
    },
    /// An rc file whose name cannot be used.
    #[error("{name}: {reason}")]
    RcName {
        /// The user's file.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// rc files with errors: a line for each finding, with file and line number.
    #[error("rc files with errors, which init would not carry out as they stand:\n{0}")]
    RcFaulty(String),
    /// Something stands where an rc file or the runtime is to go, and cannot be put aside.
    #[error(
        "{path} is in the ramdisk and neither a file nor a symbolic link: move it, or use --no-autostart and leave out --rc"
    )]
    RcTaken {
        /// Where.
        path: String,
    },
    /// The undo record is damaged, or another version's.
    #[error("undo record: {0}")]
    UndoRecord(String),
    /// The images hold no undo record.
    #[error("not patched by vfioboot: no image of the set carries an undo record")]
    NotPatched,
    /// An image was patched in a set, and its sibling holds the record.
    #[error(
        "{0} carries no undo record: it was patched as one of a set, give the image with the ramdisk as well"
    )]
    CarrierMissing(ImageKind),
    /// An image of the patched set was not given.
    #[error("the set was patched with {0}, which is missing: give it as well")]
    SiblingMissing(ImageKind),
    /// The patched image was changed afterwards.
    #[error(
        "{kind} was changed after it was patched, so that the original cannot be had from it (the SHA-256 differs): take the file that patch wrote, or the original"
    )]
    Undo {
        /// Which image.
        kind: ImageKind,
    },
    /// Making the segment failed: a module of more than 4 GiB, or no memory.
    #[error("packing the segment: {0}")]
    Pack(std::io::Error),
    /// Writing the boot file failed.
    #[error("boot.toml: {0}")]
    BootFile(String),
    /// There is nothing that could be signed.
    #[error(
        "nothing to sign: none of the images that change has an AVB footer, and no vbmeta.img with their digests was given (--vbmeta FILE)"
    )]
    NothingToSign,
    /// A chained partition without a vbmeta image of its own.
    #[error(
        "vbmeta.img chains to {0}, but the image has no AVB footer: it is not the image that the device boots"
    )]
    ChainedWithoutFooter(String),
    /// The vbmeta image is damaged.
    #[error("vbmeta.img: {0}")]
    Vbmeta(image::Problem),
    /// The vbmeta image cannot be made anew.
    #[error("vbmeta.img: {0}")]
    SignVbmeta(#[from] image::avb::SignError),
    /// Something stands where the larger vbmeta image would.
    #[error(
        "vbmeta.img: the new vbmeta image takes {size} bytes, but unknown bytes stand at {trailing}"
    )]
    VbmetaTrailing {
        /// Bytes of the new one.
        size: usize,
        /// Where the unknown bytes start.
        trailing: usize,
    },
    /// See [`image::Error`].
    #[error(transparent)]
    Image(#[from] image::Error),
    /// See [`ramdisk::Error`].
    #[error(transparent)]
    Ramdisk(#[from] ramdisk::Error),
    /// See [`ClosureError`].
    #[error(transparent)]
    Closure(#[from] ClosureError),
    /// What modules are taken from cannot be read.
    #[error("modules: {0}")]
    ModuleSource(#[from] SurveyError),
}

/// The first few of them, and how many more there are.
fn misfits_text(misfits: &[Misfit]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<String> = misfits.iter().take(SHOWN).map(ToString::to_string).collect();
    let mut text = format!("the kernel would not load the modules: {}", shown.join("; "));
    if misfits.len() > SHOWN {
        text += &format!("; and {} more such", misfits.len() - SHOWN);
    }
    text
}

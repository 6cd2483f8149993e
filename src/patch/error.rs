//! Why a patch is refused.

use super::block::plan::NotBlocked;
use super::prove::unproven::Unproven;
use super::rc::inert::Inert;
use crate::bootset;
use crate::bootset::{Stop, UNDO_FORMAT};
use crate::compression;
use crate::image::{self, ImageKind};
use crate::kernel;
use crate::modules::{ClosureError, Misfit, SurveyError};
use crate::ramdisk;
use crate::rc::Finding;

/// A patch, or undoing one, that is not possible.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No image of the set has a ramdisk.
    #[error(
        "no ramdisk to put the runtime into: give the image that has the ramdisk (init_boot.img for devices launched with Android 13 or later, boot.img before, or vendor_boot.img)"
    )]
    NoRamdisk,
    /// Bootloaders take no command line from any of the images.
    #[error(
        "bootloaders do not read a kernel command line from init_boot, the only image of the set: give boot.img or vendor_boot.img as well"
    )]
    NoCmdline,
    /// The kernel ignores the command line, and the patch was to use it.
    #[error(
        "the kernel has CONFIG_CMDLINE_FORCE=y: it ignores the command line that the bootloader passes, and with it rdinit=, which starts the runtime"
    )]
    CmdlineForced,
    /// Two images of one kind.
    #[error("two {0} images in one set: give one of each kind")]
    TwoOfAKind(ImageKind),
    /// A legacy system-as-root device: the kernel never unpacks this ramdisk.
    #[error(
        "skip_initramfs on the command line: on this legacy system-as-root device the kernel does not unpack the ramdisk, so nothing in it can run. Either root the image with Magisk first, which makes the kernel unpack it, and patch the result; or leave the image alone and bind after boot: the module of `vfioboot module` in a root manager, or vfiorun bind"
    )]
    LegacySystemAsRoot,
    /// The kernel stops before the end of every ramdisk to which a segment could be added.
    #[error(
        "nothing that is added to the ramdisks would be unpacked: the kernel stops in the ramdisk of \
         {image}, because {stop}"
    )]
    NotReached {
        /// The image whose ramdisk it is.
        image: ImageKind,
        /// Why.
        stop: Stop,
    },
    /// The result does not show what a patch promises; nothing is written.
    #[error("read back, the patched images are not what they should be, so nothing is written")]
    NotProven(#[from] Unproven),
    /// A processor architecture without passthrough.
    #[error("the kernel is for {arch}, vfiorun runs on arm64 and x86_64: {why}")]
    Architecture {
        /// The architecture.
        arch: &'static str,
        /// Why not, and what to do.
        why: &'static str,
    },
    /// A kernel parameter that conflicts with the patch.
    #[error("\"{text}\" cannot be added: {reason}")]
    Parameter {
        /// The parameter as given.
        text: String,
        /// Why not.
        reason: RefusedParameter,
    },
    /// A mode of the IOMMU that this kernel does not have.
    #[error(
        "the kernel is {version}, and its IOMMU drivers have no mode \"{mode}\" before {since}: \
         leave the mode out, or use a newer kernel"
    )]
    Iommu {
        /// The mode.
        mode: &'static str,
        /// The first version that has it.
        since: &'static str,
        /// The kernel's release.
        version: String,
    },
    /// A driver that is not kept away.
    #[error("the driver {name} cannot be kept away: {reason}")]
    BlockDriver {
        /// Its name.
        name: String,
        /// Why not.
        reason: NotBlocked,
    },
    /// An option of a VFIO module that cannot be set.
    #[error("option {option}: {reason}")]
    VfioOption {
        /// The option as given.
        option: String,
        /// Why not.
        reason: RefusedOption,
    },
    /// The ramdisk has no program to run after vfiorun.
    #[error(
        "the ramdisk has no {0}: the kernel would mount root= instead, and vfiorun would have no program to start afterwards"
    )]
    NoInit(String),
    /// The init hook finds no init program.
    #[error(
        "the runtime cannot take the path {path}, which is not in the ramdisk that the patch changes: give the image that has it"
    )]
    InitNotInRamdisk {
        /// Where the kernel looks for it.
        path: String,
    },
    /// The path of the init hook is neither a file nor a link.
    #[error(
        "the runtime cannot take the path {path}, which is neither a file nor a symbolic link in the ramdisk"
    )]
    InitNotAFile {
        /// Where the kernel looks for it.
        path: String,
    },
    /// The kernel does not unpack ramdisks.
    #[error("the kernel has CONFIG_BLK_DEV_INITRD unset: it does not unpack a ramdisk")]
    NoInitramfsSupport,
    /// The kernel does not unpack the format of the ramdisk.
    #[error("the kernel has CONFIG_{symbol} unset: it cannot unpack a ramdisk in this format")]
    FormatNotBuiltIn {
        /// The symbol in the kernel's config.
        symbol: &'static str,
    },
    /// A ramdisk in a format that no kernel unpacks.
    #[error(
        "the ramdisk is an LZ4 frame (lz4_legacy is what the kernel reads), which the kernel does not unpack"
    )]
    Lz4Frame,
    /// The runtime is not a program for this device.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// This build has no runtime for the architecture.
    #[error("this vfioboot has no vfiorun for {0}: give one")]
    NoRuntime(&'static str),
    /// A module that cannot be loaded on this kernel.
    #[error("module {name}")]
    Module {
        /// File name.
        name: String,
        /// What is wrong.
        #[source]
        problem: ModuleError,
    },
    /// A required module is neither in the ramdisk nor in the given sources.
    #[error(
        "CONFIG_{symbol} is not built in, and there is no module {name} in the ramdisk nor in {given}"
    )]
    NoModule {
        /// The module.
        name: &'static str,
        /// Its symbol in the kernel's config.
        symbol: &'static str,
        /// The sources that were searched.
        given: String,
    },
    /// Modules that the kernel will refuse.
    #[error("{}", misfits_text(.0))]
    Misfits(Vec<Misfit>),
    /// No first-stage init that could load modules.
    #[error(
        "the ramdisk has no modules.load, so nothing in it loads modules by libmodprobe's lists"
    )]
    NoLibmodprobe,
    /// An rc file that init would not read.
    #[error("{file}: init would not read an rc file in this ramdisk: {reason}")]
    RcInert {
        /// The user's file.
        file: String,
        /// Why it would be.
        reason: Inert,
    },
    /// An rc file whose name cannot be used.
    #[error("{name}: {reason}")]
    RcName {
        /// The user's file.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// rc files with errors.
    #[error("rc files with errors, which init would not carry out as written:\n{}", rc_text(.0))]
    RcFaulty(Vec<RcFinding>),
    /// The path for an rc file or the runtime exists and cannot be shadowed.
    #[error("{path} is in the ramdisk and neither a file nor a symbolic link: move it")]
    RcTaken {
        /// Where.
        path: String,
    },
    /// The undo record is damaged, or from another version.
    #[error("undo record")]
    UndoRecord(#[from] UndoRecordError),
    /// The images have no undo record.
    #[error("not patched by vfioboot: no image of the set carries an undo record")]
    NotPatched,
    /// An image was patched in a set, and another image of the set has the record.
    #[error(
        "{0} carries no undo record: it was patched as one of a set, give the image with the ramdisk as well"
    )]
    CarrierMissing(ImageKind),
    /// An image names the runtime on its command line, and no ramdisk has anything of the patch.
    #[error(
        "the command line of {0} starts vfioboot's runtime, but no ramdisk of the set has it or the undo record: another program has put other ramdisks in their place, so there is no exact way back"
    )]
    RecordLost(ImageKind),
    /// An image of the patched set was not given.
    #[error("the set was patched with {0}, which is missing: give it as well")]
    SiblingMissing(ImageKind),
    /// The patched image was changed afterwards.
    #[error(
        "{kind} was changed after it was patched, as by a tool that rebuilds the ramdisk, so the original cannot be restored from it byte for byte (the SHA-256 differs): take the file that patch wrote, or the original"
    )]
    Undo {
        /// Which image.
        kind: ImageKind,
    },
    /// The runtime stands for an init program that is nowhere.
    #[error(
        "the program at {path} is vfioboot's runtime, and the original that it stands for is no longer in the ramdisk: take the original image"
    )]
    InitLost {
        /// Where it belongs.
        path: String,
    },
    /// Making the segment failed: a module of more than 4 GiB, or no memory.
    #[error("packing the segment")]
    Pack(#[source] std::io::Error),
    /// Writing the boot file failed.
    #[error("writing boot.toml")]
    BootFile(#[from] toml::ser::Error),
    /// No changed image can be signed.
    #[error(
        "nothing to sign: none of the images that change has an AVB footer, and no vbmeta.img with their digests was given"
    )]
    NothingToSign,
    /// A chained partition without a vbmeta image of its own.
    #[error(
        "vbmeta.img chains to {0}, but the image has no AVB footer: it is not the image that the device boots"
    )]
    ChainedWithoutFooter(String),
    /// The vbmeta image is damaged.
    #[error("vbmeta.img")]
    Vbmeta(#[source] image::Problem),
    /// The vbmeta image cannot be signed.
    #[error("vbmeta.img")]
    SignVbmeta(#[from] image::avb::SignError),
    /// Unknown bytes follow the vbmeta image, which becomes larger.
    #[error(
        "vbmeta.img: the new vbmeta image takes {size} bytes, but there are unknown bytes at {trailing}"
    )]
    VbmetaTrailing {
        /// Bytes of the new one.
        size: usize,
        /// Where the unknown bytes start.
        trailing: usize,
    },
    /// A restored original is not an image.
    #[error(transparent)]
    BootSet(#[from] bootset::Error),
    /// See [`image::Error`].
    #[error(transparent)]
    Image(#[from] image::Error),
    /// See [`ramdisk::Error`].
    #[error(transparent)]
    Ramdisk(#[from] ramdisk::Error),
    /// See [`ClosureError`].
    #[error(transparent)]
    Closure(#[from] ClosureError),
    /// A source of modules cannot be read.
    #[error("modules")]
    ModuleSource(#[from] SurveyError),
}

/// Why a kernel parameter conflicts with the patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefusedParameter {
    /// `rdinit=`.
    #[error("the runtime is started by rdinit=, and the last one wins")]
    Rdinit,
    /// `vfio-pci.ids=`.
    #[error("the ids follow from the devices of the patch")]
    Ids,
    /// The parameter that turns the runtime off.
    #[error("it disables the patch")]
    Disable,
    /// It says otherwise than another option.
    #[error("it contradicts what another option of the patch sets")]
    Contradicts,
}

/// Why an option of a VFIO module cannot be set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RefusedOption {
    /// `ids`.
    #[error("the ids follow from the devices of the patch")]
    Ids,
    /// Another module's.
    #[error("only options of {} are set here", .modules.join(", "))]
    NotOfVfio {
        /// The modules of VFIO.
        modules: Vec<&'static str>,
    },
    /// No module has it.
    #[error(
        "neither the kernel nor its VFIO modules have such a parameter{}",
        if .has.is_empty() { String::new() } else { format!(": they have {}", .has.join(", ")) }
    )]
    Unknown {
        /// The parameters that there are.
        has: Vec<String>,
    },
    /// A value of another type.
    #[error("the value is not {expected}")]
    Value {
        /// What it must be.
        expected: &'static str,
    },
    /// Given again with another value.
    #[error("it is given twice, with two values")]
    Twice,
}

/// Why an executable cannot be the runtime.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// Not ELF, or damaged.
    #[error("the runtime is not an ELF executable")]
    NotElf(#[from] goblin::error::Error),
    /// Another architecture.
    #[error("the runtime is built for {found}, the kernel is {kernel}")]
    Machine {
        /// That of the executable.
        found: &'static str,
        /// That of the kernel.
        kernel: &'static str,
    },
    /// It needs an interpreter.
    #[error("the runtime is dynamically linked: PID 1 needs a static executable")]
    Dynamic,
    /// A library or an object file.
    #[error("the runtime is not a program but an ELF file of type {kind}")]
    NotAProgram {
        /// The type.
        kind: &'static str,
    },
}

/// Why a module cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModuleError {
    /// Two files of this name.
    #[error("is given twice")]
    Duplicate,
    /// Not a module, or damaged.
    #[error(transparent)]
    Parse(#[from] kernel::module::Error),
    /// It cannot be decompressed.
    #[error(transparent)]
    Compression(#[from] compression::Error),
    /// It was built for another kernel.
    #[error("was built for {built_for}, the kernel in the image is {release}")]
    Release {
        /// From its vermagic.
        built_for: String,
        /// Of the kernel.
        release: String,
    },
}

/// A finding in an rc file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RcFinding {
    /// The user's file.
    pub file: String,
    /// The finding.
    pub finding: Finding,
}

fn rc_text(findings: &[RcFinding]) -> String {
    let lines = findings.iter().map(|RcFinding { file, finding }| format!("{file}:{finding}"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The first few modules, and the number of the others.
fn misfits_text(misfits: &[Misfit]) -> String {
    const SHOWN: usize = 5;
    let shown: Vec<String> = misfits.iter().take(SHOWN).map(ToString::to_string).collect();
    let mut text = format!("the kernel would not load the modules: {}", shown.join("; "));
    if misfits.len() > SHOWN {
        text += &format!("; and {} more", misfits.len() - SHOWN);
    }
    text
}

/// Why an undo record cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UndoRecordError {
    /// It is not JSON of the expected shape.
    #[error(transparent)]
    Json(serde_json::Error),
    /// Another version wrote it.
    #[error("its format is {format}, this vfioboot reads {UNDO_FORMAT}")]
    Format {
        /// The format.
        format: u32,
    },
    /// It names no image, so there is nothing to undo.
    #[error("it lists no images")]
    NoImages,
}

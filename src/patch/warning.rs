//! The possible problems of a patch: data, and the text that the plan shows for each.

use serde::{Serialize, Serializer};

use crate::bootfile::DeviceSpec;
use crate::image::ImageKind;
use crate::modules::ModuleProblem;
use crate::rc::Finding;

/// A possible problem of a patch. Serialised as its text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// No image of the set has a kernel.
    #[error("no kernel in the set: whether it can do passthrough is not checked")]
    NoKernel,
    /// A patched image that another program has changed since.
    #[error(
        "{image} was patched before, and changed by another program since: that program's work is \
         kept, what the earlier patch added is taken out and put in anew. unpatch of the result gives \
         the image without the patch, which is not the very first original byte for byte"
    )]
    StartedOver {
        /// The image.
        image: ImageKind,
    },
    /// The kernel is damaged or in an unknown container.
    #[error("the kernel cannot be read, so nothing is known about it: {problem}")]
    KernelUnreadable {
        /// What the parser found.
        problem: String,
    },
    /// The kernel has no embedded config.
    #[error("the kernel has no embedded config: whether it can do passthrough is unknown")]
    NoKernelConfig,
    /// The config has the platform of kernels that unpack only the first segment.
    #[error(
        "CONFIG_ARCH_ROCKCHIP=y: a kernel from Rockchip's own SDK unpacks only the first segment \
         of a compressed ramdisk and would not find /vfioboot/init; mainline, GKI and distribution \
         kernels are fine"
    )]
    Rockchip,
    /// A module that vfio-pci needs is neither in the kernel nor in the ramdisk.
    #[error("CONFIG_{symbol}=m, and {module} is not in the ramdisk")]
    ModuleMissing {
        /// Its symbol in the kernel's config.
        symbol: &'static str,
        /// Its name.
        module: &'static str,
    },
    /// A module, or the rest of a container, could not be read.
    #[error(transparent)]
    ModuleUnreadable(ModuleProblem),
    /// A device given by address appears only after PID 1 has finished.
    #[error(
        "{device} appears only when the host bridge's module is loaded, which PID 1 does not wait \
         for: name it by VENDOR:DEVICE, so that vfio-pci takes it by its id"
    )]
    DeviceAppearsLate {
        /// The device.
        device: DeviceSpec,
    },
    /// The driver of a device is part of the kernel and may bind it before vfio-pci.
    #[error(
        "{device}: its driver {driver} is part of the kernel and loaded before vfio-pci: it may \
         bind the device first. vfiorun bind {device} takes it over once the system is up"
    )]
    DriverBuiltIn {
        /// The device.
        device: String,
        /// The driver.
        driver: String,
    },
    /// Recovery loads modules by the list that the segment shadows.
    #[error(
        "the ramdisk has no modules.load.recovery, so recovery loads by modules.load too; PID 1 \
         restores the original lists there"
    )]
    NoRecoveryList,
    /// The set has the generic ramdisk twice.
    #[error(
        "boot has a ramdisk as well as init_boot. Devices launched with Android 13 or later load \
         init_boot's, which is patched here; those with an android12 kernel load boot's: for such a \
         device patch boot.img (with vendor_boot.img) without init_boot.img, or it does not find \
         /vfioboot/init and does not boot"
    )]
    TwoGenericRamdisks,
    /// The ramdisk has no init program, and another one may have it.
    #[error(
        "this ramdisk has no {init}: the device does not boot unless another ramdisk, loaded with \
         it, has one"
    )]
    NoInit {
        /// The program's path.
        init: String,
    },
    /// A parameter of the set is overridden.
    #[error("{present} is on the command line; {added} comes after it and wins")]
    Overridden {
        /// The parameter on the command line.
        present: String,
        /// The one that the patch adds.
        added: String,
    },
    /// A driver of storage is kept away, and nothing shows what the host boots from.
    #[error(
        "{driver} drives {kind}, and nothing in the images shows what the host boots from: if it is \
         on such storage, it does not boot without that driver"
    )]
    BlocksStorage {
        /// The driver.
        driver: String,
        /// The kind of storage.
        kind: &'static str,
    },
    /// An option of a module that is neither in the kernel nor among the modules.
    #[error(
        "{option}: neither the kernel nor a module that was given shows whether there is such a \
         parameter; one that there is not is ignored"
    )]
    OptionNotChecked {
        /// The option.
        option: String,
    },
    /// A command line that the patch does not change says otherwise.
    #[error(
        "{present} is on a command line that this patch does not change (of another image, or built \
         into the kernel), and contradicts what was asked for: which of the two wins depends on the \
         bootloader's order"
    )]
    ContradictedElsewhere {
        /// The parameter there.
        present: String,
    },
    /// The kernel ignores the command line, and parameters with it.
    #[error(
        "the kernel ignores the command line that it is passed: whatever these parameters do must \
         be built into it with CONFIG_CMDLINE: {parameters}"
    )]
    CmdlineIgnored {
        /// The parameters, as one line.
        parameters: String,
    },
    /// No image of the set has a command line, without which the runtime is not started.
    #[error("no image of the set has a command line: add this to your bootloader's: {parameters}")]
    NoCmdline {
        /// The parameters, as one line.
        parameters: String,
    },
    /// No image of the set has a command line for parameters that the runtime can do without.
    #[error(
        "no image of the set has a command line for these parameters; the devices are bound \
         without them too: add them to your bootloader's, or give vendor_boot.img: {parameters}"
    )]
    NoCmdlineForOptional {
        /// The parameters, as one line.
        parameters: String,
    },
    /// The command lines of the images are longer than the kernel takes.
    #[error(
        "the command lines of the images come to {total} bytes; the kernel cuts off everything \
         after the first {kept}, and bootloaders add to it"
    )]
    CmdlineTooLong {
        /// Bytes of all of them, joined.
        total: usize,
        /// Bytes that the kernel keeps.
        kept: usize,
    },
    /// The image follows a bootloader in the file.
    #[error(
        "{image}: it starts at offset {offset:#x} of the file, after {loader}, which stays as it is. \
         Write the whole file to the partition from below {loader}; its own fastboot would put the \
         file at that offset"
    )]
    AfterLoader {
        /// The image.
        image: ImageKind,
        /// The bootloader.
        loader: &'static str,
        /// Its offset in the file, in bytes.
        offset: usize,
    },
    /// A file grows, and the size of its partition is not known.
    #[error("{image}: the file grows by {by} bytes to {size}: its partition must be that large")]
    FileGrows {
        /// The image.
        image: ImageKind,
        /// By how many bytes.
        by: u64,
        /// Bytes of the patched file.
        size: u64,
    },
    /// A finding in an rc file of the user.
    #[error("{file}:{finding}")]
    RcFile {
        /// Its name.
        file: String,
        /// The finding.
        finding: Finding,
    },
    /// Nothing shows whether the policy of the system has the domain of the service.
    #[error(
        "autostart: no default.prop says whether this is a userdebug or a user build. On a user \
         build the policy has no rules for {label}: init cannot start the service and says so in \
         the kernel log, nothing else is affected. The module that vfioboot module makes does \
         without"
    )]
    AutostartUncertain {
        /// The SELinux context of the service.
        label: String,
    },
    /// The key needs another signature algorithm.
    #[error(
        "{image}: it is signed with {after} instead of {before}, because the key has {key_bits} bits"
    )]
    AlgorithmChanges {
        /// The image.
        image: ImageKind,
        /// The name of the original algorithm.
        before: String,
        /// The name of the algorithm for the key.
        after: String,
        /// Bits of the key.
        key_bits: usize,
    },
    /// vbmeta.img has no descriptor for a changed image.
    #[error(
        "vbmeta.img does not describe {partition}: the device does not verify it with vbmeta.img"
    )]
    NotInVbmeta {
        /// The partition.
        partition: String,
    },
    /// avbtool would refuse to sign an image of this size.
    #[error(
        "{partition}: the image of {size} bytes leaves {} of the partition's {partition_size} for \
         AVB. Devices accept that, but avbtool wants {reserved} and would not sign it: at most {} \
         bytes",
        .partition_size - .size,
        .partition_size.saturating_sub(*.reserved)
    )]
    LittleRoomForAvb {
        /// The partition.
        partition: String,
        /// Bytes of the image proper.
        size: u64,
        /// Bytes of the partition.
        partition_size: u64,
        /// Bytes that avbtool reserves for its metadata.
        reserved: u64,
    },
}

impl Serialize for Warning {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

//! Why init would not read an rc file.

use crate::ramdisk::cpio::FileType;
use crate::root_manager::Manager;

/// Why init would not read an rc file in this ramdisk.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Inert {
    /// A root manager starts init.
    #[error(
        "patched by {manager}: {manager} reads no rc files from the ramdisk. Guests are started by \
         the module that vfioboot module makes"
    )]
    RootManager {
        /// Which one.
        manager: Manager,
    },
    /// A recovery image.
    #[error("recovery: its init.rc is read in recovery mode only, which is left alone")]
    Recovery,
    /// Two-stage init.
    #[error(
        "two-stage init: it continues in the system partition and reads rc files only there \
         (/system/etc/init and its like), never from this ramdisk. Guests are started by the module \
         that vfioboot module makes for Magisk, KernelSU and APatch"
    )]
    TwoStage,
    /// Legacy system-as-root.
    #[error(
        "legacy system-as-root: the system partition is the root file system, and its init.rc is \
         read. Guests are started by the module that vfioboot module makes"
    )]
    SystemAsRoot,
    /// A Linux initramfs, or nothing known.
    #[error(
        "{flow}: it is not known to be Android's init that runs from it: let the system's own \
         service manager call vfiorun autostart"
    )]
    NotAndroid {
        /// The title of the flow.
        flow: String,
    },
    /// `init.rc` leads out of the ramdisk.
    #[error("its init.rc is a symbolic link to a file that is not in the ramdisk")]
    DanglingInitRc,
    /// `init.rc` cannot be read.
    #[error("its init.rc is not a file that can be read as one ({file_type:?}, {size} bytes)")]
    UnreadableInitRc {
        /// What it is.
        file_type: FileType,
        /// Bytes of its data.
        size: u64,
    },
    /// `init.rc` has a path that cannot be written down.
    #[error("the path of its init.rc is not UTF-8")]
    OddInitRcPath,
}

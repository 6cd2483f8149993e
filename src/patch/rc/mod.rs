//! rc files of Android's init, where the boot flow makes init read them.
//!
//! | ramdisk | what init reads of it |
//! |---|---|
//! | legacy rootfs | `/init.rc` and what it imports: the segment shadows it with one more `import` line |
//! | Magisk-patched | `overlay.d/*.rc`, which magiskinit appends to `init.rc`; files in `overlay.d/sbin` are below `${MAGISKTMP}` then (`native/src/init/rootdir.cpp`) |
//! | any other | nothing |
//!
//! In a boot without the patch PID 1 restores the originals.
//!
//! | file | subject |
//! |---|---|
//! | `options` | what to do with rc files |
//! | `reason` | where init reads rc files of this boot flow |
//! | `inert` | why init would not read a file |
//! | `check` | what is wrong with the user's files |
//! | `text` | the text of our own |
//! | `overlay` | files added to the ramdisk, the originals kept |
//! | `label` | the SELinux context of the service |
//! | `contribute` | the contribution of rc files to a patch |

pub(crate) mod check;
pub(crate) mod contribute;
pub(crate) mod inert;
pub(crate) mod label;
pub(crate) mod options;
pub(crate) mod overlay;
pub(crate) mod reason;
pub(crate) mod text;

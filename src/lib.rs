//! `vfioboot`: boot images that come up with PCI devices already on vfio-pci.
//!
//! A map of the library, from the bottom to the top: a module uses only modules of the rows above
//! its own, and no two files import each other. `scripts/layers.py` proves both from this table.
//!
//! | module | subject |
//! |---|---|
//! | [`text`] | text from outside with what hides in it made visible |
//! | [`cmdline`] | the kernel command line: read, asked and edited by the kernel's own grammar |
//! | `usage` | the command line of vfiorun as data, shared by both programs (features `cli` and `vfiorun`) |
//! | [`bootfile`] | `/vfioboot/boot.toml`, the one format that desktop and device share |
//! | [`bootlog`] | what PID 1 says in the kernel log, shared by desktop and device |
//! | [`rules`] | what a kernel must have: the rules of `kernel-configs/` and their evaluator, shared by desktop and device |
//! | [`compression`] | gzip, lz4_legacy, lz4, xz, lzma, zstd, bzip2: detect, decode, encode |
//! | [`root_manager`] | Magisk and others: what each leaves in images, and how programs start there |
//! | [`image`] | boot, vendor_boot and init_boot images as regions that tile the file |
//! | [`ramdisk`] | segments, newc cpio, what kind of ramdisk this is |
//! | [`kernel`] | kernel containers, version, IKCONFIG, symbols, single modules |
//! | [`modules`] | trees of kernel modules: their lists, what a module needs, who drives a device |
//! | [`ota`] | OTA payloads: the partitions in them |
//! | [`container`] | files around images: compression, archives, updates, sparse and super images |
//! | [`bootset`] | the images of one device, as that device will use them |
//! | [`audit`] | a kernel config + rules → findings |
//! | [`rc`] | the Android init language: `.rc` files |
//! | [`patch`] | plan, injection, undo |
//! | `boottest` | boots a set in an emulator and reads the verdict (feature `boot-test`) |
//! | [`rootmodule`] | the zip that root managers install |
//! | `device` | on the device: PID 1 and binding (feature `device`) |
//!
//! For other programs there are [`bootset`], [`image`], [`ramdisk`], [`kernel`], [`audit::check()`],
//! [`patch::plan`] and [`patch::unpatch`], and [`bootset::avb::verify`]; `examples/` has one program
//! for each of the usual questions. The other modules are public for the two programs of this
//! package, and may change with them.
//!
//! The library returns values and typed errors; it never prints and never exits.
//! The programs are `src/main.rs` with `src/cli/` (vfioboot) and `src/bin/vfiorun/`
//! (vfiorun).

#![warn(unreachable_pub)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used))]

#[cfg_attr(not(feature = "desktop"), allow(dead_code, reason = "the desktop alone undoes a patch"))]
pub mod bootfile;
pub mod bootlog;
pub mod cmdline;
#[cfg_attr(not(feature = "desktop"), allow(dead_code, reason = "a running kernel has its config"))]
pub mod rules;
pub mod text;
#[cfg(any(feature = "cli", feature = "vfiorun"))]
pub mod usage;

#[cfg(feature = "desktop")]
pub mod audit;
#[cfg(feature = "desktop")]
pub mod bootset;
#[cfg(feature = "boot-test")]
pub mod boottest;
#[cfg(feature = "desktop")]
pub mod compression;
#[cfg(feature = "desktop")]
pub mod container;
#[cfg(feature = "desktop")]
pub mod image;
#[cfg(feature = "desktop")]
pub mod kernel;
#[cfg(feature = "desktop")]
pub mod modules;
#[cfg(feature = "desktop")]
pub mod ota;
#[cfg(feature = "desktop")]
pub mod patch;
#[cfg(feature = "desktop")]
pub mod ramdisk;
#[cfg(feature = "desktop")]
pub mod rc;
#[cfg(feature = "desktop")]
pub mod root_manager;
#[cfg(feature = "desktop")]
pub mod rootmodule;

#[cfg(feature = "device")]
pub mod device;

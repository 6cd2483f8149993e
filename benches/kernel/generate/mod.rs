//! Inputs that a seed determines: for the comparison with the kernel's code, and for the fuzzers.

pub mod bootconfig;
pub mod cmdline;
pub mod ramdisk;
pub mod random;

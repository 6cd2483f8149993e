//! The exit status of a failure.

/// Invalid arguments or unreadable input. Everything but `check`, `verify`, `patch` and `ramdisk
/// extract` ends in 0 or this.
pub const EXIT_FAILURE: u8 = 2;
/// The answer cannot be given: of `check` and `boot-test`.
pub const EXIT_UNDECIDED: u8 = 3;

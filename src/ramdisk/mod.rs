//! Ramdisks: segments, newc cpio, kinds.

//! `vfiorun`: the on-device companion.

fn main() {}

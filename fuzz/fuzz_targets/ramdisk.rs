//! Any bytes as a ramdisk: segments, entries, the tree, kinds, where a segment can be appended.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vfioboot::ramdisk::classify_ramdisk;
use vfioboot::ramdisk::tree::Tree;
use vfioboot::ramdisk::{Limits, Ramdisk, append_point, find_ours};

fuzz_target!(|bytes: &[u8]| {
    // Bombs are refused at the limit; a small one keeps the fuzzer fast.
    let limits = Limits { unpacked: 16 << 20, ..Limits::default() };
    if let Ok(ramdisk) = Ramdisk::parse(bytes, limits) {
        let mut end = 0;
        for (range, _) in ramdisk.tiles() {
            assert_eq!(range.start, end);
            end = range.end;
        }
        assert_eq!(end, bytes.len());
    }
    let _ = Tree::read(bytes, limits);
    let _ = classify_ramdisk(bytes, limits);
    if let Ok(point) = append_point(bytes) {
        assert!(point.offset <= bytes.len() && point.padding < 4 && point.lead_in < 4);
    }
    if let Some(range) = find_ours(bytes) {
        assert!(range.end <= bytes.len() && !range.is_empty());
    }
});

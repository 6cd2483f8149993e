//! Any bytes as a ramdisk: segments, entries, the tree, kinds, where a segment can be appended.
#![no_main]

#[path = "../../benches/kernel/generate/mod.rs"]
#[allow(dead_code, reason = "each target uses its own part")]
mod generate;
mod shape;

use generate::random::Random;
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
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

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut random = Random::new(u64::from(seed));
    match seed % 8 {
        0 => shape::put(data, &generate::ramdisk::ramdisk(&mut random), max_size),
        1..3 => shape::cpio(data, size, max_size, &mut random),
        _ => fuzzer_mutate(data, size, max_size),
    }
});

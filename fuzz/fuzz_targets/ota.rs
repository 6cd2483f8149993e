//! Any bytes as a payload.bin or another container: what is written is not more than the container says,
//! and that of a payload has its hash.
#![no_main]

#[path = "../../benches/kernel/generate/mod.rs"]
#[allow(dead_code, reason = "each target uses its own part")]
mod generate;
mod shape;

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use vfioboot::container::{self, Choice, Error, Memory};
use vfioboot::ota::Payload;

/// A partition of more bytes is only zeros: files are smaller.
const LARGE: u64 = 1 << 20;

fuzz_target!(|file: &[u8]| {
    if let Ok(payload) = Payload::parse(file) {
        for partition in payload.partitions().iter().filter(|partition| partition.size <= LARGE) {
            let mut out = Vec::new();
            let written = payload.write(partition, &mut out);
            assert!(out.len() as u64 <= partition.size);
            assert!(written.is_err() || out.len() as u64 == partition.size);
        }
    }
    let _ = container::open(file, "file.img.gz", &Memory, |opened| {
        let all: Vec<usize> = (0..opened.entries().len()).collect();
        for at in all {
            let _ = opened.each::<Error>(&[at], LARGE, &mut |entry, fill| {
                let mut out = Vec::new();
                let written = fill(&mut out);
                // Only a compressed file can have more bytes than its archive says.
                assert!(written.is_err() || entry.size.is_none_or(|_| out.len() as u64 <= LARGE));
                Ok(())
            });
        }
        let _ = opened.boot_set();
        Ok::<(), Error>(())
    });
    let _ = container::read(file, "file.img.gz", Choice::Only, &Memory);
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    match seed % 2 {
        0 => shape::payload(data, size, max_size),
        _ => fuzzer_mutate(data, size, max_size),
    }
});

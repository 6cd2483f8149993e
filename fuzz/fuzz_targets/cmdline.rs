//! Any bytes as a kernel command line, and edits of it: other parameters keep their bytes.
#![no_main]

#[path = "../../benches/kernel/generate/mod.rs"]
#[allow(dead_code, reason = "each target uses its own part")]
mod generate;

use generate::random::Random;
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use vfioboot::cmdline::{Cmdline, closes_quotes};

fuzz_target!(|bytes: &[u8]| {
    let line = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    let own = Cmdline::new(line);
    let before: Vec<Vec<u8>> = own.all().map(|own| own.raw.to_vec()).collect();
    let mut edited = Cmdline::new(line.to_vec());
    edited.prepend("first");
    edited.set("k", "1");
    edited.add("last");
    assert_eq!(edited.value("k"), Some(&b"1"[..]));
    assert!(edited.has("last") && edited.all().next().is_some_and(|own| own.raw == b"first"));
    assert!((before.len() + 1..=before.len() + 3).contains(&edited.all().count()));
    edited.remove("first");
    edited.remove("last");
    assert!(!edited.has("last"));
    // One parameter more, and the line is what it was without it.
    if !own.has("added") && closes_quotes(line) {
        let mut edited = Cmdline::new(line.to_vec());
        edited.add("added");
        assert!(edited.has("added"));
        edited.remove("added");
        assert_eq!(edited.as_bytes(), line);
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    if seed % 4 > 0 {
        return fuzzer_mutate(data, size, max_size);
    }
    let line = generate::cmdline::line(&mut Random::new(u64::from(seed)));
    let size = line.len().min(max_size);
    data[..size].copy_from_slice(&line[..size]);
    size
});

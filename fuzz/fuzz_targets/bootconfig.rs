//! Any bytes as a bootconfig, and edits of it: nothing panics, other keys keep their values.
#![no_main]

#[path = "../../benches/kernel/generate/mod.rs"]
#[allow(dead_code, reason = "each target uses its own part")]
mod generate;

use generate::random::Random;
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use vfioboot::image::bootconfig::{Bootconfig, Entry, Limits};

/// In the order of their keys: another key may come first among those below one when `k` goes.
fn others(config: &Bootconfig) -> Vec<Entry> {
    let mut others: Vec<_> = config.entries().into_iter().filter(|own| own.key != "k").collect();
    others.sort_by(|a, b| a.key.cmp(&b.key));
    others
}

fuzz_target!(|bytes: &[u8]| {
    let Ok(config) = Bootconfig::parse(bytes) else { return };
    for statement in config.statements() {
        assert!(!config.as_bytes()[statement.span.clone()].is_empty());
    }
    let sound = config.validate(Limits::KERNEL).is_ok();
    let mut edited = config.clone();
    edited.set("k", "'new;'").unwrap();
    // A value at the very end, before zeros, keeps the spaces after it only there.
    if bytes.split(|byte| *byte == 0).next().is_some_and(|text| text.ends_with(b"\n")) {
        assert_eq!(others(&edited), others(&config));
    }
    assert!(!sound || edited.validate(Limits { bytes: usize::MAX, nodes: usize::MAX }).is_ok());
    let before = edited.clone();
    edited.remove("k").unwrap();
    assert_eq!(others(&edited), others(&before));
    // Braces without anything in them stay.
    assert!(edited.entries().iter().all(|own| own.key != "k" || own.values.is_empty()));
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    if seed % 4 > 0 {
        return fuzzer_mutate(data, size, max_size);
    }
    let text = generate::bootconfig::text(&mut Random::new(u64::from(seed)));
    let size = text.len().min(max_size);
    data[..size].copy_from_slice(&text[..size]);
    size
});

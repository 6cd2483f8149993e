//! Any bytes as a bootconfig, and edits of it: nothing panics, other keys keep their values.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vfioboot::image::bootconfig::{Bootconfig, Entry, Limits};

fn others(config: &Bootconfig) -> Vec<Entry> {
    config.entries().into_iter().filter(|entry| entry.key != "k").collect()
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
    assert_eq!(edited.entries().len(), others(&before).len());
});

//! Several images of one device and the options of a patch: its results prove themselves, and undoing
//! gives the originals.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../shared.rs"]
#[allow(dead_code, reason = "each target uses its own part")]
mod shared;

fuzz_target!(|input: &[u8]| {
    shared::sets(input);
});

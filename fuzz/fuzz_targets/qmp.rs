//! Any bytes as what QEMU's monitor sends, line by line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vfioboot::device::guest::qemu::qmp::{Event, Message, parse};

fuzz_target!(|bytes: &[u8]| {
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        if let Some(Message::Event(Event::Shutdown(cause))) = parse(line) {
            let _ = cause.name();
        }
    }
});

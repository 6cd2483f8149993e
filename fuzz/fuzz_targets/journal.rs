//! Any bytes as a journal: what is whole of it stays what it is when the rest is cut off.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vfioboot::device::bind::journal;

fuzz_target!(|bytes: &[u8]| {
    look(bytes);
    // The same text with right checksums, so that more than the first line is read.
    let mut whole = Vec::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        whole.extend_from_slice(format!("{:08x} ", crc32(line)).as_bytes());
        whole.extend_from_slice(line);
        whole.push(b'\n');
    }
    look(&whole);
});

fn look(bytes: &[u8]) {
    let read = journal::parse(bytes);
    assert!(read.size <= bytes.len() as u64);
    assert!(read.undone.iter().all(|number| *number < read.steps.len()));
    assert!(read.open_steps().count() <= read.steps.len());
    let again = journal::parse(&bytes[..read.size as usize]);
    assert_eq!(again, read);
}

/// The CRC-32 of gzip.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 0 { crc >> 1 } else { crc >> 1 ^ 0xedb8_8320 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

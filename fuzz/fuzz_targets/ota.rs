//! Any bytes as a payload.bin or a zip file: what is written is not more than the manifest says, and
//! has its hash.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vfioboot::ota::{Archive, Payload};

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
    let Ok(mut archive) = Archive::open(file) else { return };
    let _ = archive.contents();
    let members: Vec<_> = archive.images().map(|(_, member)| member.clone()).collect();
    for member in members {
        if let Ok(Some(bytes)) = archive.stored(&member) {
            assert_eq!(bytes.len() as u64, member.size);
        }
        let _ = archive.copy(&member, &mut std::io::sink());
    }
});

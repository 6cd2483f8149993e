//! Any text as a guest file: an error that names a line, or arguments for QEMU and a domain for libvirt.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vfioboot::device::guest::file::{self, Arch, GuestError};
use vfioboot::device::guest::qemu::argv::{Backing, Resources};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match file::parse(text, "guest.toml") {
        Ok(guest) => {
            for arch in [Arch::Aarch64, Arch::X86_64] {
                let resources = Resources::new(arch, Backing::Anonymous, "/run/vfiorun/guest");
                let argv = guest.arguments(&resources, &[]);
                assert!(argv.iter().all(|word| !word.contains('\0')), "{argv:?}");
                if let Ok(domain) = guest.domain(arch, "/usr/bin/qemu-system", &[]) {
                    let control = |c: char| c < ' ' && !matches!(c, '\n' | '\t' | '\r');
                    assert!(!domain.contains(control), "{domain}");
                }
            }
        }
        Err(GuestError::Value { line, .. }) => {
            assert!((1..=text.split('\n').count() + 1).contains(&line), "{line}");
        }
        Err(_) => {}
    }
});

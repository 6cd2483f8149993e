//! Any text as the boot file of PID 1: an error that names a line, or a file that is read again from what
//! the desktop writes of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vfioboot::device::boot::file::{self, BootFileError};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match file::parse(text) {
        Ok(boot) => {
            let again = toml::to_string(&boot).unwrap();
            assert_eq!(file::parse(&again).unwrap(), boot);
        }
        Err(BootFileError::Syntax { line, .. }) => {
            assert!((1..=text.split('\n').count() + 1).contains(&line), "{line}");
        }
        Err(_) => {}
    }
});

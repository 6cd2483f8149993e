//! Any bytes as a kernel config: what is read of it is read again from what it is written as.
#![no_main]

use std::fmt::Write;

use libfuzzer_sys::fuzz_target;
use vfioboot::kernel::config::{KernelConfig, Value};
use vfioboot::kernel::config_file;

fuzz_target!(|bytes: &[u8]| {
    let _ = config_file::read(bytes);
    let Ok(config) = KernelConfig::parse(bytes) else { return };
    let mut text = String::new();
    for (symbol, value) in config.iter() {
        let line = match value {
            Value::No => writeln!(text, "# CONFIG_{symbol} is not set"),
            Value::Text(string) => {
                let string = string.replace('\\', "\\\\").replace('"', "\\\"");
                writeln!(text, "CONFIG_{symbol}=\"{string}\"")
            }
            value => writeln!(text, "CONFIG_{symbol}={value}"),
        };
        line.unwrap();
    }
    let again = KernelConfig::parse(text.as_bytes()).unwrap();
    assert!(again.iter().eq(config.iter()));
    assert!(again.strange_lines().is_empty() && again.duplicates().is_none());
});

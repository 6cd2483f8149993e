//! Any text as boot.toml, image.toml and a device.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vfioboot::bootfile::{BootFile, DeviceSpec};
use vfioboot::image::unpacked;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(boot) = toml::from_str::<BootFile>(text) {
        let again = toml::to_string(&boot).unwrap();
        assert_eq!(toml::from_str::<BootFile>(&again).unwrap(), boot);
    }
    if let Ok(device) = text.parse::<DeviceSpec>() {
        assert_eq!(device.to_string().parse(), Ok(device));
    }
    // What a file holds does not matter here; more than this a manifest makes by itself.
    if !text.contains("00000000") {
        let _ = unpacked::repack(text, |_| Ok(b"ANDROID!".to_vec()));
    }
});

//! Any text as boot.toml, image.toml, a device, a kernel command line and an edit of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vfioboot::bootfile::{BootFile, DeviceSpec};
use vfioboot::image::unpacked;
use vfioboot::cmdline::Cmdline;

fuzz_target!(|bytes: &[u8]| {
    edits(bytes);
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

fn edits(bytes: &[u8]) {
    let line = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    let before = Cmdline::new(line).all().count();
    let mut edited = Cmdline::new(line.to_vec());
    edited.prepend("first");
    edited.set("k", "1");
    edited.add("last");
    assert_eq!(edited.value("k"), Some(&b"1"[..]));
    assert!(edited.has("last") && edited.all().next().is_some_and(|own| own.raw == b"first"));
    assert!((before + 1..=before + 3).contains(&edited.all().count()));
    edited.remove("first");
    edited.remove("last");
    assert!(!edited.has("last"));
}

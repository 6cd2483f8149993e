//! Any bytes as a kernel and as a module.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vfioboot::kernel::{Kernel, KernelConfig, Module};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(kernel) = Kernel::parse(bytes) {
        let _ = kernel.describe();
        if let Ok(scan) = kernel.scan()
            && let Some(config) = scan.ikconfig
        {
            let _ = KernelConfig::header(&config.text);
        }
        for dtb in kernel.appended_dtbs().unwrap_or_default() {
            assert!(dtb.offset + dtb.size <= bytes.len());
        }
    }
    let _ = Kernel::raw(bytes).scan();
    let _ = Module::parse(bytes, "fuzz.ko");
});

//! The parameters of built-in modules, by the strings that `__module_param_call` of
//! `include/linux/moduleparam.h` leaves in a kernel: `vfio_pci.ids`.

use std::collections::BTreeSet;

use memchr::memmem;

/// Maximum length of a parameter's name in bytes.
const MAX_NAME: usize = 128;

/// The strings `module.parameter` of these modules, each once, in a decompressed kernel.
pub(super) fn of(kernel: &[u8], modules: &[&str]) -> Vec<String> {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let mut found = BTreeSet::new();
    for module in modules {
        let prefix = format!("{module}.");
        for start in memmem::find_iter(kernel, &prefix) {
            let name = &kernel[start + prefix.len()..];
            let name = &name[..name.iter().take(MAX_NAME).take_while(|b| is_word(b)).count()];
            let begins = start.checked_sub(1).and_then(|before| kernel.get(before));
            // After other text it is part of a path, or the name of a lock.
            let begins = begins.is_none_or(|byte| !byte.is_ascii_graphic());
            let ends = kernel.get(start + prefix.len() + name.len()) == Some(&0);
            if begins && ends && !name.is_empty() {
                found.insert(format!("{prefix}{}", String::from_utf8_lossy(name)));
            }
        }
    }
    found.into_iter().collect()
}

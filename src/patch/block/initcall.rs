//! The function that starts a driver of the kernel, by the kernel's symbols.
//!
//! `initcall_blacklist=` compares the name of the function (`init/main.c`). With `KALLSYMS_ALL`, the
//! symbols of the table of initcalls say which functions are whose (`include/linux/init.h`):
//!
//! | Kernel | Symbol | Function |
//! |---|---|---|
//! | from 5.11 on | `__initcall__kmod_nvme__288_3456_nvme_init6` | `nvme_init` |
//! | the same with LTO | `__initstub__kmod_nvme__288_3456_nvme_init6` | that symbol itself |
//! | before | `__initcall_nvme_init6` | `nvme_init` |
//!
//! Without it there are functions only, and those with the usual names count.

use crate::kernel::Kallsyms;

/// Ends of a symbol of the table: the level.
const LEVELS: &[&str] = &[
    "0", "0s", "1", "1s", "2", "2s", "3", "3s", "4", "4s", "5", "5s", "6", "6s", "7", "7s",
    "rootfs", "early", "con",
];
/// Names that `module_init`, `module_pci_driver` and their kind usually give the function; `@` is
/// the module.
const USUAL: &[&str] = &[
    "@_init",
    "@_driver_init",
    "@_pci_driver_init",
    "@_init_module",
    "@_module_init",
    "@_pci_init",
    "@_mod_init",
    "@_drv_init",
    "@_init_driver",
    "@_platform_driver_init",
    "init_@",
    "@_init_one_driver",
];
/// Drivers whose function has another name.
const OTHERS: &[(&str, &str)] = &[
    ("snd_hda_intel", "azx_driver_init"),
    ("e1000e", "e1000_init_module"),
    ("r8169", "rtl8169_pci_driver_init"),
    ("nouveau", "nouveau_drm_init"),
    ("igb", "igb_init_module"),
    ("igc", "igc_init_module"),
    ("ixgbe", "ixgbe_init_module"),
    ("xe", "xe_init"),
    ("ehci_pci", "ehci_pci_init"),
    ("iwlwifi", "iwl_drv_init"),
];

/// The functions that start the module `name`; none if it is not part of the kernel.
pub(super) fn of(symbols: &Kallsyms, name: &str) -> Vec<String> {
    let marks = [format!("__initstub__kmod_{name}__"), format!("__initcall__kmod_{name}__")];
    let (mut stubs, mut functions, mut has_table) = (Vec::new(), Vec::new(), false);
    for symbol in symbols.iter().filter_map(|symbol| std::str::from_utf8(symbol).ok()) {
        has_table |= symbol.starts_with("__initcall_");
        if symbol.starts_with(&marks[0]) {
            stubs.push(symbol.to_owned());
        } else if let Some(rest) = symbol.strip_prefix(&marks[1])
            && let Some(function) = function_of(rest)
        {
            functions.push(function.to_owned());
        }
    }
    for found in [stubs, functions] {
        if !found.is_empty() {
            return found;
        }
    }
    let listed = |function: &str| {
        let mut names = LEVELS.iter().map(|level| format!("__initcall_{function}{level}"));
        !has_table || names.any(|name| symbols.has(&name))
    };
    let usual = USUAL.iter().map(|form| form.replace('@', name));
    let others = OTHERS.iter().filter(|(own, _)| *own == name).map(|(_, f)| (*f).to_owned());
    let found = others.chain(usual).find(|function| symbols.has(function) && listed(function));
    found.into_iter().collect()
}

/// The function in `288_3456_nvme_init6`, which follows the module's name.
fn function_of(rest: &str) -> Option<&str> {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (counter, rest) = rest.split_once('_')?;
    let (line, rest) = rest.split_once('_')?;
    let levels = LEVELS.iter().filter_map(|level| rest.strip_suffix(level));
    let function = levels.min_by_key(|function| function.len())?;
    (is_number(counter) && is_number(line) && !function.is_empty()).then_some(function)
}

#[cfg(test)]
mod tests {
    use super::function_of;

    #[test]
    fn the_function_is_between_the_numbers_and_the_level() {
        for (rest, function) in [
            ("288_3456_nvme_init6", Some("nvme_init")),
            ("1_2_arm_smmu_init3s", Some("arm_smmu_init")),
            ("1_2_populate_rootfsrootfs", Some("populate_rootfs")),
            ("1_2_x_initearly", Some("x_init")),
            ("1_2_e1000_init_module6", Some("e1000_init_module")),
            ("nvme_init6", None),
            ("1_2_6", None),
            ("1_2_nvme_init", None),
        ] {
            assert_eq!(function_of(rest), function, "{rest}");
        }
    }
}

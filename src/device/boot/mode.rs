//! Whether to do anything in this boot.

use core::fmt;

use crate::bootfile;
use crate::cmdline::Cmdline;

/// What the decision is made from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    /// `/proc/cmdline`; `None` when it cannot be read.
    pub cmdline: Option<&'a str>,
    /// `/proc/bootconfig`; `None` when there is none (before Linux 5.15, or
    /// without `CONFIG_BOOT_CONFIG`).
    pub bootconfig: Option<&'a str>,
    /// Whether the ramdisk has a recovery program, see `RECOVERY_PROGRAMS`.
    pub recovery_program: bool,
}

/// Paths in the ramdisk, one of which is there when it can boot into recovery.
pub(crate) const RECOVERY_PROGRAMS: &[&str] = &["sbin/recovery", "system/bin/recovery"];

/// Why nothing is done in this boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skip {
    /// The user said so with [`bootfile::DISABLE_PARAMETER`].
    Disabled,
    /// The device is off and charging.
    Charger,
    /// It boots into recovery, which must keep working whatever else is broken.
    Recovery,
    /// The command line cannot be read, so it could be any of the above.
    Unknown,
    /// So many boots before this one ended in a panic soon after PID 1 had started.
    FailedBoots(u32),
    /// This key is held down.
    KeyHeld(&'static str),
}

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Disabled => "vfioboot.disable is on the command line",
            Self::Charger => "charger mode",
            Self::Recovery => "recovery mode",
            Self::Unknown => "/proc/cmdline cannot be read",
            Self::FailedBoots(boots) => {
                return write!(
                    f,
                    "{boots} boots ended in a panic (/sys/fs/pstore says why; without its records it is tried again)"
                );
            }
            Self::KeyHeld(key) => return write!(f, "{key} is held down"),
        })
    }
}

/// Decides. `None` means: go on.
///
/// Android's own rules (`system/core/init`, `IsRecoveryMode` and
/// `ForceNormalBoot`): a ramdisk that contains recovery boots into it unless the
/// bootloader passes `androidboot.force_normal_boot=1`. Parameters come on the
/// command line or, since Android 12, in bootconfig; either counts.
pub fn decide(facts: Facts<'_>) -> Option<Skip> {
    let Some(cmdline) = facts.cmdline else { return Some(Skip::Unknown) };
    let line = Cmdline::new(cmdline);
    // Android's own reader of the line takes names as they are.
    let android = |key: &str, value: &str| {
        line.all().any(|own| own.name == key.as_bytes() && own.value == Some(value.as_bytes()))
            || facts.bootconfig.is_some_and(|text| bootconfig_has(text, key, value))
    };
    if bootfile::is_disabled(&line) {
        Some(Skip::Disabled)
    } else if android("androidboot.mode", "charger") {
        Some(Skip::Charger)
    } else if android("androidboot.mode", "recovery")
        || (facts.recovery_program && !android("androidboot.force_normal_boot", "1"))
    {
        Some(Skip::Recovery)
    } else {
        None
    }
}

/// The values of an Android parameter, from the command line and from bootconfig.
pub(crate) fn android_values(cmdline: &str, bootconfig: &str, key: &str) -> Vec<String> {
    let line = Cmdline::new(cmdline);
    let own = line.all().filter(|own| own.name == key.as_bytes());
    let own = own.filter_map(|own| Some(String::from_utf8_lossy(own.value?).into_owned()));
    let lines = bootconfig.lines().filter_map(|line| line.split_once('='));
    let of_key = lines.filter(|(name, _)| name.trim() == key);
    own.chain(of_key.map(|(_, value)| value.trim().replace('"', ""))).collect()
}

/// Whether `key = "value"` is among the lines of `/proc/bootconfig`, which prints
/// every key in full and every value in quotes (`fs/proc/bootconfig.c`).
fn bootconfig_has(text: &str, key: &str, value: &str) -> bool {
    text.lines()
        .filter_map(|line| line.split_once('='))
        .any(|(k, v)| k.trim() == key && v.trim().trim_matches('"') == value)
}

//! What the running system says of its bootloader and its slot.

use std::fs;
use std::path::Path;

use super::error::Refusal;
use crate::cmdline::Cmdline;
use crate::image::bootconfig::Bootconfig;

/// The parameters of the bootloader that decide. The kernel has them from it; properties can be changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Running {
    /// The suffix of the running slot, such as `_a`; None where there are no slots.
    pub slot: Option<String>,
    /// The parameter by which the bootloader says that it is locked.
    pub locked: Option<String>,
}

/// Parameters whose value tells a locked bootloader from an unlocked one, without `androidboot.`, the
/// strongest first: the value of an unlocked one.
const LOCKS: &[(&str, &str)] =
    &[("verifiedbootstate", "orange"), ("vbmeta.device_state", "unlocked"), ("flash.locked", "0")];

impl Running {
    /// Read `/proc/bootconfig` and `/proc/cmdline` below `root`. What is not Android says neither.
    pub fn read(root: &Path) -> Self {
        let file = |name| fs::read(root.join("proc").join(name)).unwrap_or_default();
        let cmdline = file("cmdline");
        let line = Cmdline::new(&cmdline[..]);
        let bootconfig = Bootconfig::parse(&file("bootconfig"));
        let entries = bootconfig.map(|own| own.entries()).unwrap_or_default();
        let value = |name: &str| {
            let key = format!("androidboot.{name}");
            let entry = entries.iter().find(|entry| entry.key == key);
            let text = entry.and_then(|entry| entry.values.first()).map(ToString::to_string);
            // of two on the command line init takes the first
            let word = || {
                line.values(&key).next().map(|value| String::from_utf8_lossy(value).into_owned())
            };
            text.or_else(word).filter(|value| !value.is_empty())
        };
        let locked = LOCKS.iter().find_map(|(name, unlocked)| {
            let value = value(name)?;
            Some((value != *unlocked).then(|| format!("androidboot.{name}={value}")))
        });
        Running { slot: value("slot_suffix"), locked: locked.flatten() }
    }

    /// Whether an image for one of the partitions `expected` (any, when there are none) may be written to
    /// the one with this name.
    ///
    /// # Errors
    /// [`Refusal::Locked`], [`Refusal::OtherPartition`], [`Refusal::OtherSlot`].
    pub fn allow(
        &self,
        name: Option<&str>,
        expected: &[String],
        other_slot: bool,
    ) -> Result<(), Refusal> {
        if let Some(parameter) = &self.locked {
            return Err(Refusal::Locked(parameter.clone()));
        }
        let Some(name) = name else { return Ok(()) };
        let (base, slot) = match name.get(name.len().saturating_sub(2)..) {
            Some(suffix @ ("_a" | "_b")) => (&name[..name.len() - 2], Some(suffix)),
            _ => (name, None),
        };
        let fits = |partition: &String| partition.eq_ignore_ascii_case(base);
        if !expected.is_empty() && !expected.iter().any(fits) {
            let (name, expected) = (name.to_owned(), expected.join(" or "));
            return Err(Refusal::OtherPartition { name, expected });
        }
        match (slot, &self.slot) {
            (Some(slot), Some(running)) if slot != running && !other_slot => {
                Err(Refusal::OtherSlot { slot: slot.to_owned(), running: running.clone() })
            }
            _ => Ok(()),
        }
    }
}

//! The bootconfig of an image: print it, edit it, and say what to know about the result.

use anyhow::bail;
use vfioboot::cmdline::Cmdline;
use vfioboot::image::bootconfig::{Bootconfig, Limits};
use vfioboot::image::{Image, SectionName};

use crate::cli::input::Input;
use crate::cli::print::{self, complain};

/// Keys that bootloaders add themselves (AOSP's "Implement bootconfig" and "Properties set by the
/// bootloader"). When one is there twice, the kernel ignores all of it.
const OF_BOOTLOADERS: &[&str] = &[
    "androidboot.baseband",
    "androidboot.bootdevice",
    "androidboot.bootloader",
    "androidboot.bootreason",
    "androidboot.force_normal_boot",
    "androidboot.mode",
    "androidboot.serialno",
    "androidboot.slot_suffix",
    "androidboot.vbmeta.device_state",
    "androidboot.vbmeta.digest",
    "androidboot.verifiedbootstate",
    "androidboot.veritymode",
];

pub fn print(inputs: &[&Input], images: &[Image<'_>]) -> anyhow::Result<()> {
    for (input, image) in inputs.iter().zip(images) {
        let Some(section) = image.section(SectionName::Bootconfig) else {
            bail!("{}: this {} image has no bootconfig", input.name(), image.kind());
        };
        print::contents(Bootconfig::parse(section)?.as_bytes())?;
    }
    Ok(())
}

/// The bootconfig after the edits, which the kernel accepts; None without an edit.
pub fn edited(
    set: &[String],
    remove: &[String],
    image: &Image<'_>,
) -> anyhow::Result<Option<Bootconfig>> {
    if set.is_empty() && remove.is_empty() {
        return Ok(None);
    }
    let sections = image.header().map(|header| header.sections()).unwrap_or_default();
    if !sections.iter().any(|field| field.section == SectionName::Bootconfig) {
        bail!(
            "only vendor_boot of header version 4 has a bootconfig, this {} image has none",
            image.kind()
        );
    }
    let section = image.section(SectionName::Bootconfig).unwrap_or_default();
    let mut config = Bootconfig::parse(section)?;
    for key in remove {
        config.remove(key)?;
    }
    for text in set {
        let Some((key, value)) = text.split_once('=') else {
            bail!("--bootconfig-set {text}: expected KEY=VALUE");
        };
        config.set(key.trim(), value)?;
    }
    config.validate(Limits::KERNEL)?;
    Ok(Some(config))
}

/// Print notes about how the kernel and the bootloader may treat it.
pub fn report(input: &Input, config: &Bootconfig, line: &Cmdline) {
    let note = |text: &str| complain(format_args!("note: {}: {text}", input.name()));
    if !config.statements().is_empty() && !line.has("bootconfig") {
        note(
            "the kernel reads a bootconfig only with the parameter bootconfig on its command \
             line, which this image does not have (--add bootconfig), or with \
             CONFIG_BOOT_CONFIG_FORCE",
        );
    }
    if config.nodes() > Limits::NODES_OF_OLD_KERNELS {
        note(&format!(
            "the bootconfig has {} nodes: kernels before 5.19 take 1024 at most, with those that \
             the bootloader adds",
            config.nodes()
        ));
    }
    for entry in config.entries() {
        if OF_BOOTLOADERS.contains(&entry.key.as_str()) {
            note(&format!(
                "{}: bootloaders add this key themselves, and a key that is there twice makes the \
                 kernel ignore the whole bootconfig",
                entry.key
            ));
        }
    }
}

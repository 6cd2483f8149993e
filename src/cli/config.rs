//! `vfioboot config`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use vfioboot::audit::CheckError;
use vfioboot::bootset::{self, BootSet, File};
use vfioboot::kernel::Scan;

use super::image_set;
use super::input::Input;
use super::print;

/// Print the kernel config that is embedded in a kernel or in the kernel of a boot image
///
/// It is the .config of the build, byte for byte, and is there when the kernel was built with
/// CONFIG_IKCONFIG=y.
#[derive(clap::Args)]
pub struct Args {
    /// A boot image or a bare kernel (Image, Image.gz, EFI zboot, zImage, bzImage, vmlinux), or a
    /// container with one; `-` is standard input
    input: PathBuf,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let inputs = image_set::open(std::slice::from_ref(&args.input))?;
    let text = embedded_config(&inputs).with_context(|| args.input.display().to_string())?;
    print::contents(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn embedded_config(inputs: &[Input]) -> anyhow::Result<Vec<u8>> {
    let files = inputs.iter().map(|input| File::new(input.name(), input));
    let set = BootSet::new(files).map_err(|error| match error {
        // The caller names the file.
        bootset::Error::Image { source, .. } => anyhow::Error::from(source),
        other => other.into(),
    })?;
    let kernel = set.parse_kernel().ok_or_else(|| CheckError::without_kernel(&set))?;
    let scan = kernel?.scan()?;
    match scan.ikconfig {
        Some(ikconfig) => Ok(ikconfig.text),
        None => bail!("{}", no_config(scan)),
    }
}

/// Why there is no config, and how to obtain one.
fn no_config(scan: Scan) -> String {
    if let Some(damage) = scan.damage {
        return format!("no config was found before the kernel's damage: {damage}");
    }
    let version = scan.version.map(|version| format!(" (Linux {version})")).unwrap_or_default();
    format!(
        "the kernel{version} has no config embedded. Build it with CONFIG_IKCONFIG=y, or take the \
         config from elsewhere (/proc/config.gz of the running device, the .config of the build, \
         /boot/config-* of a distribution) and give it to `vfioboot check --config FILE`"
    )
}

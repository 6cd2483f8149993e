//! `vfioboot config`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use vfioboot::image::{Image, ImageKind, SectionName};
use vfioboot::kernel::{self, Kernel, Scan};

use super::{input::Input, output};

/// Print the kernel config that is embedded in a kernel or in the kernel of a boot image
///
/// It is the .config of the build, byte for byte, and is there when the kernel was built with
/// CONFIG_IKCONFIG=y.
#[derive(clap::Args)]
pub struct Args {
    /// A boot image or a bare kernel (Image, Image.gz, EFI zboot, zImage, bzImage, vmlinux); `-`
    /// is standard input
    input: PathBuf,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let input = Input::open(&args.input)?;
    let text = embedded_config(&input).with_context(|| input.name())?;
    output::to_stdout(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn embedded_config(input: &[u8]) -> anyhow::Result<Vec<u8>> {
    let scan = kernel_payload(input)?.kernel()?.scan()?;
    match scan.ikconfig {
        Some(ikconfig) => Ok(ikconfig.text),
        None => bail!("{}", no_config(scan)),
    }
}

/// Why there is no config, and what to do about it.
fn no_config(scan: Scan) -> String {
    if let Some(damage) = scan.damage {
        return format!("no config was found before the kernel's damage: {damage}");
    }
    let version = scan.version.map(|version| format!(" (Linux {version})")).unwrap_or_default();
    format!("the kernel{version} has no config embedded. {HOW_TO_GET_A_CONFIG}")
}

/// Advice for a kernel without an embedded config.
pub(super) const HOW_TO_GET_A_CONFIG: &str = "Build it with CONFIG_IKCONFIG=y, or take the \
    config from elsewhere (/proc/config.gz of the running device, the .config of the build, \
    /boot/config-* of a distribution) and give it to `vfioboot check --config FILE`";

/// The kernel in an input.
pub(super) struct Payload<'a> {
    /// Its bytes, as they stand in the image.
    pub bytes: &'a [u8],
    /// The command line in the image's header, when there is such a header.
    pub cmdline: Option<String>,
}

impl<'a> Payload<'a> {
    /// Recognise it. What a boot image calls its kernel and has no known header is searched as it
    /// is.
    pub fn kernel(&self) -> Result<Kernel<'a>, kernel::Error> {
        match Kernel::parse(self.bytes) {
            Err(kernel::Error::Unrecognised { .. }) if self.cmdline.is_some() => {
                Ok(Kernel::raw(self.bytes))
            }
            parsed => parsed,
        }
    }
}

/// The kernel that is or is in `input`: a bare one, or a boot image's.
pub(super) fn kernel_payload(input: &[u8]) -> anyhow::Result<Payload<'_>> {
    let bare = Payload { bytes: input, cmdline: None };
    let image = match Image::parse(input) {
        Ok(image) => image,
        // Kernels that no boot image would hold.
        Err(_) if Kernel::parse(input).is_ok() => return Ok(bare),
        Err(error) => return Err(error.into()),
    };
    match (image.kind(), image.header(), image.section(SectionName::Kernel)) {
        (ImageKind::Ramdisk, ..) => bail!("it is a ramdisk, expected a boot image or a kernel"),
        (_, Some(header), Some(bytes)) => {
            let cmdline = String::from_utf8_lossy(&header.cmdline()).into_owned();
            Ok(Payload { bytes, cmdline: Some(cmdline) })
        }
        (_, None, _) => Ok(Payload { bytes: image.bytes(), cmdline: None }),
        (kind, Some(_), None) => {
            bail!("this {} image holds no kernel; name the one that does", kind.as_str())
        }
    }
}

//! The kernel in an input, and what it says about itself.

use crate::audit::content;
use crate::audit::error::{CheckError, Problem};
use crate::audit::{Evidence, Facts, Provenance};
use crate::image::{Image, ImageKind, SectionName};
use crate::kernel::{self, Kernel, KernelConfig};

/// The kernel in an input.
pub struct KernelFile<'a> {
    /// Its bytes, as the image has them.
    pub bytes: &'a [u8],
    /// The command line in the image's header, when there is such a header.
    pub cmdline: Option<String>,
}

impl<'a> KernelFile<'a> {
    /// The kernel that is or is in `input`: a bare one, or a boot image's.
    ///
    /// # Errors
    /// [`CheckError::Image`], [`CheckError::Ramdisk`], [`CheckError::WithoutKernel`].
    pub fn locate(input: &'a [u8]) -> Result<Self, CheckError> {
        let image = match Image::parse(input) {
            Ok(image) => image,
            // Kernels that no boot image would hold.
            Err(_) if Kernel::parse(input).is_ok() => {
                return Ok(KernelFile { bytes: input, cmdline: None });
            }
            Err(error) => return Err(error.into()),
        };
        match (image.kind(), image.header(), image.section(SectionName::Kernel)) {
            (ImageKind::Ramdisk, ..) => Err(CheckError::Ramdisk),
            (_, Some(header), Some(bytes)) => {
                let cmdline = String::from_utf8_lossy(&header.cmdline()).into_owned();
                Ok(KernelFile { bytes, cmdline: Some(cmdline) })
            }
            (_, None, _) => Ok(KernelFile { bytes: image.bytes(), cmdline: None }),
            (kind, Some(_), None) => Err(CheckError::WithoutKernel(kind)),
        }
    }

    /// Recognise it. What a boot image calls its kernel is searched as it is when it has no known
    /// header.
    ///
    /// # Errors
    /// [`kernel::Error`].
    pub fn parse(&self) -> Result<Kernel<'a>, kernel::Error> {
        match Kernel::parse(self.bytes) {
            Err(kernel::Error::Unrecognised { .. }) if self.cmdline.is_some() => {
                Ok(Kernel::raw(self.bytes))
            }
            parsed => parsed,
        }
    }
}

/// What a kernel says about itself.
pub(super) struct About {
    /// Its containers in words.
    pub summary: String,
    pub facts: Facts,
    pub problems: Vec<Problem>,
}

/// Search the kernel in `input`, which messages call `name`. A config that is given counts instead
/// of the one embedded.
pub(super) fn read(
    input: &[u8],
    name: &str,
    config: Option<&(KernelConfig, Provenance)>,
) -> Result<About, CheckError> {
    let file = KernelFile::locate(input)
        .map_err(|error| content::identify(input).map_or(error, CheckError::Foreign))?;
    let kernel = file.parse()?;
    // The symbol table stands in for a config, and only then is a compressed kernel held in memory
    // as a whole.
    let (scan, names) = match config {
        Some(_) => (kernel.scan()?, None),
        None => kernel.scan_or_kallsyms()?,
    };
    let mut problems: Vec<Problem> =
        kernel.problems().iter().cloned().map(Problem::Header).collect();
    if !scan.is_linux() && scan.complete {
        if kernel.is_raw() && content::looks_encrypted(file.bytes) {
            return Err(CheckError::EncryptedKernel);
        }
        if file.cmdline.is_none() {
            return Err(CheckError::NotLinux(kernel.summary()));
        }
        problems.push(Problem::NoBanner);
    }
    let mut facts = Facts::from_scan(&scan, kernel.arch(), name);
    if let Some((config, provenance)) = config {
        take_config(&mut facts, &mut problems, config, provenance)?;
    }
    facts.evidence =
        names.map(|names| Evidence::collect(&names, facts.arch, facts.version(), name));
    if let Some(damage) = scan.damage {
        if facts.config.is_none() {
            return Err(damage.into());
        }
        problems.push(Problem::Damaged(damage));
    }
    facts.cmdline = file.cmdline;
    Ok(About { summary: kernel.summary(), facts, problems })
}

fn take_config(
    facts: &mut Facts,
    problems: &mut Vec<Problem>,
    config: &KernelConfig,
    provenance: &Provenance,
) -> Result<(), CheckError> {
    if facts.config.is_some() {
        problems.push(Problem::EmbeddedConfig);
    }
    if let (Some(kernel), Some(other)) = (facts.arch, config.arch())
        && kernel != other
    {
        let source_of_config = provenance.clone();
        return Err(CheckError::ForeignConfig { kernel, config: other, source_of_config });
    }
    facts.set_config(config.clone(), provenance.clone());
    Ok(())
}

//! Reads the kernel of a set.

use crate::audit::content;
use crate::audit::error::{CheckError, Problem};
use crate::bootset::{BootSet, Facts, KernelState, Provenance, SetKernel};
use crate::kernel::{self, Arch, Kernel, KernelConfig};

/// The result of reading a kernel.
pub(super) struct KernelReport {
    /// The names of its containers.
    pub summary: String,
    pub facts: Facts,
    pub problems: Vec<Problem>,
}

/// Read the kernel of a set. A given config is used instead of the embedded one.
pub(super) fn read(
    set: &BootSet<'_>,
    config: Option<&(KernelConfig, Provenance)>,
) -> Result<KernelReport, CheckError> {
    // The symbol table is needed only without a config; only then is a decompressed kernel kept in
    // memory as a whole.
    let evidence = match config {
        Some(_) => None,
        None => set.evidence().map_err(kernel::Error::clone)?,
    };
    let kernel = set.kernel();
    let mut problems: Vec<Problem> = kernel.problems.iter().cloned().map(Problem::Header).collect();
    problems.extend(require_linux(set, kernel)?);
    let mut facts = kernel.facts.clone();
    facts.evidence = evidence.cloned();
    if config.is_some() && set.config().is_some() {
        return Err(CheckError::TwoConfigs);
    }
    if kernel.overruled_config || config.is_some() && facts.config.is_some() {
        problems.push(Problem::EmbeddedConfig);
    }
    if let Some(config) = config.or(set.config()) {
        take_config(&mut facts, kernel.arch, config)?;
    }
    if let Some(damage) = kernel.damage.clone() {
        if facts.config.is_none() {
            return Err(damage.into());
        }
        problems.push(Problem::Damaged(damage));
    }
    Ok(KernelReport { summary: kernel.summary.clone(), facts, problems })
}

/// Refuse data that is not a kernel. The kernel section of a boot image may be a kernel without a
/// banner.
fn require_linux(set: &BootSet<'_>, kernel: &SetKernel) -> Result<Option<Problem>, CheckError> {
    let Some((image, bytes)) = set.kernel_bytes() else {
        return Err(CheckError::without_kernel(set));
    };
    let searched = !kernel.is_linux && kernel.complete;
    match &kernel.state {
        KernelState::Absent => return Err(CheckError::without_kernel(set)),
        KernelState::Unreadable(kernel::Error::Unrecognised { .. }) if searched => {}
        KernelState::Unreadable(error) => return Err(error.clone().into()),
        KernelState::NoConfig | KernelState::Config => {}
    }
    if !searched {
        return Ok(None);
    }
    let is_raw = Kernel::parse(bytes).is_ok_and(|kernel| kernel.is_raw());
    let unrecognised = matches!(kernel.state, KernelState::Unreadable(_));
    if (is_raw || unrecognised) && content::looks_encrypted(bytes) {
        return Err(CheckError::EncryptedKernel);
    }
    if set.images()[image].header().is_none() {
        return Err(CheckError::NotLinux(kernel.summary.clone()));
    }
    Ok(Some(Problem::NoBanner))
}

fn take_config(
    facts: &mut Facts,
    kernel: Option<Arch>,
    (config, provenance): &(KernelConfig, Provenance),
) -> Result<(), CheckError> {
    if let (Some(kernel), Some(other)) = (kernel, config.arch())
        && kernel != other
    {
        let source_of_config = provenance.clone();
        return Err(CheckError::ForeignConfig { kernel, config: other, source_of_config });
    }
    facts.set_config(config.clone(), provenance.clone());
    Ok(())
}

//! The audit of the kernel, and the formats that its config excludes.

use super::context::Context;
use super::error::Error;
use super::kernel_facts::KernelFacts;
use super::parameters::parameter::PlannedParameter;
use super::report::{FailedRule, KernelReport};
use super::unfit::{self, Unfit};
use super::warning::Warning;
use crate::audit::{self, Evaluation, Facts, Level, Outcome, Profile, Verdict};
use crate::bootset::{CmdlinePart, KernelState, Origin};
use crate::compression::Format;
use crate::kernel::Module;

/// What the passthrough audit says before a patch.
pub(crate) struct KernelCheck {
    facts: Facts,
    /// The parameters that the audit recommends; optional ones are for the user to choose.
    pub recommended: Vec<PlannedParameter>,
    /// What is not certain.
    pub warnings: Vec<Warning>,
}

/// Run the passthrough audit. `modules` are those that will be in the ramdisk; None if unknown.
pub(crate) fn check(set: &Context<'_, '_>, modules: Option<Vec<Module>>) -> KernelCheck {
    let kernel = set.kernel;
    let mut facts = kernel.facts().clone();
    // Without a config the symbol table decides, as in `check`; one that cannot be read is none.
    facts.evidence = match kernel.state() {
        KernelState::NoConfig => set.set.evidence().ok().flatten().cloned(),
        _ => None,
    };
    // There may be more on other partitions.
    facts.modules_partial = true;
    facts.modules = modules.filter(|modules| !modules.is_empty());
    let audit = audit(kernel, &facts);
    let parameters = audit.iter().flat_map(|report| &report.parameters);
    let recommended = parameters
        .filter(|own| own.level != Level::Optional)
        .map(|own| PlannedParameter::last(own.parameter.as_ref(), own.why.as_ref()))
        .collect();
    let verdict = audit.as_ref().map(|report| report.verdict);
    KernelCheck { facts, recommended, warnings: warnings(kernel, verdict) }
}

impl KernelCheck {
    /// The audit of the result, in which the image of this index has another command line: what the
    /// patch adds and takes off counts.
    pub(crate) fn of_result(
        mut self,
        set: &Context<'_, '_>,
        line: Option<(usize, String)>,
    ) -> (KernelReport, Vec<Unfit>) {
        if let Some((index, text)) = line {
            let name = set.set.name(index);
            let mut parts = std::mem::take(&mut self.facts.cmdline_parts);
            match parts.iter_mut().find(|part| part.origin.file() == Some(name) && part.is_header())
            {
                Some(part) => part.text = text,
                None => parts.push(CmdlinePart { origin: Origin::Boot(name.to_owned()), text }),
            }
            self.facts.set_cmdline(parts);
        }
        let audit = audit(set.kernel, &self.facts);
        let failed = audit.as_ref().map(failed).unwrap_or_default();
        let unfit = unfit::find(&self.facts, &failed, self.facts.modules.as_deref());
        let report = KernelReport {
            version: set.kernel.version().map(str::to_owned),
            arch: set.kernel.arch(),
            audit: audit.as_ref().map(|report| report.verdict),
            failed,
        };
        (report, unfit)
    }
}

fn warnings(kernel: KernelFacts<'_>, verdict: Option<Outcome>) -> Vec<Warning> {
    match kernel.state() {
        KernelState::Absent => vec![Warning::NoKernel],
        KernelState::Unreadable(problem) => {
            vec![Warning::KernelUnreadable { problem: problem.to_string() }]
        }
        KernelState::NoConfig => {
            let open = verdict.is_none_or(|verdict| verdict == Outcome::Inconclusive);
            open.then_some(Warning::NoKernelConfig).into_iter().collect()
        }
        KernelState::Config => {
            // The config does not distinguish the kernels of Rockchip's SDK, which end
            // `unpack_to_rootfs` after the first compressed segment, from others that run on the
            // same chips.
            let rockchip = kernel.is_set("ARCH_ROCKCHIP") == Some(true);
            rockchip.then_some(Warning::Rockchip).into_iter().collect()
        }
    }
}

fn audit(kernel: KernelFacts<'_>, facts: &Facts) -> Option<Evaluation> {
    if matches!(kernel.state(), KernelState::Absent | KernelState::Unreadable(_)) {
        return None;
    }
    // Every builtin profile is read by a test.
    let profile = Profile::builtin("passthrough").ok()?;
    Some(audit::evaluate(&profile, facts))
}

fn failed(report: &Evaluation) -> Vec<FailedRule> {
    let failed = report.with(Verdict::Fail).filter(|finding| finding.rule.level.decides());
    failed
        .map(|finding| FailedRule {
            id: finding.rule.id.to_string(),
            title: finding.rule.title.to_string(),
            reason: finding.reason.to_string(),
            fix: finding.rule.fix.to_string(),
        })
        .collect()
}

/// Refuse a ramdisk `format` that the kernel cannot unpack according to its config.
///
/// # Errors
/// [`Error::Lz4Frame`], [`Error::NoInitramfsSupport`], [`Error::FormatNotBuiltIn`].
pub(crate) fn require(kernel: KernelFacts<'_>, format: Option<Format>) -> Result<(), Error> {
    if format == Some(Format::Lz4Frame) {
        return Err(Error::Lz4Frame);
    }
    if kernel.is_set("BLK_DEV_INITRD") == Some(false) {
        return Err(Error::NoInitramfsSupport);
    }
    match format.and_then(Format::rd_symbol) {
        Some(symbol) if kernel.is_set(symbol) == Some(false) => {
            Err(Error::FormatNotBuiltIn { symbol })
        }
        _ => Ok(()),
    }
}

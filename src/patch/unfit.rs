//! Evidence that the patched images cannot do what they are for.

use serde::Serialize;

use super::report::FailedRule;
use crate::audit::{Built, EvidenceState, Facts};
use crate::kernel::Module;
use crate::rules::Confidence;

/// The symbol of vfio-pci, and the name of its module.
const VFIO_PCI: (&str, &str) = ("VFIO_PCI", "vfio_pci");

/// Why no guest can use the devices, whatever else is right. What is only unknown is not listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Unfit {
    /// vfio-pci is not part of the kernel, and its module is neither in a ramdisk nor given.
    #[error("vfio-pci is neither in the kernel nor in the ramdisk nor given with --add-module")]
    NoVfioPci,
    /// The kernel fails a required rule of the passthrough audit.
    #[error("{} ({})", .0.title, .0.id)]
    Rule(FailedRule),
}

/// Everything that is known to be missing. `modules` are those of the patched set; None if nothing
/// depends on them.
pub(crate) fn find(facts: &Facts, failed: &[FailedRule], modules: Option<&[Module]>) -> Vec<Unfit> {
    let (symbol, name) = VFIO_PCI;
    let outside = match (&facts.config, &facts.evidence) {
        (Some(_), _) => facts.built(symbol) == Built::Module,
        (None, Some(evidence)) => evidence.about(symbol).is_some_and(|own| {
            own.state == EvidenceState::NotBuiltIn && own.confidence == Confidence::Certain
        }),
        (None, None) => false,
    };
    let has = modules.unwrap_or_default().iter().any(|module| module.name == name);
    let none = (outside && !has).then_some(Unfit::NoVfioPci);
    none.into_iter().chain(failed.iter().cloned().map(Unfit::Rule)).collect()
}

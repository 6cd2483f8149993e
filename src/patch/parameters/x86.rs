//! The IOMMU parameters of x86_64, where the IOMMU is not simply there. No image shows which
//! vendor's machine it will be; a parameter for the other one has no effect.

use super::parameter::PlannedParameter;
use crate::cmdline::Cmdline;
use crate::kernel::Arch;
use crate::patch::contribution::Contribution;
use crate::patch::kernel_facts::KernelFacts;
use crate::patch::warning::Warning;

/// A row of [`TABLE`].
struct Row {
    name: &'static str,
    value: &'static str,
    /// Without this symbol the kernel has no use for it.
    needs: &'static str,
    /// With this symbol it is the default.
    default_with: Option<&'static str>,
    why: &'static str,
}

const TABLE: &[Row] = &[
    Row {
        name: "intel_iommu",
        value: "on",
        needs: "INTEL_IOMMU",
        default_with: Some("INTEL_IOMMU_DEFAULT_ON"),
        why: "VT-d is off without it; no effect on an AMD machine",
    },
    Row {
        name: "amd_iommu",
        value: "on",
        needs: "AMD_IOMMU",
        default_with: None,
        why: "AMD-Vi is on by default, the parameter only says so; no effect on an Intel machine",
    },
    Row {
        name: "iommu",
        value: "pt",
        needs: "IOMMU_SUPPORT",
        default_with: Some("IOMMU_DEFAULT_PASSTHROUGH"),
        why: "the host's own drivers work without translation, which is faster; devices on \
              vfio-pci are translated all the same",
    },
];

/// Whether the table decides about a parameter: it detects more ways to set it.
pub(crate) fn knows(parameter: &PlannedParameter) -> bool {
    let line = Cmdline::new(&parameter.text);
    TABLE.iter().any(|row| line.value(row.name).is_some())
}

/// The parameters of the table that fit the kernel and are not on one of the `lines` yet.
pub(crate) fn contribute(kernel: KernelFacts<'_>, lines: &[Cmdline]) -> Contribution {
    let mut contribution = Contribution::default();
    if kernel.arch() != Some(Arch::X86_64) {
        return contribution;
    }
    for Row { name, value, needs, default_with, why } in TABLE {
        let set = |symbol: &str| kernel.is_set(symbol);
        if set(needs) == Some(false) || default_with.and_then(set) == Some(true) {
            continue;
        }
        let added = format!("{name}={value}");
        match lines.iter().rev().find_map(|line| line.value(name)) {
            Some(b"off") => {
                let (present, added) = (format!("{name}=off"), added.clone());
                contribution.warnings.push(Warning::Overridden { present, added });
            }
            Some(_) => continue,
            None => {}
        }
        contribution.parameters.push(PlannedParameter::last(added, *why));
    }
    contribution
}

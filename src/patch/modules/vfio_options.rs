//! The options of the VFIO modules that the user asks for, checked against the parameters that the
//! module or the kernel has.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::audit::Built;
use crate::cmdline::Cmdline;
use crate::kernel::Module;
use crate::kernel::module::{Parameter, normalise};
use crate::patch::context::Context;
use crate::patch::error::{Error, RefusedOption};
use crate::patch::parameters::parameter::PlannedParameter;
use crate::patch::warning::Warning;

/// The driver for the devices.
pub(crate) const VFIO_PCI: &str = "vfio_pci";

/// A module of VFIO that has options.
pub(crate) struct VfioModule {
    pub name: &'static str,
    /// Its symbol in the kernel's config.
    symbol: &'static str,
    /// Its name as a prefix of kernel parameters.
    prefix: &'static str,
    /// Options that are this module's where nothing else shows it, with their types.
    usual: &'static [(&'static str, &'static str)],
}

/// `drivers/vfio`.
pub(crate) const VFIO_MODULES: &[VfioModule] = &[
    VfioModule {
        name: VFIO_PCI,
        symbol: "VFIO_PCI",
        prefix: "vfio-pci",
        usual: &[
            ("disable_idle_d3", "bool"),
            ("disable_vga", "bool"),
            ("disable_denylist", "bool"),
            ("enable_sriov", "bool"),
            ("nointxmask", "bool"),
        ],
    },
    VfioModule {
        name: "vfio_iommu_type1",
        symbol: "VFIO_IOMMU_TYPE1",
        prefix: "vfio_iommu_type1",
        usual: &[
            ("allow_unsafe_interrupts", "bool"),
            ("disable_hugepages", "bool"),
            ("dma_entry_limit", "uint"),
        ],
    },
    VfioModule {
        name: "vfio",
        symbol: "VFIO",
        prefix: "vfio",
        usual: &[("enable_unsafe_noiommu_mode", "bool")],
    },
];

impl VfioModule {
    fn usual_kind(&self, name: &str) -> &'static str {
        let usual = self.usual.iter().find(|(own, _)| *own == name);
        usual.map(|(_, kind)| *kind).unwrap_or_default()
    }
}

/// An option of a VFIO module: `disable_idle_d3=1`, or with the module before it,
/// `vfio_iommu_type1.allow_unsafe_interrupts=1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VfioOption {
    /// The module, with `_`; None for the one that has such an option.
    pub module: Option<String>,
    /// Its name, with `_`.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// Text that is not an option of a module.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" is not an option of a module: expected NAME=VALUE or MODULE.NAME=VALUE, without blanks, quotes and commas in the value (disable_idle_d3=1)"
)]
pub struct VfioOptionError(pub String);

impl FromStr for VfioOption {
    type Err = VfioOptionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parse = || {
            let (name, value) = text.split_once('=')?;
            let (module, name) = match name.split_once('.') {
                Some((module, name)) => (Some(normalise(module)), name),
                None => (None, name),
            };
            let name = normalise(name);
            let is_name = |name: &str| {
                let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
                !name.is_empty() && name.bytes().all(word)
            };
            let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\'' | b',');
            let whole = is_name(&name) && module.as_deref().is_none_or(is_name);
            (whole && !value.is_empty() && value.bytes().all(plain)).then(|| VfioOption {
                module,
                name,
                value: value.to_owned(),
            })
        };
        parse().ok_or_else(|| VfioOptionError(text.to_owned()))
    }
}

impl fmt::Display for VfioOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(module) = &self.module {
            write!(f, "{module}.")?;
        }
        write!(f, "{}={}", self.name, self.value)
    }
}

/// How a module gets an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OptionBy {
    /// From the kernel command line, because it is part of the kernel or something else loads it.
    KernelParameter,
    /// From the program that loads it.
    Module,
}

/// An option that a patch sets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PlannedVfioOption {
    /// The module, with `_`.
    pub module: String,
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// How the module gets it.
    pub by: OptionBy,
    /// Where it was seen that the module has such an option.
    pub evidence: OptionEvidence,
}

/// Where it was seen that a module has an option. Serialised as its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OptionEvidence {
    /// In the module.
    Module,
    /// Among the names of parameters in the kernel.
    Kernel,
    /// Nowhere: neither was given.
    Nowhere,
}

impl fmt::Display for OptionEvidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OptionEvidence::Module => "the module has such a parameter",
            OptionEvidence::Kernel => "the kernel has such a parameter",
            OptionEvidence::Nowhere => "whether there is such a parameter is not known",
        })
    }
}

impl Serialize for OptionEvidence {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl PlannedVfioOption {
    /// The kernel parameter, if it goes there.
    pub(crate) fn parameter(&self) -> Option<PlannedParameter> {
        let prefix = VFIO_MODULES.iter().find(|module| module.name == self.module)?.prefix;
        let why = format!("an option of {prefix} that was asked for; {}", self.evidence);
        let parameter =
            || PlannedParameter::only(&format!("{prefix}.{}", self.name), &self.value, why);
        (self.by == OptionBy::KernelParameter).then(parameter)
    }
}

/// What is known about a module's parameters.
struct Known {
    module: &'static VfioModule,
    by: OptionBy,
    evidence: OptionEvidence,
    /// None if unknown.
    parameters: Option<Vec<Parameter>>,
}

/// Decide for each of the `requested` options which module gets it and how. `loaded` are the modules
/// that the patch loads.
///
/// # Errors
/// [`Error::VfioOption`].
pub(crate) fn resolve(
    set: &Context<'_, '_>,
    loaded: &[Module],
    requested: &[VfioOption],
) -> Result<(Vec<PlannedVfioOption>, Vec<Warning>), Error> {
    if requested.is_empty() {
        return Ok(Default::default());
    }
    let known = known(set, loaded);
    let (mut planned, mut warnings): (Vec<PlannedVfioOption>, Vec<Warning>) = Default::default();
    for option in requested {
        let refuse = |reason| Error::VfioOption { option: option.to_string(), reason };
        let found = find(option, &known).map_err(refuse)?;
        let same =
            |own: &&PlannedVfioOption| own.module == found.module.name && own.name == option.name;
        match planned.iter().find(same) {
            Some(own) if own.value == option.value => continue,
            Some(_) => return Err(refuse(RefusedOption::Twice)),
            None => {}
        }
        if found.evidence == OptionEvidence::Nowhere {
            let option = format!("{}.{}", found.module.prefix, option.name);
            warnings.push(Warning::OptionNotChecked { option });
        }
        planned.push(PlannedVfioOption {
            module: found.module.name.to_owned(),
            name: option.name.clone(),
            value: option.value.clone(),
            by: found.by,
            evidence: found.evidence,
        });
    }
    Ok((planned, warnings))
}

/// What is known about the parameters of each module.
fn known(set: &Context<'_, '_>, loaded: &[Module]) -> Vec<Known> {
    let names: Vec<&str> = VFIO_MODULES.iter().map(|module| module.name).collect();
    let in_kernel = set.built_in_parameters(&names);
    let of_module = |module: &'static VfioModule| {
        if let Some(own) = loaded.iter().find(|own| own.name == module.name) {
            let parameters = Some(own.parameters.clone());
            return Known {
                module,
                by: OptionBy::Module,
                evidence: OptionEvidence::Module,
                parameters,
            };
        }
        let by = OptionBy::KernelParameter;
        let in_kernel = in_kernel.as_ref().map(|all| {
            let own =
                all.iter().filter_map(|text| text.strip_prefix(module.name)?.strip_prefix('.'));
            let parameter = |name: &str| Parameter {
                name: name.to_owned(),
                kind: module.usual_kind(name).to_owned(),
                ..Parameter::default()
            };
            own.map(parameter).collect::<Vec<_>>()
        });
        let parameters = match (set.kernel.built(module.symbol), in_kernel) {
            (_, Some(parameters)) if !parameters.is_empty() => Some(parameters),
            (Built::In, parameters) => parameters,
            (Built::Off, _) => Some(Vec::new()),
            (Built::Module | Built::Unknown, _) => None,
        };
        let evidence = match parameters {
            Some(_) => OptionEvidence::Kernel,
            None => OptionEvidence::Nowhere,
        };
        Known { module, by, evidence, parameters }
    };
    VFIO_MODULES.iter().map(of_module).collect()
}

/// The module that has this option.
fn find<'k>(option: &VfioOption, known: &'k [Known]) -> Result<&'k Known, RefusedOption> {
    if option.name == "ids" {
        return Err(RefusedOption::Ids);
    }
    let named = |own: &&Known| option.module.as_deref().is_none_or(|name| name == own.module.name);
    let known: Vec<&Known> = known.iter().filter(named).collect();
    if known.is_empty() {
        let names = VFIO_MODULES.iter().map(|module| module.name).collect();
        return Err(RefusedOption::NotOfVfio { modules: names });
    }
    let parameter = |own: &'k Known| {
        own.parameters.iter().flatten().find(|parameter| parameter.name == option.name)
    };
    if let Some((own, parameter)) = known.iter().find_map(|own| Some((*own, parameter(own)?))) {
        check_value(&parameter.kind, &option.value)?;
        return Ok(own);
    }
    let open = |own: &&&Known| own.parameters.is_none();
    let usual = |own: &&&Known| !own.module.usual_kind(&option.name).is_empty();
    let mut unknown = known.iter().filter(open);
    // Of a module that cannot be seen, only what is usual, unless it was named.
    match unknown.clone().find(usual).or(unknown.next().filter(|_| option.module.is_some())) {
        Some(own) => {
            check_value(own.module.usual_kind(&option.name), &option.value)?;
            Ok(own)
        }
        None => {
            let has = known.iter().flat_map(|own| {
                let names = own.parameters.iter().flatten().filter(|own| own.name != "ids");
                names.map(|parameter| format!("{}.{}", own.module.prefix, parameter.name))
            });
            Err(RefusedOption::Unknown { has: has.collect() })
        }
    }
}

/// Check the value of a parameter of this type, as `kernel/params.c` reads it.
fn check_value(kind: &str, value: &str) -> Result<(), RefusedOption> {
    let truth = || {
        let line = Cmdline::new(format!("v={value}"));
        line.parameters().next().is_some_and(|own| own.truth().is_some())
    };
    let number = |signed: bool| {
        let digits = value.strip_prefix('-').filter(|_| signed).unwrap_or(value);
        let (digits, base) = match digits.strip_prefix("0x") {
            Some(digits) => (digits, 16),
            None => (digits, 10),
        };
        u64::from_str_radix(digits, base).is_ok() && !digits.starts_with('+')
    };
    let (fits, expected) = match kind {
        "bool" | "invbool" => (truth(), "y or n"),
        "byte" | "ushort" | "uint" | "ulong" | "ullong" | "hexint" => (number(false), "a number"),
        "short" | "int" | "long" => (number(true), "a number"),
        _ => return Ok(()),
    };
    if fits { Ok(()) } else { Err(RefusedOption::Value { expected }) }
}

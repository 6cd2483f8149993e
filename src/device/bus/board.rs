//! What the device tree of a board says about its PCI host bridges: which IOMMU translates for
//! them, and where their MSIs end (`pci-iommu.yaml`, `pci-msi.txt` and `iommu.txt` of the devicetree
//! bindings, `drivers/of/base.c`, `of_map_id`).

use core::fmt;
use std::fs;
use std::path::Path;

use crate::device::bus::group::IOMMUS;
use crate::device::bus::pci::{self, PciAddress};
use crate::device::sys::device_tree::{self, Node};
use crate::device::sys::host::Host;

/// The part of a device tree that passthrough depends on.
#[derive(Clone, Debug)]
pub(crate) struct Board {
    bridges: Vec<Bridge>,
    /// Every IOMMU that the tree describes.
    units: Vec<Unit>,
    /// Every node that MSIs can be sent to.
    msi_controllers: Vec<Unit>,
}

/// A PCI host bridge.
#[derive(Clone, Debug)]
struct Bridge {
    node: Node,
    domain: Option<u32>,
    coherent: bool,
    iommu: Option<Map>,
    /// Where all its MSIs go, or where those of each device go.
    msi: Option<Map>,
}

/// Whose requester ids a property sends to which node.
#[derive(Clone, Debug)]
struct Map {
    /// Of each requester id the bits that count.
    mask: u32,
    /// First requester id, phandle, how many. None: all go to the phandle.
    ranges: Vec<(u32, u32, Option<u32>)>,
}

/// An IOMMU or an MSI controller.
#[derive(Clone, Debug)]
struct Unit {
    node: Node,
    compatible: String,
    phandle: Option<u32>,
    enabled: bool,
    coherent: bool,
    /// The kernel has a driver on it.
    driven: bool,
}

impl fmt::Display for Unit {
    /// `iommu@fc900000 (arm,smmu-v3)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.node.name(), self.compatible)
    }
}

/// Why no IOMMU translates what a device does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Untranslated {
    /// Its host bridge is not connected to an IOMMU.
    NoMap {
        /// The host bridge.
        bridge: String,
        /// IOMMUs that the device tree turns off.
        disabled: Vec<String>,
    },
    /// The map of the host bridge leaves this device out.
    NotInMap {
        /// The host bridge.
        bridge: String,
    },
    /// The IOMMU of its host bridge is turned off by the device tree.
    Disabled {
        /// The host bridge.
        bridge: String,
        /// The IOMMU.
        unit: String,
    },
    /// The IOMMU of its host bridge has no driver.
    NoDriver {
        /// The host bridge.
        bridge: String,
        /// The IOMMU.
        unit: String,
    },
}

impl fmt::Display for Untranslated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMap { bridge, disabled } => {
                write!(
                    f,
                    "{bridge} has no iommu-map: this board's device tree gives PCIe no SMMU"
                )?;
                match disabled.as_slice() {
                    [] => Ok(()),
                    units => write!(f, " (disabled in it: {})", units.join(", ")),
                }
            }
            Self::NotInMap { bridge } => {
                write!(f, "the iommu-map of {bridge} leaves this device out")
            }
            Self::Disabled { bridge, unit } => write!(
                f,
                "the iommu-map of {bridge} leads to {unit}, which is disabled in the device tree"
            ),
            Self::NoDriver { bridge, unit } => write!(
                f,
                "the iommu-map of {bridge} leads to {unit}, which has no driver in this kernel"
            ),
        }
    }
}

impl Board {
    /// Reads the device tree. `None` on a system that has none, or whose tree has no PCI.
    pub(crate) fn read(host: &Host) -> Option<Self> {
        let nodes = device_tree::nodes(host);
        let is_bridge = |node: &&Node| {
            let name = node.name();
            let named = ["pcie@", "pci@"].iter().any(|prefix| name.starts_with(prefix));
            let address = name.rsplit('@').next().unwrap_or_default();
            // Below a host bridge are its ports and devices: pcie@0,0.
            named && !address.contains(',')
        };
        let bridges: Vec<Bridge> = nodes
            .iter()
            .filter(is_bridge)
            .filter(|node| node.is_enabled(host))
            .map(|node| Bridge::read(host, node))
            .collect();
        if bridges.is_empty() {
            return None;
        }
        let drivers = driven(host);
        let units = |property: &str, prefix: &str| -> Vec<Unit> {
            let wanted = |node: &&Node| node.name().starts_with(prefix) || node.has(host, property);
            nodes.iter().filter(wanted).map(|node| Unit::read(host, node, &drivers)).collect()
        };
        Some(Self {
            bridges,
            units: units("#iommu-cells", "iommu@"),
            msi_controllers: units("msi-controller", "msi-controller@"),
        })
    }

    /// Why the device at `address` is in no group, as far as the device tree says.
    pub(crate) fn untranslated(&self, host: &Host, address: PciAddress) -> Option<Untranslated> {
        let bridge = self.bridge_of(host, address)?;
        let name = bridge.node.name().to_owned();
        let Some(map) = &bridge.iommu else {
            let disabled = self.units.iter().filter(|unit| !unit.enabled);
            let disabled = disabled.map(Unit::to_string).collect();
            return Some(Untranslated::NoMap { bridge: name, disabled });
        };
        let Some(phandle) = map.target(address) else {
            return Some(Untranslated::NotInMap { bridge: name });
        };
        let unit = self.units.iter().find(|unit| unit.phandle == Some(phandle))?;
        match (unit.enabled, unit.driven) {
            (false, _) => Some(Untranslated::Disabled { bridge: name, unit: unit.to_string() }),
            (true, false) => Some(Untranslated::NoDriver { bridge: name, unit: unit.to_string() }),
            (true, true) => None,
        }
    }

    /// Where the MSIs of a device end: the controller's `compatible`, and whether that is an ITS.
    /// `None` where the device tree does not say.
    pub(crate) fn msi_controller(
        &self,
        host: &Host,
        address: PciAddress,
    ) -> Option<(String, bool)> {
        let phandle = self.bridge_of(host, address)?.msi.as_ref()?.target(address)?;
        let unit = self.msi_controllers.iter().find(|unit| unit.phandle == Some(phandle))?;
        Some((unit.to_string(), unit.compatible.ends_with("-its")))
    }

    /// Whether what the device writes is visible to the processors without more ado, by the rule
    /// of the SMMU drivers (`arm_smmu_capable`): the page table walks of a SMMUv3 are, those of an
    /// older SMMU are or the device is. `None` where the device tree does not say.
    pub(crate) fn is_coherent(&self, host: &Host, address: PciAddress) -> Option<bool> {
        let bridge = self.bridge_of(host, address)?;
        let phandle = bridge.iommu.as_ref()?.target(address)?;
        let unit = self.units.iter().find(|unit| unit.phandle == Some(phandle))?;
        if !unit.compatible.contains("smmu") && !unit.compatible.contains("mmu-") {
            return None;
        }
        Some(unit.coherent || (unit.compatible != SMMU_V3 && bridge.coherent))
    }

    /// By the link that the kernel leaves in sysfs, else by the number of the domain, else the
    /// only one there is.
    fn bridge_of(&self, host: &Host, address: PciAddress) -> Option<&Bridge> {
        if let Some(path) = of_node(host, address, &self.bridges) {
            return self.bridges.iter().find(|bridge| bridge.node.path == path);
        }
        let of_domain = |bridge: &&Bridge| bridge.domain == Some(address.domain);
        match self.bridges.as_slice() {
            [only] => Some(only),
            bridges => bridges.iter().find(of_domain),
        }
    }
}

const SMMU_V3: &str = "arm,smmu-v3";

impl Bridge {
    fn read(host: &Host, node: &Node) -> Self {
        let cell = |name: &str| node.cells(host, name)?.first().copied();
        let all = |name: &str| {
            cell(name).map(|phandle| Map { mask: u32::MAX, ranges: vec![(0, phandle, None)] })
        };
        let map = |name: &str| {
            let cells = node.cells(host, name)?;
            let (rows, _) = cells.as_chunks::<4>();
            let ranges =
                rows.iter().map(|[first, phandle, _, length]| (*first, *phandle, Some(*length)));
            let mask = cell(&format!("{name}-mask")).unwrap_or(u32::MAX);
            Some(Map { mask, ranges: ranges.collect() })
        };
        Self {
            node: node.clone(),
            domain: cell("linux,pci-domain"),
            coherent: is_coherent(host, node),
            iommu: map("iommu-map").or_else(|| all("iommus")),
            msi: map("msi-map").or_else(|| all("msi-parent")),
        }
    }
}

impl Map {
    /// The phandle that a device's requester id is sent to.
    fn target(&self, address: PciAddress) -> Option<u32> {
        let PciAddress { bus, device, function, .. } = address;
        let id = (u32::from(bus) << 8 | u32::from(device) << 3 | u32::from(function)) & self.mask;
        let holds = |(first, _, length): &&(u32, u32, Option<u32>)| {
            length.is_none_or(|length| id.checked_sub(*first).is_some_and(|at| at < length))
        };
        self.ranges.iter().find(holds).map(|(_, phandle, _)| *phandle)
    }
}

impl Unit {
    fn read(host: &Host, node: &Node, driven: &[String]) -> Self {
        let address = node.name().rsplit('@').next().unwrap_or_default();
        Self {
            node: node.clone(),
            compatible: preferred(node.texts(host, "compatible")),
            phandle: node.phandle(host),
            enabled: node.is_enabled(host),
            coherent: is_coherent(host, node),
            driven: driven.iter().any(|unit| unit == address),
        }
    }
}

/// Of all names of a device the one that says most to people: that of the architecture.
fn preferred(names: Vec<String>) -> String {
    let of_arm = names.iter().find(|name| name.starts_with("arm,"));
    of_arm.or(names.first()).cloned().unwrap_or_else(|| "unknown".to_owned())
}

/// `of_dma_is_coherent`: the nearest node that says so.
fn is_coherent(host: &Host, node: &Node) -> bool {
    let said = node.and_above().find_map(|node| {
        let says = [("dma-coherent", true), ("dma-noncoherent", false)];
        says.into_iter().find(|(name, _)| node.has(host, name)).map(|(_, coherent)| coherent)
    });
    said.unwrap_or(false)
}

/// The addresses of the IOMMUs that have a driver: `smmu3.0x00000000fc900000`, `fdb60800.iommu`.
fn driven(host: &Host) -> Vec<String> {
    let units = host.list(IOMMUS).unwrap_or_default();
    let address = |unit: &String| {
        let number = unit.rsplit_once("0x").map(|(_, hex)| hex.trim_start_matches('0'));
        number.or(unit.split('.').next()).unwrap_or_default().to_owned()
    };
    units.iter().map(address).collect()
}

/// The path, in the device tree, of the host bridge that a device is below.
fn of_node(host: &Host, address: PciAddress, bridges: &[Bridge]) -> Option<String> {
    let place = host.path(format!("{}/{address}", pci::DEVICES)).canonicalize().ok()?;
    place.ancestors().find_map(|directory| {
        let target = fs::read_link(directory.join("of_node")).ok()?;
        let ends = |bridge: &&Bridge| target.ends_with(Path::new(&bridge.node.path));
        // Of two that fit, a nested node is the one that is meant.
        let found = bridges.iter().filter(ends).max_by_key(|bridge| bridge.node.path.len())?;
        Some(found.node.path.clone())
    })
}

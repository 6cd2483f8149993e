//! Which PCI devices a place in sysfs is on: whose removal takes it away.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use crate::device::bus::pci::{self, PciAddress};
use crate::device::sys::host::Host;

/// A PCI device that something is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Carrier {
    /// The device.
    pub address: PciAddress,
    /// The virtual function of it that the thing is on: it goes when its physical function goes.
    pub function: Option<PciAddress>,
}

/// The physical functions of the virtual ones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Functions(BTreeMap<PciAddress, PciAddress>);

impl Functions {
    pub(crate) fn read(host: &Host) -> Self {
        let names = host.list(pci::DEVICES).unwrap_or_default();
        let pair = |name: String| {
            let physical = host.link_name(&format!("{}/{name}/physfn", pci::DEVICES)).ok()??;
            Some((name.parse().ok()?, physical.parse().ok()?))
        };
        Self(names.into_iter().filter_map(pair).collect())
    }

    /// All virtual functions, each with its physical one.
    pub(crate) fn all(&self) -> impl Iterator<Item = (PciAddress, PciAddress)> {
        self.0.iter().map(|(function, physical)| (*function, *physical))
    }

    /// These devices and the virtual functions that go with them.
    pub(crate) fn with_functions(&self, taken: &[PciAddress]) -> Vec<PciAddress> {
        let functions = self.all().filter(|(_, physical)| taken.contains(physical));
        taken.iter().copied().chain(functions.map(|(function, _)| function)).collect()
    }

    /// A device as a carrier, and its physical function.
    pub(crate) fn carriers_of(&self, address: PciAddress) -> impl Iterator<Item = Carrier> {
        let physical = self.0.get(&address).copied();
        let physical =
            physical.map(|physical| Carrier { address: physical, function: Some(address) });
        [Carrier { address, function: None }].into_iter().chain(physical)
    }

    /// The PCI devices among the components of a real path (`Host::real`), bridges too, and their
    /// physical functions.
    pub(crate) fn carriers(&self, place: &Path) -> Vec<Carrier> {
        let mut carriers = Vec::new();
        self.add_carriers(place, &mut carriers);
        if let Some(subsystem) = nvme_subsystem(place) {
            // The disk of several controllers, or of one that could have others (NVME_MULTIPATH).
            for entry in fs::read_dir(subsystem).into_iter().flatten().flatten() {
                if entry.file_type().is_ok_and(|kind| kind.is_symlink())
                    && let Ok(controller) = fs::canonicalize(entry.path())
                {
                    self.add_carriers(&controller, &mut carriers);
                }
            }
        }
        carriers
    }

    fn add_carriers(&self, place: &Path, carriers: &mut Vec<Carrier>) {
        let addresses = place.iter().filter_map(address);
        for carrier in addresses.flat_map(|address| self.carriers_of(address)) {
            if !carriers.contains(&carrier) {
                carriers.push(carrier);
            }
        }
    }
}

/// Cheaper than to parse every component.
fn address(part: &OsStr) -> Option<PciAddress> {
    let text = part.to_str()?;
    let looks_so = text.len() >= "0000:00:00.0".len() && text.contains('.') && text.contains(':');
    text.parse().ok().filter(|_| looks_so)
}

/// The directory of the NVMe subsystem that a disk belongs to
/// (`/sys/devices/virtual/nvme-subsystem/nvme-subsys0/nvme0n1`).
fn nvme_subsystem(place: &Path) -> Option<&Path> {
    place.ancestors().find(|above| {
        above.parent().and_then(Path::file_name) == Some(OsStr::new("nvme-subsystem"))
    })
}

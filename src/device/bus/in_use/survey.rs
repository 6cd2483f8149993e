//! The system looked at once, and what each of its devices is needed for.

use std::collections::BTreeMap;
use std::path::Path;

use super::blocks::Blocks;
use super::carriers::{Carrier, Functions};
use super::disks::{self, DiskUse};
use super::machine::Machine;
use super::mounts;
use super::need::{InUse, Need};
use super::network::ways::Network;
use super::processes;
use super::shares;
use crate::device::bus::pci::{self, PciAddress, PciDevice};
use crate::device::sys::host::Host;

/// What is in use, read once for all devices. What cannot be read counts as not there.
#[derive(Clone, Debug)]
pub struct Survey {
    functions: Functions,
    blocks: Blocks,
    /// What each device is needed for, whatever others are taken.
    facts: BTreeMap<PciAddress, Vec<InUse>>,
    /// The disks of each device, to be asked for.
    disks: BTreeMap<PciAddress, Vec<usize>>,
    network: Network,
    machine: Machine,
    /// What each block device is needed for, by its number.
    used: DiskUse,
}

impl Survey {
    /// Looks at the system.
    pub fn read(host: &Host) -> Self {
        let functions = Functions::read(host);
        let blocks = Blocks::read(host, &functions);
        let mounts = mounts::all(host);
        let used = DiskUse::read(host, &blocks, &mounts);
        let network = Network::read(host, &functions, &mounts, &blocks, &used);
        let machine = Machine::read(host, &functions);
        let opened = processes::open_nodes(host, &functions, &blocks);
        let mut survey = Self {
            functions,
            blocks,
            facts: BTreeMap::new(),
            disks: BTreeMap::new(),
            network,
            machine,
            used: DiskUse::default(),
        };
        for (number, fact) in used.iter() {
            let carriers = survey.blocks.get(number).map(|block| block.carriers.clone());
            survey.add(&carriers.unwrap_or_default(), fact);
        }
        let shares = shares::mounted(host, &survey.functions, &mounts);
        for (carriers, fact) in opened.iter().chain(&shares).chain(&survey.machine.facts.clone()) {
            survey.add(carriers, fact);
        }
        survey.set_aside(host);
        for (number, block) in survey.blocks.iter() {
            for Carrier { address, .. } in &block.carriers {
                survey.disks.entry(*address).or_default().push(number);
            }
        }
        survey.used = used;
        survey
    }

    fn add(&mut self, carriers: &[Carrier], fact: &InUse) {
        for Carrier { address, function } in carriers {
            let mut fact = fact.clone();
            fact.function = *function;
            let known = self.facts.entry(*address).or_default();
            if !known.contains(&fact) {
                known.push(fact);
            }
        }
    }

    /// Functions with a driver are used by the host or are for guests, and go with their physical one.
    fn set_aside(&mut self, host: &Host) {
        for (function, physical) in self.functions.all().collect::<Vec<_>>() {
            let Ok(Some(driver)) = pci::driver(host, function) else { continue };
            let known = self.facts.entry(physical).or_default();
            if !known.iter().any(|fact| fact.function == Some(function)) {
                let source = format!("/{}", pci::attribute(function, "driver"));
                let need = Need::Function { driver };
                known.push(InUse { need, source, function: Some(function) });
            }
        }
    }

    /// What `device` is needed for when the devices `taken` (this one among them) are all taken
    /// from the system. On the running system its disks are asked for now.
    pub fn of(&self, host: &Host, device: &PciDevice, taken: &[PciAddress]) -> Vec<InUse> {
        let mut found = self.facts.get(&device.address).cloned().unwrap_or_default();
        if !found.iter().any(InUse::is_storage) {
            found.extend(self.busy(host, device.address));
        }
        let gone = self.functions.with_functions(taken);
        found.extend(self.network.of(device.address, &gone));
        for fact in self.machine.of(host, device, &gone) {
            // The table of what a driver carries may say what sysfs showed.
            if !found.iter().any(|known| known.need == fact.need || is_same_part(known, &fact)) {
                found.push(fact);
            }
        }
        // That a function has a driver says nothing where it is known what for.
        let is_bare = |fact: &InUse| matches!(fact.need, Need::Function { .. });
        let known: Vec<PciAddress> =
            found.iter().filter(|fact| !is_bare(fact)).filter_map(|fact| fact.function).collect();
        found.retain(|fact| !is_bare(fact) || !fact.function.is_some_and(|f| known.contains(&f)));
        found
    }

    /// What is at a place of sysfs, and below it, is needed for: the disks and cards that are there.
    pub(crate) fn of_place(&self, host: &Host, place: &Path) -> Vec<InUse> {
        let is_below = |number: usize| {
            self.blocks.get(number).is_some_and(|block| block.place.starts_with(place))
        };
        let used = self.used.iter().filter(|(number, _)| is_below(*number));
        let mut found: Vec<InUse> = used.map(|(_, used)| used.clone()).collect();
        if found.is_empty() {
            let here = self.blocks.iter().filter(|(number, _)| is_below(*number));
            let busy = here.map(|(_, block)| block).filter(|block| disks::is_busy(host, block));
            found.extend(busy.map(|block| {
                let need = Need::Busy { block: block.name.clone() };
                InUse::new(need, format!("open /dev/{} (O_EXCL): EBUSY", block.name))
            }));
        }
        found.extend(self.network.of_place(place));
        found
    }

    /// The disks that nothing was found to use, and that somebody has for himself all the same.
    fn busy(&self, host: &Host, address: PciAddress) -> Vec<InUse> {
        let disks = self.disks.get(&address).map(Vec::as_slice).unwrap_or_default();
        // A disk is busy when one of its partitions is.
        let whole = disks.iter().filter(|number| self.blocks.disk_of(**number) == **number);
        let blocks = whole.filter_map(|number| self.blocks.get(*number));
        let busy = blocks.filter(|block| disks::is_busy(host, block));
        busy.map(|block| {
            let function = block.carriers.iter().find(|carrier| carrier.address == address);
            InUse {
                need: Need::Busy { block: block.name.clone() },
                source: format!("open /dev/{} (O_EXCL): EBUSY", block.name),
                function: function.and_then(|carrier| carrier.function),
            }
        })
        .collect()
    }
}

fn is_same_part(one: &InUse, other: &InUse) -> bool {
    match (&one.need, &other.need) {
        (Need::Part { what, .. }, Need::Part { what: other, .. }) => what == other,
        _ => false,
    }
}

//! The devices on the board: one for each that the patch names.

use super::board::{StandIn, boards};
use super::error::Undecided;
use crate::bootfile::DeviceSpec;
use crate::kernel::Arch;

/// Buses behind root ports: as many ports as there are numbers below this.
const BUSES: u8 = 17;
/// The slot of the first root ports, eight in one.
const PORTS_AT: u8 = 0x10;

/// An id that no device of QEMU has, and the id of the device that stands in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// What the patch names.
    pub named: DeviceSpec,
    /// What is on the board.
    pub stand_in: DeviceSpec,
}

/// The devices of a board.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Devices {
    /// QEMU's arguments.
    pub arguments: Vec<String>,
    /// The ids that differ.
    pub exchanged: Vec<Exchange>,
    /// The PCI domain of all of them.
    pub domain: u32,
}

impl Devices {
    /// Put a device where each of `specs` looks for one.
    ///
    /// # Errors
    /// [`Undecided::Address`], [`Undecided::TooMany`].
    pub(super) fn place(arch: Arch, specs: &[DeviceSpec]) -> Result<Self, Undecided> {
        let mut placing = Placing::new(arch);
        let is_address = |spec: &&DeviceSpec| matches!(spec, DeviceSpec::Address { .. });
        for spec in specs.iter().filter(is_address) {
            placing.at_address(spec)?;
        }
        placing.by_id(specs)?;
        Ok(placing.devices)
    }
}

struct Placing {
    arch: Arch,
    devices: Devices,
    number: usize,
    ports: u8,
    taken: Vec<(u8, u8)>,
}

impl Placing {
    fn new(arch: Arch) -> Self {
        let taken = Vec::new();
        Placing { arch, devices: Devices::default(), number: 0, ports: 0, taken }
    }

    fn at_address(&mut self, spec: &DeviceSpec) -> Result<(), Undecided> {
        let refused = || Undecided::Address(spec.clone());
        let DeviceSpec::Address { domain, bus, device, function } = *spec else { return Ok(()) };
        // A root port has one device behind it; the board's own are at 0, a PC's also at 1f.
        let own = device == 0 || (self.arch == Arch::X86_64 && device == 0x1f);
        let free = if bus == 0 { !own && device < PORTS_AT } else { device == 0 };
        // There is one host bridge. Only a device tree says which domain it is.
        let first = self.taken.is_empty();
        let same = if first {
            self.arch == Arch::Arm64 || domain == 0
        } else {
            domain == self.devices.domain
        };
        if !same || bus >= BUSES || !free {
            return Err(refused());
        }
        self.devices.domain = domain;
        let on = match bus {
            0 => "pcie.0".to_owned(),
            _ => self.port(bus),
        };
        // The functions of a slot are looked for only when it has the first one.
        if function != 0 && !self.taken.contains(&(bus, device)) {
            let first = format!("pci-testdev,bus={on},addr={device:x}.0,multifunction=on");
            self.devices.arguments.extend(["-device".to_owned(), first]);
        }
        self.taken.push((bus, device));
        let Some(stand_in) = boards().stand_in.first() else { return Err(refused()) };
        let multi = if function == 0 { ",multifunction=on" } else { "" };
        self.add(stand_in, &format!(",bus={on},addr={device:x}.{function}{multi}"));
        Ok(())
    }

    /// The name of the root port in front of `bus`. The kernel numbers buses in the order of ports.
    fn port(&mut self, bus: u8) -> String {
        while self.ports < bus {
            let (slot, function) = (PORTS_AT + self.ports / 8, self.ports % 8);
            let number = self.ports + 1;
            let port = format!(
                "pcie-root-port,id=port{number},bus=pcie.0,chassis={number},addr={slot:x}.{function},multifunction=on"
            );
            self.devices.arguments.extend(["-device".to_owned(), port]);
            self.ports = number;
        }
        format!("port{bus}")
    }

    fn by_id(&mut self, specs: &[DeviceSpec]) -> Result<(), Undecided> {
        let all = &boards().stand_in;
        let id = |stand_in: &StandIn| stand_in.id.parse::<DeviceSpec>().ok();
        let mut named: Vec<&DeviceSpec> = Vec::new();
        for spec in specs.iter().filter(|spec| matches!(spec, DeviceSpec::Id { .. })) {
            if !named.contains(&spec) {
                named.push(spec);
            }
        }
        let exact = |stand_in: &StandIn| id(stand_in).is_some_and(|own| named.contains(&&own));
        // The first one is at the addresses, and must not be taken by an id as well.
        let addresses = self.number > 0;
        let mut others =
            all.iter().skip(usize::from(addresses)).filter(|stand_in| !exact(stand_in));
        let there = all.len() - usize::from(addresses);
        for spec in &named {
            let same = all.iter().find(|stand_in| id(stand_in).as_ref() == Some(spec));
            let Some(stand_in) = same.or_else(|| others.next()) else {
                return Err(Undecided::TooMany { wanted: named.len(), there });
            };
            self.add(stand_in, "");
            if let Some(stand_in) = id(stand_in).filter(|own| own != *spec) {
                let exchange = Exchange { named: (*spec).clone(), stand_in };
                self.devices.exchanged.push(exchange);
            }
        }
        Ok(())
    }

    fn add(&mut self, stand_in: &StandIn, place: &str) {
        self.number += 1;
        let number = self.number.to_string();
        let mut device = stand_in.model.replace("%N", &number) + place;
        if stand_in.drive {
            let drive = format!("if=none,id=drive{number},file=null-co://,format=raw");
            self.devices.arguments.extend(["-drive".to_owned(), drive]);
            device += &format!(",drive=drive{number}");
        }
        self.devices.arguments.extend(["-device".to_owned(), device]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(specs: &[&str]) -> Result<Devices, Undecided> {
        let specs: Vec<DeviceSpec> = specs.iter().map(|spec| spec.parse().unwrap()).collect();
        Devices::place(Arch::Arm64, &specs)
    }

    fn models(devices: &Devices) -> Vec<&str> {
        let values = devices.arguments.chunks(2).filter(|pair| pair[0] == "-device");
        values.map(|pair| pair[1].split(',').next().unwrap()).collect()
    }

    #[test]
    fn an_id_that_qemu_has_is_that_device() {
        let devices = place(&["1234:11e8", "1b36:0010"]).unwrap();
        assert_eq!(models(&devices), ["edu", "nvme"]);
        assert_eq!(devices.exchanged, []);
    }

    #[test]
    fn other_ids_are_exchanged_for_different_ones() {
        let devices = place(&["10de:1c82", "10de:0fb9", "1b36:0010"]).unwrap();
        assert_eq!(models(&devices), ["edu", "e1000e", "nvme"]);
        let ids: Vec<String> =
            devices.exchanged.iter().map(|own| format!("{}>{}", own.named, own.stand_in)).collect();
        assert_eq!(ids, ["10de:1c82>1234:11e8", "10de:0fb9>8086:10d3"]);
    }

    #[test]
    fn an_address_behind_a_port_has_the_ports_before_it() {
        let devices = place(&["0000:02:00.1"]).unwrap();
        assert_eq!(models(&devices), ["pcie-root-port", "pcie-root-port", "pci-testdev", "nvme"]);
        assert!(devices.arguments.last().unwrap().contains("bus=port2,addr=0.1"));
    }

    #[test]
    fn an_id_is_not_that_of_a_device_at_an_address() {
        let devices = place(&["0000:00:02.0", "10de:1c82"]).unwrap();
        assert_eq!(models(&devices), ["nvme", "edu"]);
    }

    #[test]
    fn one_domain_can_be_any() {
        let devices = place(&["0004:00:02.0", "0004:01:00.0", "1234:11e8"]).unwrap();
        assert_eq!(devices.domain, 4);
        let second: DeviceSpec = "0000:01:00.0".parse().unwrap();
        assert_eq!(place(&["0004:00:02.0", "0000:01:00.0"]), Err(Undecided::Address(second)));
        let specs = ["0001:00:02.0".parse().unwrap()];
        let refused = Devices::place(Arch::X86_64, &specs);
        assert_eq!(refused, Err(Undecided::Address(specs[0].clone())));
    }

    #[test]
    fn what_has_no_place_is_named() {
        for address in ["0000:00:00.0", "0000:11:00.0", "0000:01:02.0"] {
            assert_eq!(place(&[address]), Err(Undecided::Address(address.parse().unwrap())));
        }
        let ids: Vec<String> = (0..7).map(|id| format!("10de:{id:04x}")).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        assert_eq!(place(&ids), Err(Undecided::TooMany { wanted: 7, there: 6 }));
    }
}

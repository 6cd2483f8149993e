//! The list `devices`: names of devices, or tables.

use core::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use super::keys::{Example::Inside, Key, Kind, row};
use super::needs::{NeededFile, Needs, nodes_of};
use crate::bootfile::{DeviceSpec, DeviceSpecError};
use crate::device::bus::pci::PciAddress;
use crate::device::guest::libvirt::{Unsupported, Xml};
use crate::device::guest::qemu::argv::{Argv, IOMMUFD, Resources, value};

/// A device of the host: its name alone, or a table with options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Which.
    pub spec: DeviceSpec,
    /// A file with its option ROM, instead of its own.
    pub romfile: Option<String>,
    /// Whether it is below a root port of its own instead of on the root bus: for drivers
    /// that expect a link above their device.
    pub root_port: bool,
    /// More properties of QEMU's vfio-pci, each `NAME=VALUE`.
    pub options: Vec<String>,
}

/// A device of the host that its guest does not get, taken because it is in the group of one that
/// the guest gets.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct HeldDevice(pub DeviceSpec);

impl TryFrom<String> for HeldDevice {
    type Error = DeviceSpecError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse().map(Self)
    }
}

/// The keys of its table.
#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    row("devices.device", Kind::Device, Inside, "which device"),
    row("devices.romfile", Kind::Path, Inside, "a file with an option ROM, instead of the device's own"),
    row("devices.root_port", Kind::Flag, Inside, "whether it is below a root port of its own, for drivers that expect a link above their device"),
    row("devices.options", Kind::Texts, Inside, "more properties of QEMU's vfio-pci, each NAME=VALUE"),
];

/// The id of a device that is there from the start.
pub(crate) fn id(number: usize) -> String {
    format!("hostdev{number}")
}

/// The id of the port of such a device.
pub(crate) fn port(number: usize) -> String {
    format!("port{number}")
}

impl Device {
    /// A device without any options.
    pub(crate) fn plain(spec: DeviceSpec) -> Self {
        Self { spec, romfile: None, root_port: false, options: Vec::new() }
    }

    /// The path of its option ROM. Without a slash QEMU looks it up among its own.
    pub(super) fn path(&mut self) -> Option<&mut String> {
        self.romfile.as_mut().filter(|path| path.contains('/'))
    }

    /// The token that its options give.
    pub(crate) fn token(&self) -> Option<&str> {
        self.options.iter().find_map(|option| option.strip_prefix("vf-token="))
    }

    pub(super) fn needs<'g>(&'g self, needs: &mut Needs<'g>) {
        // QEMU says which options its vfio-pci has.
        let Self { spec, romfile, root_port: _, options } = self;
        needs.devices.push(spec.clone());
        let romfile = romfile.as_deref().filter(|path| path.contains('/'));
        let file = |path| NeededFile { key: "devices.romfile", path, write: false };
        needs.files.extend(romfile.map(file));
        options.iter().for_each(|option| needs.nodes.extend(nodes_of(option)));
    }

    /// `address` is where `spec` is found, `number` tells the devices apart. One that may be taken out again
    /// `can_leave` the guest only from a port of its own.
    pub(super) fn arguments(
        &self,
        argv: &mut Argv,
        number: usize,
        address: PciAddress,
        resources: &Resources<'_>,
        can_leave: bool,
    ) {
        let port = (self.root_port || can_leave).then(|| port(number));
        if let Some(port) = &port {
            // Chassis numbers start at 1.
            argv.pair("-device", format!("pcie-root-port,id={port},chassis={}", number + 1));
        }
        let mut text = String::from("vfio-pci");
        for (name, property) in self.properties(&id(number), address, resources, port.as_deref()) {
            text.push_str(&format!(",{name}={}", value(&property)));
        }
        argv.pair("-device", text);
    }

    /// The properties of QEMU's vfio-pci for the device at `address`, below the port `bus`.
    pub(crate) fn properties(
        &self,
        id: &str,
        address: PciAddress,
        resources: &Resources<'_>,
        bus: Option<&str>,
    ) -> Vec<(String, String)> {
        let Self { spec: _, romfile, root_port: _, options } = self;
        let token = self.token().is_none().then(|| resources.token(address)).flatten();
        // QEMU's addresses have domains of four digits.
        let place = match resources.iommufd || address.domain > 0xffff {
            true => ("sysfsdev", format!("/sys/bus/pci/devices/{address}")),
            false => ("host", address.to_string()),
        };
        let some = |name, value: Option<&str>| Some((name, value?.to_owned()));
        let known = [
            some("id", Some(id)),
            Some(place),
            some("iommufd", resources.iommufd.then_some(IOMMUFD)),
            some("vf-token", token.as_deref()),
            some("bus", bus),
            some("romfile", romfile.as_deref()),
        ];
        let known = known.into_iter().flatten().map(|(name, value)| (name.to_owned(), value));
        // What has no value is a flag.
        let own = options.iter().map(|option| option.split_once('=').unwrap_or((option, "on")));
        known.chain(own.map(|(name, value)| (name.to_owned(), value.to_owned()))).collect()
    }

    /// libvirt detaches it and gives it back by itself (`managed`).
    pub(super) fn domain(&self, address: PciAddress, xml: &mut Xml, unsupported: &mut Unsupported) {
        let Self { spec: _, romfile, root_port, options } = self;
        unsupported.when(*root_port, "devices.root_port");
        unsupported.when(!options.is_empty(), "devices.options");
        // Those of QEMU's own it does not look up.
        let romfile = romfile.as_ref().filter(|path| path.starts_with('/'));
        unsupported.when(self.romfile != romfile.cloned(), "devices.romfile");
        let attributes = [("mode", "subsystem"), ("type", "pci"), ("managed", "yes")];
        xml.within("hostdev", &attributes, |xml| {
            xml.within("source", &[], |xml| {
                let hex = |number: u32, width: usize| format!("0x{number:0width$x}");
                xml.empty(
                    "address",
                    &[
                        ("domain", &hex(address.domain, 4)),
                        ("bus", &hex(address.bus.into(), 2)),
                        ("slot", &hex(address.device.into(), 2)),
                        ("function", &hex(address.function.into(), 1)),
                    ],
                );
            });
            if let Some(romfile) = romfile {
                xml.empty("rom", &[("file", romfile)]);
            }
        });
    }
}

impl<'de> Deserialize<'de> for Device {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            device: String,
            romfile: Option<String>,
            #[serde(default)]
            root_port: bool,
            #[serde(default)]
            options: Vec<String>,
        }

        struct NameOrTable;
        impl<'de> Visitor<'de> for NameOrTable {
            type Value = Device;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", Kind::Device)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Device, E> {
                text.parse().map(Device::plain).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Device, A::Error> {
                let table = Table::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Device {
                    spec: table.device.parse().map_err(de::Error::custom)?,
                    romfile: table.romfile,
                    root_port: table.root_port,
                    options: table.options,
                })
            }
        }
        deserializer.deserialize_any(NameOrTable)
    }
}

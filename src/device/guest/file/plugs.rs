//! The keys of what is given to a guest while it runs: `hotplug`, `usb`, `agent`.

use super::keys::{
    Conflict,
    Example::{Default as ByDefault, Unset},
    Key, KeyConflict, Kind, row,
};
use crate::device::bus::usb::UsbSpec;
use crate::device::guest::libvirt::{Unsupported, Xml};
use crate::device::guest::qemu::agent::{AGENT, PORT};
use crate::device::guest::qemu::argv::{Argv, Resources, value};

/// The bus that USB devices are given to the guest on.
pub(crate) const USB_BUS: &str = "usb.0";
/// The id of its controller.
const USB_CONTROLLER: &str = "usb";

/// How many ports are kept free: each is a device of the root bus.
const PORTS: Kind = Kind::Number(0, 16);
/// The chassis of the first of them; those of devices that are there from the start begin at 1.
const FIRST_CHASSIS: usize = 100;

/// Their rows.
#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    row("hotplug", PORTS, ByDefault("0"), "how many devices `vfiorun attach` can give to it while it runs"),
    row("usb", Kind::UsbDevices, Unset("[\"046d:c52b\", \"1-1.2\"]"), "USB devices of the host: VENDOR:PRODUCT, or the port"),
    row("agent", Kind::Flag, ByDefault("false"), "a channel for the QEMU guest agent (qemu-guest-agent in the guest)"),
];

/// The id of a port that is kept free.
pub(crate) fn port(number: u32) -> String {
    format!("hotplug{number}")
}

pub(super) fn conflict(hotplug: u32) -> Option<KeyConflict> {
    (!PORTS.admits(hotplug)).then_some(("hotplug", Conflict::Expected(PORTS)))
}

pub(super) fn arguments(
    argv: &mut Argv,
    resources: &Resources<'_>,
    (hotplug, usb, agent): (u32, &[UsbSpec], bool),
) {
    for number in 0..hotplug {
        let chassis = FIRST_CHASSIS + number as usize;
        let id = port(number);
        argv.pair("-device", format!("pcie-root-port,id={id},chassis={chassis}"));
    }
    if !usb.is_empty() || hotplug > 0 {
        argv.pair("-device", format!("qemu-xhci,id={USB_CONTROLLER}"));
    }
    if agent {
        let path = format!("{}/{AGENT}", value(resources.directory));
        argv.pair("-chardev", format!("socket,id={PORT},path={path},server=on,wait=off"));
        argv.pair("-device", "virtio-serial-pci");
        argv.pair(
            "-device",
            format!("virtserialport,chardev={PORT},id={PORT},name=org.qemu.guest_agent.0"),
        );
    }
}

pub(super) fn domain(
    xml: &mut Xml,
    unsupported: &mut Unsupported,
    (hotplug, usb, agent): (u32, &[UsbSpec], bool),
) {
    for _ in 0..hotplug {
        xml.empty("controller", &[("type", "pci"), ("model", "pcie-root-port")]);
    }
    for spec in usb {
        let UsbSpec::Id { vendor, product } = spec else {
            unsupported.when(true, "usb");
            continue;
        };
        let attributes = [("mode", "subsystem"), ("type", "usb"), ("managed", "yes")];
        xml.within("hostdev", &attributes, |xml| {
            xml.within("source", &[], |xml| {
                xml.empty("vendor", &[("id", &format!("0x{vendor:04x}"))]);
                xml.empty("product", &[("id", &format!("0x{product:04x}"))]);
            });
        });
    }
    if agent {
        xml.within("channel", &[("type", "unix")], |xml| {
            xml.empty("target", &[("type", "virtio"), ("name", "org.qemu.guest_agent.0")]);
        });
    }
}

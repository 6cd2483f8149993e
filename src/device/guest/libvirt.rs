//! A guest as libvirt's domain XML (<https://libvirt.org/formatdomain.html>).

use crate::device::bus::pci::PciAddress;
use crate::device::guest::file::{
    Arch, Cluster, Device, DiskInterface, DisplayKind, Guest, Hugepages, NetworkMode, OnReboot,
};

/// Disks are called by them: `vda`.
const LETTERS: usize = 26;

/// The domain, with devices that libvirt detaches and gives back by itself (`managed`).
///
/// What has no place in it is named in a comment at its head. So are NVMe disks, which become virtio
/// ones: libvirt before 11.5 has no such bus.
pub fn domain(guest: &Guest, arch: Arch, qemu: &str, devices: &[(PciAddress, &Device)]) -> String {
    let mut xml = Xml::default();
    let lost: Vec<&str> = [
        (!guest.qemu_arguments.is_empty(), "qemu_arguments"),
        (guest.chroot.is_some(), "chroot"),
        (devices.iter().any(|(_, d)| d.root_port || !d.options.is_empty()), "options of devices"),
        (guest.disks.iter().any(|disk| disk.interface == DiskInterface::Nvme), "disks.interface"),
        (guest.disks.len() > LETTERS, "disks beyond the 26th"),
        (matches!(guest.cpus.cluster, Cluster::Big | Cluster::Little), "cpus.cluster by name"),
    ]
    .into_iter()
    .filter_map(|(is, name)| is.then_some(name))
    .collect();
    if !lost.is_empty() {
        xml.line(&format!("<!-- of the guest file not in here: {} -->", lost.join(", ")));
    }
    xml.within("domain", &[("type", "kvm")], |xml| {
        xml.text("name", &[], guest.name.as_str());
        xml.text("memory", &[("unit", "MiB")], &guest.memory.size.mib().to_string());
        memory_backing(xml, guest);
        let count = guest.cpus.count.to_string();
        match &guest.cpus.cluster {
            Cluster::List(list) => {
                xml.text(
                    "vcpu",
                    &[("cpuset", &crate::device::guest::cpu::format_list(list))],
                    &count,
                );
            }
            _ => xml.text("vcpu", &[], &count),
        }
        boot(xml, guest, arch);
        xml.within("features", &[], |xml| {
            xml.empty("acpi", &[]);
            if arch == Arch::Aarch64 {
                let gic = guest.machine.gic.as_deref().unwrap_or("host");
                xml.empty("gic", &[("version", gic)]);
            }
        });
        xml.empty("cpu", &[("mode", "host-passthrough")]);
        xml.text(
            "on_reboot",
            &[],
            match guest.on_reboot {
                OnReboot::Restart => "restart",
                OnReboot::Exit => "destroy",
            },
        );
        xml.within("devices", &[], |xml| {
            xml.text("emulator", &[], qemu);
            disks(xml, guest);
            network(xml, guest);
            for (address, device) in devices {
                hostdev(xml, *address, device);
            }
            xml.within("console", &[("type", "pty")], |xml| {
                xml.empty("target", &[("type", "serial")]);
            });
            if guest.display.kind == DisplayKind::Vnc {
                let socket = guest.display.socket.as_deref();
                match socket {
                    Some(socket) => {
                        xml.empty("graphics", &[("type", "vnc"), ("socket", socket)]);
                    }
                    None => xml.empty("graphics", &[("type", "vnc")]),
                }
            }
        });
    });
    xml.0
}

fn memory_backing(xml: &mut Xml, guest: &Guest) {
    let hugetlb = guest.memory.hugepages == Hugepages::Hugetlb;
    if hugetlb || guest.memory.locked {
        xml.within("memoryBacking", &[], |xml| {
            if hugetlb {
                xml.empty("hugepages", &[]);
            }
            if guest.memory.locked {
                xml.empty("locked", &[]);
            }
        });
    }
}

fn boot(xml: &mut Xml, guest: &Guest, arch: Arch) {
    let (default, boot) = match arch {
        Arch::Aarch64 => ("virt", &guest.boot),
        Arch::X86_64 => ("q35", &guest.boot),
    };
    let machine = guest.machine.kind.as_deref().unwrap_or(default);
    xml.within("os", &[], |xml| {
        xml.text("type", &[("arch", arch.name()), ("machine", machine)], "hvm");
        if let Some(firmware) = &boot.firmware {
            xml.text("loader", &[("readonly", "yes"), ("type", "pflash")], firmware);
        }
        let rest = [
            ("nvram", &boot.firmware_variables),
            ("kernel", &boot.kernel),
            ("initrd", &boot.initrd),
            ("cmdline", &boot.cmdline),
        ];
        for (name, text) in rest {
            if let Some(text) = text {
                xml.text(name, &[], text);
            }
        }
    });
}

fn disks(xml: &mut Xml, guest: &Guest) {
    for (letter, disk) in ('a'..='z').zip(&guest.disks) {
        let target = format!("vd{letter}");
        xml.within("disk", &[("type", "file"), ("device", "disk")], |xml| {
            xml.empty("driver", &[("name", "qemu"), ("type", disk.format.name())]);
            xml.empty("source", &[("file", &disk.path)]);
            xml.empty("target", &[("dev", &target), ("bus", "virtio")]);
            if disk.readonly {
                xml.empty("readonly", &[]);
            }
        });
    }
}

fn network(xml: &mut Xml, guest: &Guest) {
    let network = &guest.network;
    let kind = match network.mode {
        NetworkMode::None => return,
        NetworkMode::User => "user",
        NetworkMode::Tap => "ethernet",
    };
    xml.within("interface", &[("type", kind)], |xml| {
        if let Some(mac) = &network.mac {
            xml.empty("mac", &[("address", mac)]);
        }
        if let Some(tap) = &network.tap {
            xml.empty("target", &[("dev", tap), ("managed", "no")]);
        }
        // Only passt, of all of libvirt's user networks, has forwards.
        if !network.forwards.is_empty() {
            xml.empty("backend", &[("type", "passt")]);
        }
        for forward in &network.forwards {
            let address = forward.address.to_string();
            let attributes = [("proto", forward.protocol.name()), ("address", address.as_str())];
            xml.within("portForward", &attributes, |xml| {
                let (host, port) = (forward.host.to_string(), forward.guest.to_string());
                xml.empty("range", &[("start", &host), ("to", &port)]);
            });
        }
        xml.empty("model", &[("type", "virtio")]);
    });
}

fn hostdev(xml: &mut Xml, address: PciAddress, device: &Device) {
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
        if let Some(romfile) = &device.romfile {
            xml.empty("rom", &[("file", romfile)]);
        }
    });
}

/// A writer of elements, one a line.
#[derive(Default)]
struct Xml(String, usize);

impl Xml {
    fn line(&mut self, text: &str) {
        self.0.push_str(&"  ".repeat(self.1));
        self.0.push_str(text);
        self.0.push('\n');
    }

    fn empty(&mut self, name: &str, attributes: &[(&str, &str)]) {
        self.line(&format!("<{name}{}/>", text_of(attributes)));
    }

    fn text(&mut self, name: &str, attributes: &[(&str, &str)], text: &str) {
        self.line(&format!("<{name}{}>{}</{name}>", text_of(attributes), escape(text)));
    }

    fn within(&mut self, name: &str, attributes: &[(&str, &str)], content: impl FnOnce(&mut Self)) {
        self.line(&format!("<{name}{}>", text_of(attributes)));
        self.1 += 1;
        content(self);
        self.1 -= 1;
        self.line(&format!("</{name}>"));
    }
}

fn text_of(attributes: &[(&str, &str)]) -> String {
    attributes.iter().map(|(name, value)| format!(" {name}='{}'", escape(value))).collect()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\'', "&apos;")
}

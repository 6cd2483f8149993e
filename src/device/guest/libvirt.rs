//! A guest as libvirt's domain XML (<https://libvirt.org/formatdomain.html>).

use crate::device::bus::pci::PciAddress;
use crate::device::guest::cpu::format_list;
use crate::device::guest::file::{
    Arch, Boot, Cluster, Cpus, Device, Disk, DiskInterface, Display, DisplayKind, Forward, Guest,
    Hugepages, Machine, Memory, Network, NetworkMode, OnExit, OnReboot, Shutdown, without_effect,
};

/// The domain, with devices that libvirt detaches and gives back by itself (`managed`).
///
/// The keys of the guest file that libvirt cannot express are named in a comment at its head. So are
/// NVMe disks, which become virtio ones: libvirt before 11.5 has no such bus.
pub fn domain(guest: &Guest, arch: Arch, qemu: &str, devices: &[(PciAddress, &Device)]) -> String {
    // `devices` and `qemu` are here as they were found on this machine.
    let Guest {
        name,
        autostart,
        devices: _,
        on_exit,
        on_reboot,
        allow_unsafe_interrupts,
        qemu: _,
        chroot,
        qemu_arguments,
        machine,
        boot,
        memory,
        cpus,
        disks,
        network,
        display,
        shutdown,
    } = guest;
    let mut lost = Lost(without_effect(guest, arch));
    // `virsh autostart` does it.
    lost.when(*autostart, "autostart");
    lost.when(*on_exit == OnExit::Host, "on_exit");
    lost.when(*allow_unsafe_interrupts, "allow_unsafe_interrupts");
    lost.when(chroot.is_some(), "chroot");
    lost.when(!qemu_arguments.is_empty(), "qemu_arguments");
    shutdown_keys(shutdown, &mut lost);
    let mut xml = Xml::default();
    xml.within("domain", &[("type", "kvm")], |xml| {
        xml.text("name", &[], name.as_str());
        memory_keys(xml, memory, &mut lost);
        cpu_keys(xml, cpus, &mut lost);
        machine_and_boot(xml, machine, boot, arch);
        xml.empty("cpu", &[("mode", "host-passthrough")]);
        let on_reboot = match on_reboot {
            OnReboot::Restart => "restart",
            OnReboot::Exit => "destroy",
        };
        xml.text("on_reboot", &[], on_reboot);
        xml.within("devices", &[], |xml| {
            xml.text("emulator", &[], qemu);
            for (number, disk) in disks.iter().enumerate() {
                disk_keys(xml, number, disk, &mut lost);
            }
            network_keys(xml, network);
            for (address, device) in devices {
                hostdev(xml, *address, device, &mut lost);
            }
            xml.within("console", &[("type", "pty")], |xml| {
                xml.empty("target", &[("type", "serial")]);
            });
            display_keys(xml, display);
        });
    });
    lost.comment() + &xml.0
}

/// The keys that have a value which the domain does not express.
struct Lost(Vec<&'static str>);

impl Lost {
    fn when(&mut self, is: bool, key: &'static str) {
        if is && !self.0.contains(&key) {
            self.0.push(key);
        }
    }

    fn comment(&self) -> String {
        match self.0.as_slice() {
            [] => String::new(),
            keys => format!("<!-- keys of the guest file that are lost: {} -->\n", keys.join(", ")),
        }
    }
}

fn shutdown_keys(shutdown: &Shutdown, lost: &mut Lost) {
    let Shutdown { timeout, quit_timeout } = shutdown;
    let default = Shutdown::default();
    lost.when(*timeout != default.timeout, "shutdown.timeout");
    lost.when(*quit_timeout != default.quit_timeout, "shutdown.quit_timeout");
}

fn memory_keys(xml: &mut Xml, memory: &Memory, lost: &mut Lost) {
    let Memory { size, hugepages, locked } = memory;
    xml.text("memory", &[("unit", "MiB")], &size.mib().to_string());
    let hugetlb = match hugepages {
        Hugepages::Hugetlb => true,
        // What libvirt does by itself; for "auto" it lacks the first choice.
        Hugepages::Auto | Hugepages::None => false,
        Hugepages::Transparent => {
            lost.when(true, "memory.hugepages");
            false
        }
    };
    if hugetlb || *locked {
        xml.within("memoryBacking", &[], |xml| {
            if hugetlb {
                xml.empty("hugepages", &[]);
            }
            if *locked {
                xml.empty("locked", &[]);
            }
        });
    }
}

fn cpu_keys(xml: &mut Xml, cpus: &Cpus, lost: &mut Lost) {
    let Cpus { count, cluster } = cpus;
    let count = count.to_string();
    match cluster {
        Cluster::List(list) => xml.text("vcpu", &[("cpuset", &format_list(list))], &count),
        Cluster::Any => xml.text("vcpu", &[], &count),
        Cluster::Big | Cluster::Little => {
            lost.when(true, "cpus.cluster");
            xml.text("vcpu", &[], &count);
        }
    }
}

fn machine_and_boot(xml: &mut Xml, machine: &Machine, boot: &Boot, arch: Arch) {
    // `arch` is the machine's where the file has none.
    let Machine { arch: _, kind, gic } = machine;
    let Boot { firmware, firmware_variables, kernel, initrd, cmdline } = boot;
    let default = match arch {
        Arch::Aarch64 => "virt",
        Arch::X86_64 => "q35",
    };
    xml.within("os", &[], |xml| {
        let machine = kind.as_deref().unwrap_or(default);
        xml.text("type", &[("arch", arch.name()), ("machine", machine)], "hvm");
        if let Some(firmware) = firmware {
            xml.text("loader", &[("readonly", "yes"), ("type", "pflash")], firmware);
        }
        let rest = [
            ("nvram", firmware_variables),
            ("kernel", kernel),
            ("initrd", initrd),
            ("cmdline", cmdline),
        ];
        for (name, text) in rest {
            if let Some(text) = text {
                xml.text(name, &[], text);
            }
        }
    });
    xml.within("features", &[], |xml| {
        xml.empty("acpi", &[]);
        if arch == Arch::Aarch64 {
            xml.empty("gic", &[("version", gic.as_deref().unwrap_or("host"))]);
        }
    });
}

fn disk_keys(xml: &mut Xml, number: usize, disk: &Disk, lost: &mut Lost) {
    let Disk { path, format, readonly, interface } = disk;
    lost.when(*interface == DiskInterface::Nvme, "disks.interface");
    xml.within("disk", &[("type", "file"), ("device", "disk")], |xml| {
        xml.empty("driver", &[("name", "qemu"), ("type", format.name())]);
        xml.empty("source", &[("file", path)]);
        xml.empty("target", &[("dev", &disk_name(number)), ("bus", "virtio")]);
        if *readonly {
            xml.empty("readonly", &[]);
        }
    });
}

/// `vda` to `vdz`, `vdaa` and so on.
fn disk_name(number: usize) -> String {
    let mut letters = Vec::new();
    let mut rest = number + 1;
    while rest > 0 {
        rest -= 1;
        letters.extend(('a'..='z').nth(rest % 26));
        rest /= 26;
    }
    letters.iter().rev().fold("vd".to_owned(), |name, letter| name + &letter.to_string())
}

fn network_keys(xml: &mut Xml, network: &Network) {
    let Network { mode, forwards, tap, mac } = network;
    let kind = match mode {
        NetworkMode::None => return,
        NetworkMode::User => "user",
        NetworkMode::Tap => "ethernet",
    };
    xml.within("interface", &[("type", kind)], |xml| {
        if let Some(mac) = mac {
            xml.empty("mac", &[("address", mac)]);
        }
        if let Some(tap) = tap {
            xml.empty("target", &[("dev", tap), ("managed", "no")]);
        }
        // Only passt, of all of libvirt's user networks, has forwards.
        if !forwards.is_empty() {
            xml.empty("backend", &[("type", "passt")]);
        }
        for Forward { protocol, address, host, guest } in forwards {
            let address = address.to_string();
            let attributes = [("proto", protocol.name()), ("address", address.as_str())];
            xml.within("portForward", &attributes, |xml| {
                xml.empty("range", &[("start", &host.to_string()), ("to", &guest.to_string())]);
            });
        }
        xml.empty("model", &[("type", "virtio")]);
    });
}

fn hostdev(xml: &mut Xml, address: PciAddress, device: &Device, lost: &mut Lost) {
    // `address` is where `spec` was found.
    let Device { spec: _, romfile, root_port, options } = device;
    lost.when(*root_port, "devices.root_port");
    lost.when(!options.is_empty(), "devices.options");
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

fn display_keys(xml: &mut Xml, display: &Display) {
    let Display { kind, socket } = display;
    match (kind, socket) {
        (DisplayKind::None, _) => {}
        (DisplayKind::Vnc, Some(socket)) => {
            xml.empty("graphics", &[("type", "vnc"), ("socket", socket)]);
        }
        (DisplayKind::Vnc, None) => xml.empty("graphics", &[("type", "vnc")]),
    }
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

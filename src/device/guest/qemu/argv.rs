//! The arguments of QEMU, from a guest and what was found for it.

use crate::device::bus::pci::PciAddress;
use crate::device::guest::file::{
    Arch, Device, DiskInterface, DisplayKind, Guest, NetworkMode, OnReboot,
};
use crate::device::guest::memory::Backing;

/// The first monitor: the supervisor's.
pub const MONITOR: &str = "qmp.sock";
/// The second: for `status`, while the supervisor has the first.
pub const CONTROL: &str = "control.sock";
/// The screen.
pub const VNC: &str = "vnc.sock";

/// What is decided on the machine that the guest is started on.
#[derive(Clone, Copy, Debug)]
pub struct Found<'a> {
    /// What QEMU emulates.
    pub arch: Arch,
    /// The host's devices for the guest.
    pub devices: &'a [(PciAddress, &'a Device)],
    /// Of what its memory is made.
    pub backing: Backing,
    /// Where QEMU makes its sockets, as it sees that directory.
    pub directory: &'a str,
}

/// The arguments, without the program.
pub fn argv(guest: &Guest, found: &Found<'_>) -> Vec<String> {
    let mut argv = Argv(Vec::new());
    argv.flag("-nodefaults");
    argv.flag("-no-user-config");
    argv.pair("-name", format!("guest={}", guest.name));
    machine(&mut argv, guest, found);
    boot(&mut argv, guest);
    monitors(&mut argv, found.directory);
    display(&mut argv, guest, found);
    disks(&mut argv, guest);
    network(&mut argv, guest);
    for (number, (address, device)) in found.devices.iter().enumerate() {
        passed_through(&mut argv, number, *address, device);
    }
    if guest.on_reboot == OnReboot::Exit {
        argv.flag("-no-reboot");
    }
    argv.0.extend(guest.qemu_arguments.iter().cloned());
    argv.0
}

struct Argv(Vec<String>);

impl Argv {
    fn flag(&mut self, name: &str) {
        self.0.push(name.to_owned());
    }

    fn pair(&mut self, name: &str, value: impl Into<String>) {
        self.0.extend([name.to_owned(), value.into()]);
    }
}

/// A value inside of an option: QEMU splits at commas and takes two for one.
fn value(text: &str) -> String {
    text.replace(',', ",,")
}

fn machine(argv: &mut Argv, guest: &Guest, found: &Found<'_>) {
    let kind = guest.machine.kind.as_deref();
    let mut machine = match found.arch {
        Arch::Aarch64 => format!(
            "{},gic-version={}",
            kind.unwrap_or("virt"),
            guest.machine.gic.as_deref().unwrap_or("host")
        ),
        Arch::X86_64 => kind.unwrap_or("q35").to_owned(),
    };
    machine.push_str(",accel=kvm");
    let size = guest.memory.size.mib();
    if let Backing::Hugetlb(page) = found.backing {
        machine.push_str(",memory-backend=ram");
        argv.pair(
            "-object",
            format!(
                "memory-backend-memfd,id=ram,size={size}M,hugetlb=on,hugetlbsize={}k,prealloc=on",
                page / 1024
            ),
        );
    }
    argv.pair("-machine", machine);
    argv.pair("-cpu", "host");
    argv.pair("-smp", guest.cpus.count.to_string());
    argv.pair("-m", format!("{size}M"));
    if guest.memory.locked {
        argv.pair("-overcommit", "mem-lock=on");
    }
}

fn boot(argv: &mut Argv, guest: &Guest) {
    let boot = &guest.boot;
    let flash = [(&boot.firmware, true), (&boot.firmware_variables, false)];
    for (unit, (file, readonly)) in flash.into_iter().enumerate() {
        if let Some(file) = file {
            let readonly = if readonly { ",readonly=on" } else { "" };
            argv.pair(
                "-drive",
                format!("if=pflash,unit={unit},format=raw,file={}{readonly}", value(file)),
            );
        }
    }
    let linux = [("-kernel", &boot.kernel), ("-initrd", &boot.initrd), ("-append", &boot.cmdline)];
    for (name, text) in linux {
        if let Some(text) = text {
            argv.pair(name, text);
        }
    }
}

fn monitors(argv: &mut Argv, directory: &str) {
    for (id, name) in [("qmp", MONITOR), ("control", CONTROL)] {
        argv.pair(
            "-chardev",
            format!("socket,id={id},path={}/{name},server=on,wait=off", value(directory)),
        );
        argv.pair("-mon", format!("chardev={id},mode=control"));
    }
    // The console goes where vfiorun's output goes, past vfiorun.
    argv.pair("-chardev", "stdio,id=console,signal=off");
    argv.pair("-serial", "chardev:console");
}

fn display(argv: &mut Argv, guest: &Guest, found: &Found<'_>) {
    match guest.display.kind {
        DisplayKind::None => argv.pair("-display", "none"),
        DisplayKind::Vnc => {
            let socket = match &guest.display.socket {
                Some(socket) => value(socket),
                None => format!("{}/{VNC}", value(found.directory)),
            };
            argv.pair("-display", format!("vnc=unix:{socket}"));
            let screen = match found.arch {
                Arch::Aarch64 => "virtio-gpu-pci",
                // Its firmware knows no other than VGA.
                Arch::X86_64 => "virtio-vga",
            };
            for device in [screen, "qemu-xhci,id=usb", "usb-kbd,bus=usb.0", "usb-tablet,bus=usb.0"]
            {
                argv.pair("-device", device);
            }
        }
    }
}

fn disks(argv: &mut Argv, guest: &Guest) {
    for (number, disk) in guest.disks.iter().enumerate() {
        let readonly = if disk.readonly { ",readonly=on" } else { "" };
        argv.pair(
            "-drive",
            format!(
                "if=none,id=disk{number},format={},file={}{readonly}",
                disk.format.name(),
                value(&disk.path)
            ),
        );
        argv.pair(
            "-device",
            match disk.interface {
                DiskInterface::Virtio => format!("virtio-blk-pci,drive=disk{number}"),
                DiskInterface::Nvme => format!("nvme,drive=disk{number},serial=disk{number}"),
            },
        );
    }
}

fn network(argv: &mut Argv, guest: &Guest) {
    let network = &guest.network;
    let backend = match network.mode {
        NetworkMode::None => return,
        NetworkMode::User => {
            let mut backend = "user,id=net0".to_owned();
            for forward in &network.forwards {
                let protocol = forward.protocol.name();
                let (address, host, port) = (forward.address, forward.host, forward.guest);
                backend.push_str(&format!(",hostfwd={protocol}:{address}:{host}-:{port}"));
            }
            backend
        }
        NetworkMode::Tap => format!(
            "tap,id=net0,ifname={},script=no,downscript=no",
            value(network.tap.as_deref().unwrap_or_default())
        ),
    };
    argv.pair("-netdev", backend);
    let mac = network.mac.as_ref().map(|mac| format!(",mac={}", value(mac))).unwrap_or_default();
    argv.pair("-device", format!("virtio-net-pci,netdev=net0{mac}"));
}

fn passed_through(argv: &mut Argv, number: usize, address: PciAddress, device: &Device) {
    let mut text = format!("vfio-pci,id=hostdev{number},host={address}");
    if device.root_port {
        // Chassis numbers start at 1.
        argv.pair("-device", format!("pcie-root-port,id=port{number},chassis={}", number + 1));
        text.push_str(&format!(",bus=port{number}"));
    }
    if let Some(romfile) = &device.romfile {
        text.push_str(&format!(",romfile={}", value(romfile)));
    }
    for option in &device.options {
        text.push_str(&format!(",{}", value(option)));
    }
    argv.pair("-device", text);
}

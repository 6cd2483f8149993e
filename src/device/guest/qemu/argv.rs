//! The arguments of QEMU, from a guest and what was found for it.

use crate::device::bus::pci::PciAddress;
use crate::device::guest::file::{
    Arch, Boot, Cpus, Device, Disk, DiskInterface, Display, DisplayKind, Forward, Guest, Machine,
    Memory, Network, NetworkMode, OnReboot,
};
use crate::device::guest::memory::Backing;

/// The first monitor: the supervisor's.
pub const MONITOR: &str = "qmp.sock";
/// The second: for `status`, while the supervisor has the first.
pub const CONTROL: &str = "control.sock";
/// The screen.
pub const VNC: &str = "vnc.sock";

/// What the machine has for the guest.
#[derive(Clone, Copy, Debug)]
pub struct Resources<'a> {
    /// What QEMU emulates.
    pub arch: Arch,
    /// The host's devices for the guest.
    pub devices: &'a [(PciAddress, &'a Device)],
    /// The pages of its memory.
    pub backing: Backing,
    /// Where QEMU makes its sockets, as it sees that directory.
    pub directory: &'a str,
}

/// The arguments, without the program.
pub fn argv(guest: &Guest, resources: &Resources<'_>) -> Vec<String> {
    // `devices` are in `resources`. Those that QEMU does not know of are carried out by the start
    // (chroot, qemu, allow_unsafe_interrupts) and by the supervisor (on_exit, shutdown).
    let Guest {
        name,
        autostart: _,
        devices: _,
        on_exit: _,
        on_reboot,
        allow_unsafe_interrupts: _,
        qemu: _,
        chroot: _,
        qemu_arguments,
        machine,
        boot,
        memory,
        cpus,
        disks,
        network,
        display,
        shutdown: _,
    } = guest;
    let mut argv = Argv(Vec::new());
    argv.flag("-nodefaults");
    argv.flag("-no-user-config");
    argv.pair("-name", format!("guest={name}"));
    machine_options(&mut argv, machine, memory, cpus, resources);
    boot_options(&mut argv, boot);
    monitors(&mut argv, resources.directory);
    display_options(&mut argv, display, resources);
    for (number, disk) in disks.iter().enumerate() {
        disk_options(&mut argv, number, disk);
    }
    network_options(&mut argv, network);
    for (number, (address, device)) in resources.devices.iter().enumerate() {
        passed_through(&mut argv, number, *address, device);
    }
    match on_reboot {
        OnReboot::Restart => {}
        OnReboot::Exit => argv.flag("-no-reboot"),
    }
    argv.0.extend(qemu_arguments.iter().cloned());
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

fn machine_options(
    argv: &mut Argv,
    machine: &Machine,
    memory: &Memory,
    cpus: &Cpus,
    resources: &Resources<'_>,
) {
    // Architecture and pages are in `resources`; the processors are those that the start allows.
    let Machine { arch: _, kind, gic } = machine;
    let Memory { size, hugepages: _, locked } = memory;
    let Cpus { count, cluster: _ } = cpus;
    let kind = kind.as_deref();
    let mut machine = match resources.arch {
        Arch::Aarch64 => {
            format!("{},gic-version={}", kind.unwrap_or("virt"), gic.as_deref().unwrap_or("host"))
        }
        Arch::X86_64 => kind.unwrap_or("q35").to_owned(),
    };
    machine.push_str(",accel=kvm");
    let size = size.mib();
    if let Backing::Hugetlb(page) = resources.backing {
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
    argv.pair("-smp", count.to_string());
    argv.pair("-m", format!("{size}M"));
    if *locked {
        argv.pair("-overcommit", "mem-lock=on");
    }
}

fn boot_options(argv: &mut Argv, boot: &Boot) {
    let Boot { firmware, firmware_variables, kernel, initrd, cmdline } = boot;
    let flash = [(firmware, true), (firmware_variables, false)];
    for (unit, (file, readonly)) in flash.into_iter().enumerate() {
        if let Some(file) = file {
            let readonly = if readonly { ",readonly=on" } else { "" };
            argv.pair(
                "-drive",
                format!("if=pflash,unit={unit},format=raw,file={}{readonly}", value(file)),
            );
        }
    }
    for (name, text) in [("-kernel", kernel), ("-initrd", initrd), ("-append", cmdline)] {
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

fn display_options(argv: &mut Argv, display: &Display, resources: &Resources<'_>) {
    let Display { kind, socket } = display;
    match kind {
        DisplayKind::None => argv.pair("-display", "none"),
        DisplayKind::Vnc => {
            let socket = match socket {
                Some(socket) => value(socket),
                None => format!("{}/{VNC}", value(resources.directory)),
            };
            argv.pair("-display", format!("vnc=unix:{socket}"));
            let screen = match resources.arch {
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

fn disk_options(argv: &mut Argv, number: usize, disk: &Disk) {
    let Disk { path, format, readonly, interface } = disk;
    let readonly = if *readonly { ",readonly=on" } else { "" };
    let (format, path) = (format.name(), value(path));
    argv.pair("-drive", format!("if=none,id=disk{number},format={format},file={path}{readonly}"));
    argv.pair(
        "-device",
        match interface {
            DiskInterface::Virtio => format!("virtio-blk-pci,drive=disk{number}"),
            DiskInterface::Nvme => format!("nvme,drive=disk{number},serial=disk{number}"),
        },
    );
}

fn network_options(argv: &mut Argv, network: &Network) {
    let Network { mode, forwards, tap, mac } = network;
    let backend = match mode {
        NetworkMode::None => return,
        NetworkMode::User => {
            let mut backend = "user,id=net0".to_owned();
            for Forward { protocol, address, host, guest } in forwards {
                let protocol = protocol.name();
                backend.push_str(&format!(",hostfwd={protocol}:{address}:{host}-:{guest}"));
            }
            backend
        }
        NetworkMode::Tap => format!(
            "tap,id=net0,ifname={},script=no,downscript=no",
            value(tap.as_deref().unwrap_or_default())
        ),
    };
    argv.pair("-netdev", backend);
    let mac = mac.as_ref().map(|mac| format!(",mac={}", value(mac))).unwrap_or_default();
    argv.pair("-device", format!("virtio-net-pci,netdev=net0{mac}"));
}

fn passed_through(argv: &mut Argv, number: usize, address: PciAddress, device: &Device) {
    // `address` is where `spec` was found.
    let Device { spec: _, romfile, root_port, options } = device;
    let mut text = format!("vfio-pci,id=hostdev{number},host={address}");
    if *root_port {
        // Chassis numbers start at 1.
        argv.pair("-device", format!("pcie-root-port,id=port{number},chassis={}", number + 1));
        text.push_str(&format!(",bus=port{number}"));
    }
    if let Some(romfile) = romfile {
        text.push_str(&format!(",romfile={}", value(romfile)));
    }
    for option in options {
        text.push_str(&format!(",{}", value(option)));
    }
    argv.pair("-device", text);
}

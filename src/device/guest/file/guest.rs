//! The guest file as a whole: the keys that are in no table, and the table `shutdown`.

use serde::Deserialize;

use super::cpus::{self, Cpus};
use super::devices::{self, Device, HeldDevice};
use super::disks::{self, Disk};
use super::display::{self, Display};
use super::keys::{
    Conflict,
    Example::{Default as ByDefault, Set, Unset},
    Key, KeyConflict, Kind, row,
};
use super::machine::{self, Boot, Machine};
use super::memory::{self, Memory};
use super::needs::{Needs, nodes_of};
use super::network::{self, Network};
use super::plugs;
use super::values::{Arch, Name, Size};
use crate::device::bus::pci::PciAddress;
use crate::device::bus::usb::UsbSpec;
use crate::device::guest::libvirt::{NotXml, Unsupported, Xml};
use crate::device::guest::qemu::argv::{Argv, IOMMUFD, Resources};
use crate::device::guest::qemu::sandbox;

/// A guest file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guest {
    /// Its name; that of the file without `.toml` when not given.
    #[serde(default)]
    pub name: Name,
    /// Whether `vfiorun autostart` starts it.
    #[serde(default)]
    pub autostart: bool,
    /// The devices of the host for it.
    #[serde(default)]
    pub devices: Vec<Device>,
    /// Devices of the host that are in the groups of those and that it does not get.
    #[serde(default)]
    pub hold: Vec<HeldDevice>,
    /// How many devices can be given to it while it runs.
    #[serde(default)]
    pub hotplug: u32,
    /// USB devices of the host for it.
    #[serde(default)]
    pub usb: Vec<UsbSpec>,
    /// Whether it has a channel for a guest agent.
    #[serde(default)]
    pub agent: bool,
    /// The driver that the devices have when the guest has ended.
    #[serde(default)]
    pub on_exit: OnExit,
    /// What a reboot of the guest does.
    #[serde(default)]
    pub on_reboot: OnReboot,
    /// Whether it is started again when it has ended by itself.
    #[serde(default)]
    pub restart: Restart,
    /// Whether devices whose interrupts the platform does not isolate may be used: a guest can
    /// then send the host any interrupt (`vfio_iommu_type1.allow_unsafe_interrupts`).
    #[serde(default)]
    pub allow_unsafe_interrupts: bool,
    /// The QEMU program: a path, or a name to look up. `qemu-system-ARCH` when not given.
    pub qemu: Option<String>,
    /// A directory to run QEMU in as its root. All other paths are then those inside of it.
    pub chroot: Option<String>,
    /// More arguments for QEMU, after all others.
    #[serde(default)]
    pub qemu_arguments: Vec<String>,
    /// The board.
    #[serde(default)]
    pub machine: Machine,
    /// What it boots.
    #[serde(default)]
    pub boot: Boot,
    /// Its memory.
    #[serde(default)]
    pub memory: Memory,
    /// Its processors.
    #[serde(default)]
    pub cpus: Cpus,
    /// Its disks, apart from those of controllers that are passed through.
    #[serde(default)]
    pub disks: Vec<Disk>,
    /// Its network.
    #[serde(default)]
    pub network: Network,
    /// Its screen.
    #[serde(default)]
    pub display: Display,
    /// How it is ended.
    #[serde(default)]
    pub shutdown: Shutdown,
    /// What is kept of its output.
    #[serde(default)]
    pub log: Log,
}

/// Whether a guest that has ended by itself is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// It stays ended.
    #[default]
    Never,
    /// When it panicked, or QEMU ended with an error.
    OnFailure,
    /// However it ended, unless somebody ended it.
    Always,
}

/// What is kept of a guest's output where it is written to a file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// How large the file becomes.
    pub size: Size,
    /// How many full ones are kept besides.
    pub count: u32,
}

impl Default for Log {
    fn default() -> Self {
        Self { size: Size(Size::MIB), count: 2 }
    }
}

/// The driver that the devices have when the guest has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnExit {
    /// Driver and override as they were found.
    #[default]
    Restore,
    /// To the host's own driver, also where they were found on vfio-pci.
    Host,
}

/// What a reboot of the guest does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnReboot {
    /// The guest starts again.
    #[default]
    Restart,
    /// QEMU ends.
    Exit,
}

/// How the guest is ended.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Shutdown {
    /// Seconds it has after it was asked to power down, until QEMU is asked to quit.
    pub timeout: u32,
    /// Seconds QEMU has to quit, until it is killed.
    pub quit_timeout: u32,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { timeout: 60, quit_timeout: 5 }
    }
}

/// The keys that are in no table.
#[rustfmt::skip]
const KEYS: &[Key] = &[
    row("name", Kind::Name, Set("\"debian\""), "default: the name of this file"),
    row("autostart", Kind::Flag, ByDefault("false"), "whether `vfiorun autostart` starts it"),
    row("devices", Kind::Devices, Set("[\n    \"1b36:0010\",\n    { device = \"0000:01:00.0\", root_port = true, romfile = \"gpu.rom\", options = [\"x-no-kvm-intx=on\"] },\n]"),
        "Devices of the host: VENDOR:DEVICE (every such device) or DOMAIN:BUS:DEVICE.FUNCTION, alone or\nin a table with options."),
    row("hold", Kind::HeldDevices, Unset("[\"0000:00:1f.4\"]"), "taken with the IOMMU group, and not given to the guest"),
    row("on_exit", Kind::Choice(&["restore", "host"]), ByDefault("\"restore\""), "or \"host\": to the host's own driver, also from vfio-pci"),
    row("on_reboot", Kind::Choice(&["restart", "exit"]), ByDefault("\"restart\""), "or \"exit\": a reboot of the guest ends QEMU"),
    row("restart", Kind::Choice(&["never", "on-failure", "always"]), ByDefault("\"never\""), "or \"on-failure\", \"always\": start it again when it has ended by itself"),
    row("allow_unsafe_interrupts", Kind::Flag, ByDefault("false"), "use devices whose interrupts the platform does not isolate"),
    row("qemu", Kind::Text, Unset("\"qemu-system-aarch64\""), "a path, or a name to look up; default: that of the architecture"),
    row("chroot", Kind::AbsolutePath, Unset("\"/data/debian\""), "the root directory of QEMU; all paths are then those inside"),
    row("qemu_arguments", Kind::Texts, ByDefault("[]"), "more arguments, as they are"),
];

#[rustfmt::skip]
const SHUTDOWN_KEYS: &[Key] = &[
    row("shutdown.timeout", Kind::Seconds, ByDefault("60"), "seconds the guest has to power down, until QEMU is asked to quit"),
    row("shutdown.quit_timeout", Kind::Seconds, ByDefault("5"), "seconds QEMU has then, until it is killed"),
];

/// The most full logs that are kept.
const LOG_COUNT: Kind = Kind::Number(1, 99);

#[rustfmt::skip]
const LOG_KEYS: &[Key] = &[
    row("log.size", Kind::Size, ByDefault("\"1M\""), "the size of the log that autostart writes, until the next one begins"),
    row("log.count", LOG_COUNT, ByDefault("2"), "how many full ones are kept"),
];

/// All keys, in the order of `docs/guest.toml`.
pub fn all_keys() -> impl Iterator<Item = &'static Key> {
    let tables = [
        KEYS,
        devices::KEYS,
        plugs::KEYS,
        machine::KEYS,
        memory::KEYS,
        cpus::KEYS,
        disks::KEYS,
        network::KEYS,
        display::KEYS,
        SHUTDOWN_KEYS,
        LOG_KEYS,
    ];
    tables.into_iter().flatten()
}

impl Guest {
    /// The paths that are relative to the guest file.
    pub(super) fn paths(&mut self) -> impl Iterator<Item = &mut String> {
        let Self { qemu, boot, disks, display, devices, .. } = self;
        // Without a slash it is a name to be looked up.
        let qemu = qemu.iter_mut().filter(|path| path.contains('/'));
        qemu.chain(boot.paths())
            .chain(disks.iter_mut().map(|disk| &mut disk.path))
            .chain(&mut display.socket)
            .chain(devices.iter_mut().filter_map(Device::path))
    }

    /// Whether devices may come while it runs.
    pub(crate) fn takes_devices(&self) -> bool {
        self.hotplug > 0
    }

    /// Keys that do not go together, and values outside of the limits of their kind.
    pub(super) fn conflict(&self) -> Option<KeyConflict> {
        let is_relative = |chroot: &String| !chroot.starts_with('/');
        let chroot = self.chroot.as_ref().filter(|chroot| is_relative(chroot));
        self.boot
            .conflict()
            .or_else(|| self.network.conflict())
            .or(chroot.map(|_| ("chroot", Conflict::Expected(Kind::AbsolutePath))))
            .or_else(|| self.cpus.conflict())
            .or_else(|| plugs::conflict(self.hotplug))
            .or((!LOG_COUNT.admits(self.log.count))
                .then_some(("log.count", Conflict::Expected(LOG_COUNT))))
    }

    /// The keys that have no effect on this guest, on a machine of this architecture.
    pub(crate) fn without_effect(&self, arch: Arch) -> impl Iterator<Item = &'static str> {
        let keys = [
            self.machine.without_effect(arch),
            self.network.without_effect(),
            self.display.without_effect(),
        ];
        keys.into_iter().flatten()
    }

    /// What is examined before it is started.
    pub(crate) fn needs(&self) -> Needs<'_> {
        // Name, program and chroot are looked up by the start itself. What only QEMU's arguments
        // or the supervisor use needs nothing of the machine.
        let Self {
            name: _,
            autostart: _,
            devices,
            hold,
            hotplug: _,
            usb,
            agent: _,
            on_exit: _,
            on_reboot: _,
            restart: _,
            allow_unsafe_interrupts,
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
            shutdown: Shutdown { timeout: _, quit_timeout: _ },
            log: Log { size: _, count: _ },
        } = self;
        let mut needs =
            Needs { usb, unsafe_interrupts: *allow_unsafe_interrupts, ..Needs::default() };
        devices.iter().for_each(|device| device.needs(&mut needs));
        needs.hold.extend(hold.iter().map(|device| device.0.clone()));
        machine.needs(&mut needs);
        boot.needs(&mut needs);
        memory.needs(&mut needs);
        cpus.needs(&mut needs);
        disks.iter().for_each(|disk| disk.needs(&mut needs));
        network.needs(&mut needs);
        display.needs(&mut needs);
        qemu_arguments.iter().for_each(|word| needs.nodes.extend(nodes_of(word)));
        needs
    }

    /// QEMU's arguments, without the program. `devices` are those of the host, where they were
    /// found.
    pub fn arguments(
        &self,
        resources: &Resources<'_>,
        devices: &[(PciAddress, &Device)],
    ) -> Vec<String> {
        // The start carries out chroot, qemu and allow_unsafe_interrupts, the supervisor on_exit,
        // restart, shutdown and log.
        let Self {
            name,
            autostart: _,
            devices: _,
            hold: _,
            hotplug,
            usb,
            agent,
            on_exit: _,
            on_reboot,
            restart: _,
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
            shutdown: Shutdown { timeout: _, quit_timeout: _ },
            log: Log { size: _, count: _ },
        } = self;
        let mut argv = Argv::default();
        argv.flag("-nodefaults");
        argv.flag("-no-user-config");
        argv.pair("-name", format!("guest={name}"));
        if resources.sandbox && !qemu_arguments.iter().any(|word| word == "-sandbox") {
            argv.pair(
                "-sandbox",
                match qemu_arguments.is_empty() {
                    true => sandbox::ARGUMENTS,
                    false => sandbox::ARGUMENTS_WITH_HELPERS,
                },
            );
        }
        memory.backend(&mut argv, resources.backing);
        machine.arguments(&mut argv, resources);
        cpus.arguments(&mut argv);
        memory.arguments(&mut argv);
        boot.arguments(&mut argv);
        argv.monitors(resources.directory);
        display.arguments(&mut argv, resources);
        for (number, disk) in disks.iter().enumerate() {
            disk.arguments(&mut argv, number);
        }
        network.arguments(&mut argv);
        if resources.iommufd && (!devices.is_empty() || self.takes_devices()) {
            argv.pair("-object", format!("iommufd,id={IOMMUFD}"));
        }
        for (number, (address, device)) in devices.iter().enumerate() {
            device.arguments(&mut argv, number, *address, resources, self.takes_devices());
        }
        plugs::arguments(&mut argv, resources, (*hotplug, usb, *agent));
        match on_reboot {
            OnReboot::Restart => {}
            OnReboot::Exit => argv.flag("-no-reboot"),
        }
        argv.followed_by(qemu_arguments)
    }

    /// libvirt's domain. `devices` are those of the host and `qemu` is the program, where they
    /// were found.
    ///
    /// The keys of the guest file that libvirt cannot express are named in a comment at its head.
    ///
    /// # Errors
    /// When a value has a character that XML cannot have.
    pub fn domain(
        &self,
        arch: Arch,
        qemu: &str,
        devices: &[(PciAddress, &Device)],
    ) -> Result<String, NotXml> {
        NotXml::find(&self.domain_texts(qemu))?;
        let Self {
            name,
            autostart,
            devices: _,
            hold,
            hotplug,
            usb,
            agent,
            on_exit,
            on_reboot,
            restart,
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
            log,
        } = self;
        let mut unsupported = Unsupported::default();
        self.without_effect(arch).for_each(|key| unsupported.when(true, key));
        // `virsh autostart` does it.
        unsupported.when(*autostart, "autostart");
        unsupported.when(!hold.is_empty(), "hold");
        unsupported.when(*on_exit == OnExit::Host, "on_exit");
        unsupported.when(*allow_unsafe_interrupts, "allow_unsafe_interrupts");
        unsupported.when(chroot.is_some(), "chroot");
        unsupported.when(!qemu_arguments.is_empty(), "qemu_arguments");
        unsupported.when(*restart != Restart::Never, "restart");
        shutdown.domain(&mut unsupported);
        log.domain(&mut unsupported);
        let mut xml = Xml::default();
        let namespace = ("xmlns:qemu", "http://libvirt.org/schemas/domain/qemu/1.0");
        let attributes = [("type", "kvm"), namespace];
        let passes_on = network.is_qemus();
        xml.within("domain", &attributes[..1 + usize::from(passes_on)], |xml| {
            xml.text("name", &[], name.as_str());
            memory.domain(xml, &mut unsupported);
            cpus.domain(xml, &mut unsupported);
            machine.domain(boot, arch, xml);
            xml.text("on_reboot", &[], on_reboot.libvirt_name());
            xml.within("devices", &[], |xml| {
                xml.text("emulator", &[], qemu);
                for (number, disk) in disks.iter().enumerate() {
                    disk.domain(number, xml, &mut unsupported);
                }
                network.domain(xml);
                for (address, device) in devices {
                    device.domain(*address, xml, &mut unsupported);
                }
                plugs::domain(xml, &mut unsupported, (*hotplug, usb, *agent));
                xml.within("console", &[("type", "pty")], |xml| {
                    xml.empty("target", &[("type", "serial")]);
                });
                display.domain(xml);
            });
            network.passed_on(xml);
        });
        Ok(unsupported.comment() + &xml.into_text())
    }

    /// The texts that come into the domain as they are, with the keys that they come from.
    fn domain_texts<'g>(&'g self, qemu: &'g str) -> Vec<(&'static str, &'g str)> {
        let Self { machine, boot, disks, network, display, devices, .. } = self;
        let mut texts = vec![("qemu", qemu)];
        let keys = [
            ("machine.type", &machine.kind),
            ("machine.gic", &machine.gic),
            ("boot.firmware", &boot.firmware),
            ("boot.firmware_variables", &boot.firmware_variables),
            ("boot.kernel", &boot.kernel),
            ("boot.initrd", &boot.initrd),
            ("boot.cmdline", &boot.cmdline),
            ("network.mac", &network.mac),
            ("network.tap", &network.tap),
            ("display.socket", &display.socket),
        ];
        texts.extend(keys.into_iter().filter_map(|(key, text)| Some((key, text.as_deref()?))));
        texts.extend(disks.iter().map(|disk| ("disks.path", disk.path.as_str())));
        let roms = devices.iter().filter_map(|device| device.romfile.as_deref());
        texts.extend(roms.map(|rom| ("devices.romfile", rom)));
        texts
    }
}

impl OnReboot {
    fn libvirt_name(self) -> &'static str {
        match self {
            Self::Restart => "restart",
            Self::Exit => "destroy",
        }
    }
}

impl Shutdown {
    fn domain(&self, unsupported: &mut Unsupported) {
        let Self { timeout, quit_timeout } = self;
        let default = Self::default();
        unsupported.when(*timeout != default.timeout, "shutdown.timeout");
        unsupported.when(*quit_timeout != default.quit_timeout, "shutdown.quit_timeout");
    }
}

impl Log {
    fn domain(&self, unsupported: &mut Unsupported) {
        let Self { size, count } = self;
        let default = Self::default();
        unsupported.when(*size != default.size, "log.size");
        unsupported.when(*count != default.count, "log.count");
    }
}

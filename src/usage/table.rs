//! Every subcommand with its arguments.

use super::argument::{Argument, Subcommand, flag, operand, option};

/// What the program is for.
pub const ABOUT: &str = "Finishes on the device what vfioboot began on the desktop.";

/// What more its help says.
pub const MORE: &str = "\
As PID 1, started by the kernel with rdinit=/vfioboot/init, it loads the modules and puts the devices on \
vfio-pci that /vfioboot/boot.toml names, and executes the real init. vfioboot.disable on the kernel command \
line turns that off. After boot it is this command.

Exit status: 0 done, 1 a negative answer, 2 invalid arguments or a failure.";

/// The options of every subcommand.
pub const GLOBAL: &[Argument] = &[
    option(
        "sysroot",
        "DIR|FILE",
        "Use this tree instead of the running system, or a file that `doctor --bundle` wrote [default: /]",
    ),
    option(
        "state",
        "DIR",
        "Where journals are kept [default: /data/adb/vfioboot/state on a rooted Android device, else /run/vfioboot]",
    ),
];

const JSON: Argument = flag("json", "Print JSON");
const DEVICES: Argument =
    operand("DEV", "VENDOR:DEVICE (every such device) or DOMAIN:BUS:DEVICE.FUNCTION").many();
const PLUGGED: Argument = operand(
    "DEV",
    "DOMAIN:BUS:DEVICE.FUNCTION of a PCI device, BUS-PORT of a USB device, or the ids of either",
);
const NAME: Argument = operand("NAME", "The guest; the one that is running when not given");
const WRITES: Argument = flag("dry-run", "Show every write and make none");
const TIMEOUT: Argument = option(
    "timeout",
    "SECONDS",
    "Seconds that the kernel has for each write that it may not come back from, as when a driver waits for who has the device open [default: 60]",
);

/// Subcommands of two words: the first one, and what they are about.
pub const GROUPS: &[(&str, &str)] =
    &[("guest", "Write and examine guest files"), ("service", "Have the machine start the guests")];

/// The subcommands.
#[rustfmt::skip]
pub const SUBCOMMANDS: &[Subcommand] = &[
    Subcommand {
        name: "doctor",
        about: "Examine every prerequisite of passthrough, with the fix for each that is missing",
        more: "",
        arguments: &[
            operand("DEV", "Examine these devices alone, and what prevents passing them through: VENDOR:DEVICE (every such device) or DOMAIN:BUS:DEVICE.FUNCTION").many(),
            option("bundle", "FILE", "Pack what is read, without anything personal, as a tar of a tree for --sysroot; FILE must not exist").not_with(&["DEV", "json"]),
            JSON,
        ],
    },
    Subcommand {
        name: "devices",
        about: "List the PCI devices by IOMMU group",
        more: "",
        arguments: &[JSON],
    },
    Subcommand {
        name: "bind",
        about: "Put devices on vfio-pci, whole IOMMU groups only, until they are released",
        more: "",
        arguments: &[
            DEVICES.required(),
            flag("with-group", "Take the rest of their IOMMU groups too"),
            option("force", "DEV", "Take this device although the system needs it: a disk in use, the only uplink, the display").many(),
            WRITES,
            JSON,
            TIMEOUT,
        ],
    },
    Subcommand {
        name: "release",
        about: "Give devices on vfio-pci back to the drivers they came from",
        more: "",
        arguments: &[DEVICES.required(), WRITES, JSON, TIMEOUT],
    },
    Subcommand {
        name: "recover",
        about: "Undo the steps of a vfiorun that was killed",
        more: "",
        arguments: &[
            flag("force", "Also end a vfiorun that is at work, and undo what it did"),
            flag("dry-run", "Show what would be undone and undo nothing"),
            JSON,
            TIMEOUT,
        ],
    },
    Subcommand {
        name: "run",
        about: "Start a guest with its devices, stay with it, and give them back when it has ended",
        more: "What a vfiorun that was killed has left of this guest is undone first. The exit status is QEMU's own; 1 when the guest panicked or had to be ended by force, 2 when it was not started. SIGINT and SIGTERM ask the guest to power down; a second one asks QEMU to quit, a third kills it.",
        arguments: &[
            operand("GUEST.toml", "The guest file").required(),
            flag("dry-run", "Show every write and QEMU's arguments, and change nothing"),
            flag("libvirt", "Print the guest as libvirt's domain XML, and change nothing").not_with(&["dry-run"]),
            flag("json", "Print JSON: the plan with --dry-run, otherwise how the guest ended").not_with(&["libvirt"]),
            option("force", "DEV", "Take this device although the system needs it").many(),
            flag("allow-protected", "Try it on a protected KVM"),
            flag("quiet", "Report only what goes wrong; the guest's console is shown anyway").short('q'),
            option("log", "FILE", "Write all output to this file, and begin a new one when it is as large as the guest file says").not_with(&["dry-run", "libvirt"]),
            TIMEOUT,
        ],
    },
    Subcommand {
        name: "status",
        about: "List the guests that are running, and how they are",
        more: "",
        arguments: &[JSON],
    },
    Subcommand {
        name: "stop",
        about: "Ask a guest to power down, and wait until everything is given back",
        more: "",
        arguments: &[
            NAME,
            option("timeout", "SECONDS", "Seconds it has to power down [default: what the guest file says]"),
        ],
    },
    Subcommand {
        name: "autostart",
        about: "Start every guest in a directory with autostart = true, each in a process of its own",
        more: "It waits until each of them runs, or says which does not and why; one that runs already stays as it is. The exit status is 2 when one does not run.",
        arguments: &[
            operand("DIR", "The directory of guest files [default: /data/adb/vfioboot/guests, else /etc/vfioboot/guests]"),
            flag("at-boot", "Start nothing when vfioboot.disable is on the kernel command line: for a boot script"),
            flag("stay", "Stay until SIGTERM, then power the guests down: for a service manager, which is told when they run (sd_notify)"),
        ],
    },
    Subcommand {
        name: "console",
        about: "Connect to the console of a guest; ^] leaves it",
        more: "Several may watch, and one writes: the first that did not ask for --read-only.",
        arguments: &[
            NAME,
            flag("read-only", "Watch only").short('r'),
            flag("take", "Write instead of who does so now, who then watches").not_with(&["read-only"]),
        ],
    },
    Subcommand {
        name: "log",
        about: "Show what a guest and its vfiorun wrote to its log",
        more: "It is what `run --log` and `autostart` write, from the oldest that is kept on; also of a guest that has ended, where autostart started it.",
        arguments: &[NAME, flag("follow", "Go on with what is written from now on").short('f')],
    },
    Subcommand {
        name: "monitor",
        about: "Have QEMU carry out a command of its machine protocol (QMP)",
        more: "The supervisor of the guest passes it on, so any number of them can be given at the same time.",
        arguments: &[
            operand("NAME", "The guest").required(),
            operand("COMMAND", "The name of a command, or JSON: {\"execute\": NAME, \"arguments\": {...}}").required(),
            JSON,
        ],
    },
    Subcommand {
        name: "attach",
        about: "Give a device to a guest that runs",
        more: "A PCI device takes one of the ports that hotplug = N in the guest file keeps free. It goes back when it is detached, and when the guest has ended.",
        arguments: &[
            operand("NAME", "The guest").required(),
            PLUGGED.required(),
            flag("force", "Take the device although the system needs it"),
            JSON,
        ],
    },
    Subcommand {
        name: "detach",
        about: "Take a device from a guest that runs, and give it back to the host",
        more: "The guest is asked, and has to let go of a PCI device.",
        arguments: &[
            operand("NAME", "The guest").required(),
            PLUGGED.required(),
            option("timeout", "SECONDS", "Seconds that the guest has to let go of it [default: 30]"),
            JSON,
        ],
    },
    Subcommand {
        name: "vf",
        about: "Make virtual functions of a device (SR-IOV) for guests, or take them back",
        more: "No driver of the host takes them. Their number and what was before are kept until --count 0 or a reboot.",
        arguments: &[
            operand("DEV", "DOMAIN:BUS:DEVICE.FUNCTION of the physical function").required(),
            option("count", "N", "How many; 0 takes them back").required(),
            option("mac", "ADDRESS", "The hardware address of the first function; given again, of the next").many(),
            option("vlan", "NUMBER", "The VLAN of the first function, 0 for none; given again, of the next").many(),
            WRITES,
            JSON,
            TIMEOUT,
        ],
    },
    Subcommand {
        name: "guest new",
        about: "Write a commented guest file that fits this machine, and examine it",
        more: "Firmware, machine, memory and processors are those that fit. The rest of each device's IOMMU group is taken too: what the same card has besides is for the guest. With --ssh-key, a disk for cloud-init is made that lets its owner log in. What is there already is not replaced.",
        arguments: &[
            operand("NAME", "What the guest is called").required(),
            option("disk", "FILE", "A disk image or a block device; a cloud image as it was downloaded").many(),
            option("device", "DEV", "A device of the host: VENDOR:DEVICE (every such device) or DOMAIN:BUS:DEVICE.FUNCTION").many(),
            option("ssh-key", "FILE", "Whoever has the private key of this public one can log in").many(),
            option("user", "NAME", "The user to log in as [default: the image's own]"),
            option("chroot", "DIR", "QEMU's root directory, as on Android; --disk is then inside of it"),
            option("output", "FILE", "The guest file [default: NAME.toml]").short('o'),
            flag("dry-run", "Print the guest file and write nothing"),
        ],
    },
    Subcommand {
        name: "guest check",
        about: "Examine whether a guest can be started, and change nothing",
        more: "The exit status is 1 when it cannot. `run --dry-run` shows what would be done.",
        arguments: &[operand("GUEST.toml", "The guest file").required(), JSON],
    },
    Subcommand {
        name: "rom",
        about: "Write the option ROM of a device to a file, where the kernel gives it",
        more: "For romfile in a guest file: a graphics card whose firmware has run has no ROM of its own any more. No driver of the host may work with the device.",
        arguments: &[
            operand("DEV", "VENDOR:DEVICE or DOMAIN:BUS:DEVICE.FUNCTION").required(),
            operand("FILE", "The file, which must not exist").required(),
        ],
    },
    Subcommand {
        name: "service install",
        about: "Have the machine start the guests: a unit of systemd, or a script of OpenRC or runit",
        more: "VFIO's modules are loaded at boot where they are modules. What somebody else wrote is not replaced.",
        arguments: &[
            option("guests", "DIR", "The directory of guest files [default: /data/adb/vfioboot/guests, else /etc/vfioboot/guests]"),
            option("bind", "DEV", "Have this device on vfio-pci from the boot on, before its driver sees it; no boot image has to be patched").many(),
            flag("dry-run", "Show every file and write none"),
        ],
    },
    Subcommand {
        name: "service remove",
        about: "Remove what `service install` wrote",
        more: "",
        arguments: &[],
    },
    Subcommand {
        name: "service status",
        about: "Say whether the service is installed and runs",
        more: "",
        arguments: &[JSON],
    },
];

"""The cases of the device: steps, machine and expected result. Only data."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import family
from machine import DISK, EDU, NVME, SECOND_DISK, Device, Machine

FUNCTION_0 = Device("0000:00:06.0", NVME, "nvme", "nvme,serial=LAB60,multifunction=on", "disk60.img")
FUNCTION_1 = Device("0000:00:06.1", NVME, "nvme", "nvme,serial=LAB61", "disk61.img")
SYSTEM = Device("0000:00:07.0", NVME, "nvme", "nvme,serial=SYSTEM", "system.img", readonly=True)
DATA = Device("0000:00:08.0", "1af4:1001", "virtio-pci", "virtio-blk-pci", "data.img")
# Its DMA engine has a 28-bit mask by default, and the board's memory starts at 2^30.
WIDE_EDU = dataclasses.replace(EDU, model="edu,dma_mask=0xffffffffff")

DISKS = (DISK, SECOND_DISK, FUNCTION_0, FUNCTION_1)
_DEVICES = (*DISKS, WIDE_EDU, SYSTEM, DATA)

# The machine's memory is a file, so that the test can read it from outside. The kernel is given less
# memory than there is: the memory above is unused, and must not be written to.
RAM = "ram.img"
RAM_START = 0x4000_0000
RAM_SIZE = 1024 << 20
CANARY = RAM_START + (960 << 20)
_RAM = (
    "-object", f"memory-backend-file,id=ram,size={RAM_SIZE},mem-path={RAM},share=on",
    "-machine", "memory-backend=ram",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Setup:
    """A machine and the system that it boots."""

    name: str
    machine: Machine
    cmdline: str = ""
    patched: tuple[str, ...] = ()
    """The --device options of `vfioboot patch`; without any, the image is booted unpatched."""
    kernel: str = "good"
    """Variant of the lab's kernel, of the device and of its guests."""
    debian: str = ""
    """A kernel of Debian's (kernel/debian.sh) instead; its modules are loaded at the start."""
    suite: str = ""
    """Debian's suite that QEMU on the device is from; by default that of the rest."""
    systemd: bool = False
    """Whether Debian's systemd is its init."""
    seconds: float = 0
    """What its boot may take, where that is more than others."""
    newer: bool = False
    """Whether the machine needs the QEMU of Debian's backports."""
    smmu_for_pcie: bool = True
    """Whether the board's device tree has an SMMU that is on, and an iommu-map."""


def _setup(name: str, cmdline: str = "", patched: tuple[str, ...] = (), **board: Any) -> Setup:
    machine = Machine(devices=_DEVICES, memory=f"{RAM_SIZE >> 20}M", extra=_RAM)
    return Setup(name, dataclasses.replace(machine, **board), f"mem=960M {cmdline}".strip(), patched)


PATCHED = _setup("patched", patched=(DISK.address,))
STANDARD = _setup("standard")
RESET = _setup("reset")
LONG = _setup("long")
COMMANDS = _setup("commands")
# Several guests at once on one processor: a busy host must not make them late.
UNATTENDED = dataclasses.replace(_setup("unattended", measured=True), seconds=1800)
# Its disk is written to.
SERVICE = dataclasses.replace(
    _setup(
        "service",
        "lab.host=systemd systemd.show_status=false systemd.log_level=warning",
        devices=tuple(dataclasses.replace(one, readonly=False) if one is SYSTEM else one for one in _DEVICES),
    ),
    seconds=900,
    systemd=True,
)
SOAK = dataclasses.replace(_setup("soak", measured=True), seconds=2400)
ANDROID = _setup("android", "lab.host=android")
MEASURED = _setup("measured", measured=True)
THREE_CPUS = _setup("three-cpus", processors=3)
NO_SMMU = _setup("no-smmu", smmu=False)
GIC_2 = _setup("gic-version-2", gic_version=2)
NO_MAP = dataclasses.replace(_setup("no-iommu-map"), smmu_for_pcie=False)
# a controller with a stick, for a kernel that has drivers for them
XHCI = Device("0000:00:09.0", "1b36:000d", "xhci_hcd", "qemu-xhci,id=xhci")
STICK = "stick.img"
_STICK = (
    "-drive", f"if=none,id=stick,format=raw,file={STICK}", "-device", "usb-storage,bus=xhci.0,port=1,drive=stick",
)  # fmt: skip
USB, USB_ANDROID = (
    dataclasses.replace(_setup(name, words, devices=(*_DEVICES, XHCI), extra=(*_RAM, *_STICK)), debian="plug")
    for name, words in (("usb", ""), ("usb-android", "lab.host=android"))
)
# A card that has virtual functions, which are for guests.
CARD = "0000:01:00.0"
_CARD = (
    "-netdev", "user,id=u0,restrict=on,ipv6=off", "-device", "pcie-root-port,id=port0,chassis=1,addr=9",
    "-device", "igb,netdev=u0,bus=port0,romfile=",
)  # fmt: skip
# The disks of a newer QEMU have subsystems, and their nodes are elsewhere with that.
WITH_CARD = dataclasses.replace(
    _setup("function", "nvme_core.multipath=0", extra=(*_RAM, *_CARD)), debian="plug", newer=True
)
# QEMU has iommufd since version 9
IOMMUFD = dataclasses.replace(_setup("iommufd"), kernel="newer", suite="bookworm-backports")
NO_EL2 = _setup("no-el2", virtualization=False)
KVM_NONE = _setup("kvm-none", "kvm-arm.mode=none")
KVM_PROTECTED = _setup("kvm-protected", "kvm-arm.mode=protected")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case(family.Case):
    """One test on the device."""

    setup: Setup = STANDARD
    steps: str
    """The script in guest/steps, and its arguments."""
    after_reset: str = ""
    """The steps after a reset of the machine during `steps`."""
    facts: tuple[tuple[str, str], ...] = ()
    """The expected facts, with all values of a key in order: ("status", "0")."""
    says: tuple[str, ...] = ()
    """Regular expressions that must match lines of the output of vfiorun and the guest."""
    at_most: tuple[tuple[str, int], ...] = ()
    """Maximum values of numeric facts."""
    answered: tuple[Device, ...] = ()
    """Disks that must contain the guest's answer, read by the host's driver and from outside."""
    crashes: bool = False
    """The runtime is killed after each record of its journal, and recover must restore everything."""
    strays: bool = False
    """The device tries to write to memory that does not belong to its guest."""
    gives: tuple[Device, ...] = ()
    """Devices that are on vfio-pci before, and on the host's driver afterwards. All others, and all
    other recorded state, must be unchanged."""

    @property
    def boot(self) -> str:
        return self.setup.name


def _main() -> Iterator[Case]:
    """From a patched image to a guest that uses the device, and back."""
    yield Case(
        name="main",
        setup=PATCHED,
        steps=f'run {DISK.address} on_exit="host"',
        facts=(("status", "0"),),
        says=("nested read MAGIC",),
        answered=(DISK,),
        gives=(DISK,),
    )


def _guests() -> Iterator[Case]:
    """Guests that start, and how they end."""
    passed = (("status", "0"),)
    for name, devices in (("two-devices", (DISK, SECOND_DISK)), ("group/both-functions", (FUNCTION_0, FUNCTION_1))):
        addresses = ",".join(device.address for device in devices)
        yield Case(name=name, ci=False, setup=LONG, steps=f"run {addresses}", facts=passed, answered=devices)
    yield Case(
        name="sigterm/graceful",
        ci=False,
        setup=LONG,
        steps="stop serve",
        facts=passed,
        says=("nested button",),
        # CPU time in hundredths of a second until the guest is up, with cold caches; and KiB
        at_most=(("cpu", 300), ("rss", 4096)),
    )
    # the guest has 3 seconds, and QEMU 2
    for name, steps, says, seconds in (
        ("guest-ignores-it", "stop ignore", "asked QEMU to quit", 8),
        ("qemu-hangs", "stop ignore STOP", "killing QEMU", 10),
    ):
        yield Case(
            name=f"sigterm/{name}",
            ci=False,
            setup=LONG,
            steps=steps,
            facts=(("status", "1"),),
            says=(says,),
            at_most=(("seconds", seconds),),
        )
    yield Case(
        name="dma-isolation",
        steps=f"edu {CANARY:#x}",
        facts=passed,
        says=("nested edu inside 0", "nested edu write 0"),
        strays=True,
    )


def _iommufd() -> Iterator[Case]:
    """A kernel without a VFIO container."""
    yield Case(
        name="iommufd",
        ci=False,
        kernel=IOMMUFD.kernel,
        setup=IOMMUFD,
        steps=f"iommufd {DISK.address}",
        facts=(("container", "no"), ("doctor", "0"), ("status", "0")),
        says=(
            r"^doctor: ok +VFIO interface: /dev/iommu \(iommufd\), with a node for each device",
            "nested read MAGIC",
        ),
        answered=(DISK,),
    )


def _commands() -> Iterator[Case]:
    """Commands for guests, and their cost."""
    yield Case(
        name="autostart",
        ci=False,
        setup=COMMANDS,
        steps="autostart",
        facts=(("autostart", "2"), ("status", "0"), ("stop", "0"), ("afterwards", "0")),
        says=(
            r"^autostart: lab: runs, pid \d+, console in /data/adb/vfioboot/state/log/lab\.console\.log",
            r"^autostart: .*/c\.toml:\d+: .*nonsense",
            r"^status: lab: running, pid \d+, QEMU pid \d+, for \d+ s, \d+ MiB, 0000:00:02\.0$",
            "^stop: guest lab has ended$",
            "^afterwards: no guest is running$",
            "^console: nested button",
        ),
        answered=(DISK,),
    )
    yield Case(
        name="stop/timeout",
        ci=False,
        setup=COMMANDS,
        steps="stop-timeout",
        facts=(("unknown", "2"), ("stop", "0"), ("status", "1")),
        says=("^unknown: .*guest nobody is not running; running: lab", "asked QEMU to quit"),
        # less than the minute in the guest file
        at_most=(("seconds", 10),),
    )
    yield Case(
        name="reset-refused",
        ci=False,
        setup=COMMANDS,
        steps="reset-refused",
        facts=(("status", "2"), ("recover", "0")),
        says=(
            r"0000:00:02\.0: reset: failed: .*ENOTTY",
            "not everything could be undone: vfiorun recover tries again",
            r"^recover: .*0000:00:02\.0: reset: skipped: the host uses it \(nvme\)",
        ),
        answered=(DISK,),
    )
    # QEMU is executed after 0.3 CPU seconds; the supervisor uses 4 MiB
    yield Case(
        name="cost", setup=MEASURED, steps="cost", facts=(("status", "0"),), at_most=(("cpu", 30), ("rss", 4096))
    )


def _plugged() -> Iterator[Case]:
    """Guests that are talked to, and devices that come and go while they run."""
    yield Case(
        name="console",
        ci=False,
        setup=COMMANDS,
        steps="console",
        facts=(("monitor", "0"), ("console", "0"), ("log", "0"), ("status", "0")),
        says=(
            r'^monitor: +"status": "running"',
            "^console: answer 42$",
            "^viewer: answer 42$",
            "^log: answer 42$",
            r"^console: .*echo answer",
        ),
    )
    yield Case(
        name="plug",
        ci=False,
        setup=COMMANDS,
        steps="plug",
        facts=(
            *((key, "0") for key in ("attach", "detach", "again", "quit")),
            ("driver", "vfio-pci"), ("driver", "nvme"),
        ),
        says=(
            r"^attach: 0000:00:02\.0: in the guest$",
            r"^detach: .*0000:00:02\.0: back to nvme: done",
            r"^status: lab: running, .*0000:00:02\.0$",
            "^nested gone 1",
        ),
        # of the supervisor, in KiB, after all that
        at_most=(("rss", 4096),),
        answered=(DISK,),
    )  # fmt: skip
    for setup, steps in ((USB, "stick"), (USB_ANDROID, "stick /data/debian")):
        yield Case(
            name=setup.name,
            ci=False,
            kernel="",
            setup=setup,
            steps=steps,
            facts=(("detach", "0"), ("attach", "0"), ("stick", "STICK"), ("stick", "STICK"), ("stick", "STICK")),
            says=("^nested stick 1 STICK", "^nested gone 1", "^nested stick 2 STICK"),
        )
    yield Case(
        name="function",
        ci=False,
        kernel="",
        setup=WITH_CARD,
        steps=f"function {CARD}",
        facts=(("made", "0"), ("status", "0"), ("back", "0"), ("left", "0")),
        says=("nested function 0x8086", "^status: 0x10ca", r"01:10\.0: back to no driver: done"),
    )


def _places() -> Iterator[Case]:
    """The environment of a guest, and its resources besides devices."""
    made = "/dev/kvm /dev/vfio /dev/vfio/N /dev/vfio/vfio"
    common = (
        ("doctor", "0"),
        *(("nodes", found) for found in ("none", made, "none")),
        ("root", "/data/debian"),
        ("mounts", "0"),
    )
    for name, steps, key in (("chroot", "chroot", "status"), ("chroot/kill", "chroot KILL", "recover")):
        yield Case(name=name, ci=False, setup=ANDROID, steps=steps, facts=(*common, (key, "0")), answered=(DISK,))
    yield Case(
        name="cpus",
        ci=False,
        setup=THREE_CPUS,
        steps="cpus",
        facts=(("allowed", "1-2"), ("status", "0")),
        says=("nested cpus 2",),
    )
    yield Case(
        name="root-port",
        ci=False,
        setup=COMMANDS,
        steps="root-port",
        facts=(("status", "0"),),
        answered=(DISK,),
    )
    yield Case(
        name="vnc",
        ci=False,
        setup=COMMANDS,
        steps="vnc",
        facts=(("banner", "0"), ("stop", "0"), ("status", "0"), ("left", "")),
        says=(r"^banner: RFB 003\.008",),
    )
    yield Case(
        name="tap",
        ci=False,
        setup=COMMANDS,
        steps="tap",
        facts=(("without", "2"), ("status", "0")),
        says=("^without: .*interface lab0 does not exist: ip tuntap add dev lab0 mode tap", "nested ping 0"),
    )


def _crashes() -> Iterator[Case]:
    """What remains after a crash, and recover."""
    yield Case(name="kill/supervisor", ci=False, setup=LONG, steps="kill-supervisor", facts=(("recover", "0"),))
    yield Case(
        name="kill/every-step-of-bind", steps="crash bind", crashes=True, facts=(("status", "0"), ("release", "0"))
    )
    yield Case(
        name="kill/every-step-of-run",
        ci=False,
        setup=LONG,
        steps="crash run",
        crashes=True,
        facts=(("status", "0"),),
    )
    yield Case(
        name="reset",
        ci=False,
        setup=RESET,
        steps="reset",
        after_reset="after-reset",
        facts=(("recover", "0"), ("status", "0")),
        says=("of an earlier boot",),
        answered=(DISK,),
    )


def _unattended() -> Iterator[Case]:
    """Guests that nobody watches."""
    yield Case(
        name="unattended/six",
        ci=False,
        setup=UNATTENDED,
        steps="six",
        facts=(
            ("autostart", "0"),
            ("running", "6"),
            ("logs", "6 600"),
            # two of them lost their vfiorun by SIGKILL, and nobody ran recover
            ("killed", "4"),
            ("autostart", "0"),
            ("running", "6"),
            ("stopped", "6"),
        ),
        says=(r"^second: g1: runs already, pid \d+$", r"^second: g4: runs, pid \d+"),
        answered=(DISK,),
    )
    for order in ("first", "second"):
        yield Case(
            name=f"unattended/hugepages/{order}",
            ci=False,
            setup=UNATTENDED,
            steps=f"hugepages {order}",
            facts=(("pages", "64"), ("status", "0"), ("pages", "32"), ("status", "0"), ("pages", "0")),
        )
    yield Case(
        name="unattended/panic",
        ci=False,
        setup=UNATTENDED,
        steps="panic",
        facts=(("stop", "0"), ("status", "1")),
        says=(
            "the guest panicked",
            r"guest lab is started again in 1 s",
            r"^health: lab: .*; restarts: 2, the last \d+ s ago: the guest panicked",
        ),
    )
    yield Case(
        name="unattended/gone",
        ci=False,
        setup=UNATTENDED,
        steps="gone",
        facts=(("health", "0"), ("status", "0"), ("removed", "")),
        says=(f"{DISK.address}: back to nvme: does not exist any more",),
        answered=(DISK,),
    )
    yield Case(
        name="unattended/service",
        ci=False,
        setup=SERVICE,
        steps="service install",
        after_reset="service again",
        facts=(
            ("service", "0"),
            ("guests", "0"),
            ("group", "/vfiorun.slice/vfiorun.service/vfiorun-lab"),
            ("stop", "0"),
            ("remove", "0"),
        ),
        says=("^service: systemd: installed, running$", "^guests: lab: running, "),
        answered=(DISK,),
    )
    yield Case(
        name="unattended/soak",
        ci=False,
        setup=SOAK,
        steps="soak 7 200 900",
        facts=(("stuck", ""), ("recover", "0"), ("left", "")),
    )


def _by_hand() -> Iterator[Case]:
    """bind and release without a guest."""
    for name, devices in (("one", (DISK,)), ("group", (FUNCTION_0, FUNCTION_1))):
        yield Case(
            name=f"bind/{name}",
            steps=f"bind {' '.join(device.address for device in devices)}",
            facts=(("bind", "0"), ("release", "0"), *(("bound", f"{device.address} vfio-pci") for device in devices)),
        )


def _refused() -> Iterator[Case]:
    """A guest is refused with the reason, and no device stays bound."""
    for name, steps, status, says in (
        ("group-in-use", f"refuse {FUNCTION_0.address}", "2", FUNCTION_1.address),
        ("root-filesystem", f"refuse {SYSTEM.address}", "2", "mounted"),
        ("memory", "memory", "2", "memory"),
        ("no-qemu", 'broken-qemu qemu="/nowhere/qemu"', "2", "/nowhere/qemu"),
        # that was started, and the status is its own
        ("qemu-dies", 'broken-qemu qemu_arguments=["-nonsense"]', "1", "-nonsense: invalid option"),
    ):
        yield Case(name=f"refused/{name}", steps=steps, facts=(("status", status),), says=(says,))

    yield Case(
        name="refused/group-busy",
        ci=False,
        setup=LONG,
        steps="busy",
        facts=(("second", "2"), ("status", "0")),
        says=("^second: .*EBUSY: another process uses it", "nested button"),
        answered=(DISK,),
    )


def _unfit() -> Iterator[Case]:
    """Machines without support for passthrough: doctor and run report what is missing."""
    for setup, doctor, run in (
        # The device tree is the cause: that there is no IOMMU and no group follows from it.
        (NO_SMMU, "device tree: pcie@10000000 has no iommu-map", "pcie@10000000 has no iommu-map"),
        (NO_MAP, r"device tree: pcie@10000000 has no iommu-map.*disabled in it: smmuv3@9050000", "has no iommu-map"),
        (GIC_2, "interrupt isolation: not isolated", "its interrupts are not isolated.*; everything is as it was"),
        (NO_EL2, "KVM: .*HYP mode not available", "HYP mode not available.*started in EL1"),
        (KVM_NONE, "KVM: .*disabled from command line", r"disabled from command line.*remove kvm-arm\.mode=none"),
        (KVM_PROTECTED, r"KVM mode: .*kvm-arm\.mode=protected", r"kvm-arm\.mode=protected is on .*--allow-protected"),
    ):
        yield Case(
            name=f"unfit/{setup.name}",
            ci=setup in (GIC_2, NO_MAP),
            setup=setup,
            steps="unfit",
            facts=(("doctor", "1"), ("status", "2")),
            says=(f"^doctor: problem +{doctor}", "^doctor: .* as it is: 1 problem, ", f"^status: .*{run}"),
        )


CASES: tuple[Case, ...] = (
    *_main(), *_guests(), *_iommufd(), *_commands(), *_plugged(), *_places(), *_crashes(), *_unattended(),
    *_by_hand(), *_refused(), *_unfit(),
)  # fmt: skip

"""The boot cases and their expected results. Only data."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import family
from images import INIT_BOOT
from machine import DISK, EDU, SECOND_DISK, Device

VFIO = "vfio-pci"
# Arguments after "--" on a command line are for /init; the kernel reads no parameters there.
INIT_ARGUMENT = "--lab-argument"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case(family.Case):
    """One original set of images, one patch, one boot."""

    header: int
    """Android boot image header version, 0 to 4."""
    compression: str = "gzip"
    in_boot: bool = False
    """Whether the generic ramdisk of header v4 is in boot.img, as before Android 13, and not in init_boot.img."""
    raw_kernel: bool = False
    """Whether the kernel in the image is uncompressed."""
    devices: tuple[str, ...] = (DISK.id,)
    """The --device options of `vfioboot patch`."""
    options: tuple[str, ...] = ()
    """More arguments of `vfioboot patch`."""
    given: tuple[str, ...] = ()
    """The images to patch, by name; all if empty."""
    hooked: bool = False
    """Whether the runtime is at /init, without rdinit= on the command line."""
    init_is_link: bool = False
    """Whether /init of the original is a symbolic link, as in recovery ramdisks."""
    recovery: bool = False
    """Whether the ramdisk can boot into recovery."""
    cmdline: str = ""
    """The command line in the original image."""
    loader_cmdline: str = ""
    """Kernel parameters that the bootloader adds."""
    loader_bootconfig: str = ""
    """Bootconfig that the bootloader adds."""
    console: bool = False
    """Whether the kernel has a console. Most phones have none, and PID 1 starts without open files."""
    garbage: bool = False
    """Whether a later segment overwrites the boot file with invalid bytes."""
    rebuilt: str = ""
    """What is done after another tool has rebuilt the patched ramdisk: "patch" it again, or "remove" the patch."""
    to_vfio: tuple[Device, ...] = (DISK, SECOND_DISK)
    """Devices that are on vfio-pci when /init starts; all others have their default driver."""
    speaks: bool = True
    """Whether the runtime must write to the kernel log. It may be silent if it does nothing."""

    @property
    def modules(self) -> bool:
        """Whether VFIO is a module that is added with --add-module."""
        return self.kernel == "vfio-m"

    def expected_driver(self, device: Device) -> str:
        return VFIO if device in self.to_vfio else device.driver


def _formats() -> Iterator[Case]:
    """Every header version and compression, with VFIO built in and as modules."""
    for name, header, compression, raw_kernel in (
        ("v0-gzip", 0, "gzip", False),
        ("v1-gzip", 1, "gzip", False),
        ("v2-lz4_legacy", 2, "lz4_legacy", False),
        ("v2-raw", 2, "raw", True),
        ("v2-xz", 2, "xz", False),
        ("v2-zstd", 2, "zstd", False),
        ("v3-lz4_legacy", 3, "lz4_legacy", False),
        ("v4-lz4_legacy", 4, "lz4_legacy", False),
    ):
        for kernel, suffix in (("good", "built-in"), ("vfio-m", "modules")):
            yield Case(
                name=f"{name}/{suffix}", header=header, compression=compression, kernel=kernel, raw_kernel=raw_kernel
            )


def _devices() -> Iterator[Case]:
    """Forms of device names, and special devices."""
    for kernel, suffix in (("good", "built-in"), ("vfio-m", "modules")):
        yield Case(name=f"by-address/{suffix}", header=2, kernel=kernel, devices=(DISK.address,), to_vfio=(DISK,))
    both = (EDU.id, SECOND_DISK.address)
    yield Case(name="two-devices", header=4, devices=both, to_vfio=(EDU, SECOND_DISK), console=True)
    yield Case(name="no-driver-before", header=2, devices=(EDU.address,), to_vfio=(EDU,))
    absent = ("10de:2684", "0000:00:1f.0")
    yield Case(name="absent-device", header=2, compression="lz4_legacy", devices=absent, to_vfio=())
    yield Case(name="absent-and-present", header=3, devices=(*absent, DISK.address), to_vfio=(DISK,))
    yield Case(name="kernel-without-vfio", header=2, kernel="bad", options=("--anyway",), to_vfio=())


def _leave_alone() -> Iterator[Case]:
    """/init runs in every case."""
    disable, charger = "vfioboot.disable", "androidboot.mode=charger"
    untouched: dict[str, Any] = {"to_vfio": (), "speaks": False}
    yield Case(name="disabled/built-in", header=2, loader_cmdline=disable, **untouched)
    yield Case(
        name="disabled/modules",
        header=4,
        compression="lz4_legacy",
        kernel="vfio-m",
        loader_cmdline=disable,
        **untouched,
    )
    yield Case(name="garbage-boot-file/gzip", header=2, garbage=True, to_vfio=())
    yield Case(
        name="garbage-boot-file/lz4_legacy", header=4, compression="lz4_legacy", garbage=True, to_vfio=(), console=True
    )
    yield Case(name="charger/cmdline", header=2, loader_cmdline=charger, **untouched)
    yield Case(name="charger/bootconfig", header=4, loader_bootconfig='androidboot.mode = "charger"\n', **untouched)
    # vfio-pci.ids= binds a device without another driver before any program runs
    recovery, normal = "androidboot.mode=recovery", "androidboot.force_normal_boot=1"
    yield Case(name="recovery/mode", header=2, loader_cmdline=recovery, **untouched)
    yield Case(
        name="recovery/bootconfig",
        ci=False,
        header=4,
        loader_bootconfig='androidboot.mode = "recovery"\n',
        **untouched,
    )
    # a ramdisk with recovery boots into it unless the bootloader selects a normal boot
    yield Case(name="recovery/ramdisk", header=2, recovery=True, init_is_link=True, **untouched)
    yield Case(name="recovery/forced-normal", header=2, recovery=True, init_is_link=True, loader_cmdline=normal)
    yield Case(
        name="recovery/forced-normal/bootconfig",
        ci=False,
        header=4,
        recovery=True,
        loader_bootconfig='androidboot.force_normal_boot = "1"\n',
    )
    yield Case(name="disabled/ids", header=2, devices=(EDU.id,), loader_cmdline=disable, **untouched)
    yield Case(name="charger/ids", header=2, devices=(EDU.id,), loader_cmdline=charger, **untouched)


def _carriers() -> Iterator[Case]:
    """Of two devices with one ID, one may carry the system: neither is taken, unless it is named by address."""
    root = "root=/dev/nvme1n1"
    yield Case(name="carrier/root", header=2, loader_cmdline=root, to_vfio=())
    yield Case(name="carrier/root/modules", ci=False, header=2, kernel="vfio-m", loader_cmdline=root, to_vfio=())
    yield Case(name="carrier/root/by-address", header=2, devices=(DISK.address,), loader_cmdline=root, to_vfio=(DISK,))
    key = "androidboot.boot_devices"
    here = f"{key}=4010000000.pcie/pci0000:00/{SECOND_DISK.address}"
    yield Case(name="carrier/boot-devices", header=2, loader_cmdline=here, to_vfio=())
    elsewhere = f'{key} = "soc/1d84000.ufshc"\n'
    yield Case(name="carrier/elsewhere", ci=False, header=4, loader_bootconfig=elsewhere)


def _command_lines() -> Iterator[Case]:
    """All other parameters stay on the command line and stay effective."""
    filler = " ".join(f"androidboot.filler{n:02}=0123456789abcdef" for n in range(12))
    yield Case(name="cmdline-in-two-fields", header=2, cmdline=filler)
    yield Case(name="init-arguments", header=2, console=True, cmdline=f"LAB_VARIABLE=kept -- {INIT_ARGUMENT}")


def _hooks() -> Iterator[Case]:
    """Without rdinit=: the runtime is at /init, and restores the original before it runs."""
    alone: dict[str, Any] = {"header": 4, "given": (INIT_BOOT,), "hooked": True}
    yield Case(name="hook-init/init_boot-alone", compression="lz4_legacy", **alone)
    yield Case(name="hook-init/init_boot-alone/modules", ci=False, kernel="vfio-m", **alone)
    asked: dict[str, Any] = {"header": 2, "options": ("--hook", "init"), "hooked": True}
    yield Case(name="hook-init/asked-for", console=True, cmdline=f"LAB_VARIABLE=kept -- {INIT_ARGUMENT}", **asked)
    yield Case(name="hook-init/link", ci=False, init_is_link=True, **asked)
    yield Case(
        name="hook-init/disabled",
        ci=False,
        loader_cmdline="vfioboot.disable",
        to_vfio=(),
        speaks=False,
        **asked,
    )
    yield Case(name="hook-init/recovery", ci=False, recovery=True, init_is_link=True, to_vfio=(), speaks=False, **asked)
    yield Case(name="hook-init/garbage-boot-file", ci=False, garbage=True, to_vfio=(), **asked)


def _peers() -> Iterator[Case]:
    """Another tool has rebuilt the ramdisk of a patched image."""
    hooked: dict[str, Any] = {"header": 4, "compression": "lz4_legacy", "given": (INIT_BOOT,), "hooked": True}
    yield Case(name="rebuilt/patched-again", rebuilt="patch", header=2)
    yield Case(name="rebuilt/patched-again/hook-init", ci=False, rebuilt="patch", **hooked)
    gone: dict[str, Any] = {"rebuilt": "remove", "to_vfio": (), "speaks": False}
    yield Case(name="rebuilt/removed", ci=False, header=2, cmdline="LAB_VARIABLE=kept", **gone)
    yield Case(name="rebuilt/removed/hook-init", **gone, **hooked)


CASES: tuple[Case, ...] = (
    *_formats(),
    *_devices(),
    *_leave_alone(),
    *_carriers(),
    *_command_lines(),
    *_hooks(),
    *_peers(),
)

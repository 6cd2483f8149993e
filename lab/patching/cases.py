"""What is booted, and what has to come out of it: data only."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import family
from images import INIT_BOOT
from machine import DISK, EDU, SECOND_DISK, Device

VFIO = "vfio-pci"
# What stands behind "--" on a command line is for /init, and no kernel parameter is read there.
INIT_ARGUMENT = "--lab-argument"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case(family.Case):
    """One original set of images, one patch, one boot."""

    header: int
    """Android boot image header version, 0 to 4."""
    compression: str = "gzip"
    raw_kernel: bool = False
    """The kernel stands in the image uncompressed."""
    devices: tuple[str, ...] = (DISK.id,)
    """What `vfioboot patch` is given as --device."""
    options: tuple[str, ...] = ()
    """More words for `vfioboot patch`."""
    given: tuple[str, ...] = ()
    """The images that it is given, by name; without, all."""
    hooked: bool = False
    """The runtime stands at /init, and no rdinit= is on the command line."""
    init_is_link: bool = False
    """/init of the original is a symbolic link, as in recovery ramdisks."""
    recovery: bool = False
    """The ramdisk can boot into recovery."""
    cmdline: str = ""
    """The command line in the original image."""
    loader_cmdline: str = ""
    """Words that the bootloader adds."""
    loader_bootconfig: str = ""
    """Bootconfig that the bootloader adds."""
    console: bool = False
    """The kernel has a console. Most phones have none, and PID 1 starts without open files."""
    garbage: bool = False
    """A later segment overwrites the boot file with bytes that are none."""
    to_vfio: tuple[Device, ...] = (DISK, SECOND_DISK)
    """Devices that are on vfio-pci when /init looks; all others have the driver they always have."""
    speaks: bool = True
    """The runtime has to say something in the kernel log. Where it does nothing it may be silent."""

    @property
    def modules(self) -> bool:
        """VFIO is a module and comes through --add-module."""
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
    """Ways to name a device, and devices that are special."""
    for kernel, suffix in (("good", "built-in"), ("vfio-m", "modules")):
        yield Case(name=f"by-address/{suffix}", header=2, kernel=kernel, devices=(DISK.address,), to_vfio=(DISK,))
    both = (EDU.id, SECOND_DISK.address)
    yield Case(name="two-devices", header=4, devices=both, to_vfio=(EDU, SECOND_DISK), console=True)
    yield Case(name="no-driver-before", header=2, devices=(EDU.address,), to_vfio=(EDU,))
    absent = ("10de:2684", "0000:00:1f.0")
    yield Case(name="absent-device", header=2, compression="lz4_legacy", devices=absent, to_vfio=())
    yield Case(name="absent-and-present", header=3, devices=(*absent, DISK.address), to_vfio=(DISK,))
    yield Case(name="kernel-without-vfio", header=2, kernel="bad", to_vfio=())


def _leave_alone() -> Iterator[Case]:
    """Whatever happens, /init runs."""
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
    # vfio-pci.ids= takes a device that no other driver wants before any program runs
    recovery, normal = "androidboot.mode=recovery", "androidboot.force_normal_boot=1"
    yield Case(name="recovery/mode", header=2, loader_cmdline=recovery, **untouched)
    yield Case(
        name="recovery/bootconfig",
        ci=False,
        header=4,
        loader_bootconfig='androidboot.mode = "recovery"\n',
        **untouched,
    )
    # a ramdisk that has recovery in it boots into it unless the bootloader says otherwise
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


def _command_lines() -> Iterator[Case]:
    """What else is on the command line stays on it and stays in force."""
    filler = " ".join(f"androidboot.filler{n:02}=0123456789abcdef" for n in range(12))
    yield Case(name="cmdline-in-two-fields", header=2, cmdline=filler)
    yield Case(name="init-arguments", header=2, console=True, cmdline=f"LAB_VARIABLE=kept -- {INIT_ARGUMENT}")


def _hooks() -> Iterator[Case]:
    """Without rdinit=: the runtime stands at /init, and the original is put back before it runs."""
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


CASES: tuple[Case, ...] = (*_formats(), *_devices(), *_leave_alone(), *_command_lines(), *_hooks())

"""What is booted, and what has to come out of it: data only."""

import dataclasses
from collections.abc import Iterator

from machine import DISK, EDU, SECOND_DISK, Device

VFIO = "vfio-pci"
# What stands behind "--" on a command line is for /init, and no kernel parameter is read there.
INIT_ARGUMENT = "--lab-argument"


@dataclasses.dataclass(frozen=True)
class Case:
    """One original set of images, one patch, one boot."""

    name: str
    header: int
    """Android boot image header version, 0 to 4."""
    compression: str = "gzip"
    kernel: str = "good"
    """Variant of the lab's kernel; "vfio-m" gets its modules through --add-module."""
    raw_kernel: bool = False
    """The kernel stands in the image uncompressed."""
    devices: tuple[str, ...] = (DISK.id,)
    """What `vfioboot patch` is given as --device."""
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
            yield Case(f"{name}/{suffix}", header, compression, kernel, raw_kernel)


def _devices() -> Iterator[Case]:
    """Ways to name a device, and devices that are special."""
    for kernel, suffix in (("good", "built-in"), ("vfio-m", "modules")):
        yield Case(f"by-address/{suffix}", 2, kernel=kernel, devices=(DISK.address,), to_vfio=(DISK,))
    both = (EDU.id, SECOND_DISK.address)
    yield Case("two-devices", 4, devices=both, to_vfio=(EDU, SECOND_DISK), console=True)
    yield Case("no-driver-before", 2, devices=(EDU.address,), to_vfio=(EDU,))
    absent = ("10de:2684", "0000:00:1f.0")
    yield Case("absent-device", 2, "lz4_legacy", devices=absent, to_vfio=())
    yield Case("absent-and-present", 3, devices=(*absent, DISK.address), to_vfio=(DISK,))
    yield Case("kernel-without-vfio", 2, kernel="bad", to_vfio=())


def _leave_alone() -> Iterator[Case]:
    """Whatever happens, /init runs."""
    yield Case("disabled/built-in", 2, loader_cmdline="vfioboot.disable", to_vfio=(), speaks=False)
    yield Case("disabled/modules", 4, "lz4_legacy", "vfio-m", loader_cmdline="vfioboot.disable", to_vfio=(), speaks=False)
    yield Case("garbage-boot-file/gzip", 2, garbage=True, to_vfio=())
    yield Case("garbage-boot-file/lz4_legacy", 4, "lz4_legacy", garbage=True, to_vfio=(), console=True)
    charger = "androidboot.mode=charger"
    yield Case("charger/cmdline", 2, loader_cmdline=charger, to_vfio=(), speaks=False)
    charger = 'androidboot.mode = "charger"\n'
    yield Case("charger/bootconfig", 4, loader_bootconfig=charger, to_vfio=(), speaks=False)
    # vfio-pci.ids= takes a device that no other driver wants before any program runs
    yield Case("disabled/ids", 2, devices=(EDU.id,), loader_cmdline="vfioboot.disable", to_vfio=(), speaks=False)
    yield Case("charger/ids", 2, devices=(EDU.id,), loader_cmdline="androidboot.mode=charger", to_vfio=(), speaks=False)


def _command_lines() -> Iterator[Case]:
    """What else is on the command line stays on it and stays in force."""
    filler = " ".join(f"androidboot.filler{n:02}=0123456789abcdef" for n in range(12))
    yield Case("cmdline-in-two-fields", 2, cmdline=filler)
    yield Case("init-arguments", 2, console=True, cmdline=f"LAB_VARIABLE=kept -- {INIT_ARGUMENT}")


CASES: tuple[Case, ...] = (*_formats(), *_devices(), *_leave_alone(), *_command_lines())

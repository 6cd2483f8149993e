"""Ramdisks whose /init is not first-stage init, and the expected results of a boot. Only data."""

import dataclasses
from collections.abc import Iterator

import family
from machine import DISK, EDU, SECOND_DISK, Device

VFIO = "vfio-pci"
HOOK_INIT = ("--hook", "init")
DISABLED = "vfioboot.disable"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case(family.Case):
    """One ramdisk, one patch or none, one boot."""

    magisk: bool = False
    """Whether Magisk's program is at /init, which restores the original and executes it."""
    rc: bool = False
    """Whether the original /init reads /init.rc, on a device without first-stage init. Otherwise it is the stand-in."""
    patched: bool = True
    options: tuple[str, ...] = ()
    """More arguments of `vfioboot patch`."""
    loader_cmdline: str = ""
    """Kernel parameters that the bootloader adds."""

    @property
    def active(self) -> bool:
        """Whether the runtime acts in this boot."""
        return self.patched and not self.loader_cmdline

    @property
    def to_vfio(self) -> tuple[Device, ...]:
        return (DISK, SECOND_DISK) if self.active else ()

    def expected_driver(self, device: Device) -> str:
        return VFIO if device in self.to_vfio else device.driver


DEVICES = (DISK, EDU, SECOND_DISK)


def _magisk() -> Iterator[Case]:
    """Both programs run, one after the other, and the ramdisk is in Magisk's final state."""
    yield Case(name="magisk/rdinit", ci=False, magisk=True)
    yield Case(name="magisk/hook-init", ci=False, magisk=True, options=HOOK_INIT)
    yield Case(name="magisk/overlay.d", magisk=True, rc=True)
    yield Case(name="magisk/overlay.d/hook-init", ci=False, magisk=True, rc=True, options=HOOK_INIT)
    yield Case(name="magisk/overlay.d/disabled", ci=False, magisk=True, rc=True, loader_cmdline=DISABLED)


def _rootfs() -> Iterator[Case]:
    """Devices whose init reads /init.rc."""
    # the control case: the interpreter without a patch
    yield Case(name="rootfs/unpatched", ci=False, rc=True, patched=False)
    yield Case(name="rootfs/import", rc=True)
    yield Case(name="rootfs/import/hook-init", ci=False, rc=True, options=HOOK_INIT)
    yield Case(name="rootfs/import/disabled", ci=False, rc=True, loader_cmdline=DISABLED)
    yield Case(name="rootfs/import/charger", ci=False, rc=True, loader_cmdline="androidboot.mode=charger")


CASES: tuple[Case, ...] = (*_magisk(), *_rootfs())

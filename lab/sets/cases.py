"""The boot cases and their expected results. Only data."""

import dataclasses
import enum
from collections.abc import Iterator
from typing import Any

import family
from images import BOOT, INIT_BOOT, VENDOR_BOOT
from machine import DISK, SECOND_DISK, Device

VFIO = "vfio-pci"


class Layout(enum.Enum):
    """Where the ramdisks of a set are, in memory order."""

    ONE_RAMDISK = enum.auto()
    """lz4_legacy with the system, directly followed by gzip, in boot v2."""
    IMAGES = enum.auto()
    """The same: the first in vendor_boot, the second in boot v4."""
    FRAGMENTS = enum.auto()
    """The same in two fragments of vendor_boot."""
    GKI = enum.auto()
    """gzip: vendor_boot, then init_boot with the system."""
    OVERLAY = enum.auto()
    """As GKI; Magisk has patched init_boot, and it has a file that the patch replaces."""


STOPPING = {"one-ramdisk": Layout.ONE_RAMDISK, "images": Layout.IMAGES, "fragments": Layout.FRAGMENTS}
"""The kernel stops after the first ramdisk."""


class Mistake(enum.Enum):
    """What is done to the initramfs of a patched set."""

    NONE = enum.auto()
    WORD_ALONE = enum.auto()
    """The command line is the patched one, and the ramdisks are the original ones."""
    BEHIND = enum.auto()
    """As WORD_ALONE, and the runtime is in a gzip segment of its own after them."""
    IN_FRONT = enum.auto()
    """As WORD_ALONE, and the same segment is before them."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case(family.Case):
    """One set, one patch or none, one boot."""

    layout: Layout
    changes: tuple[str, ...]
    """The images that the patch must change; no patch if empty."""
    options: tuple[str, ...] = ()
    """More arguments of `vfioboot patch`."""
    flashed: tuple[str, ...] = ()
    """Those of the changed images that are flashed, on a device with the originals of the others; all if empty."""
    binds: bool = True
    """Whether the runtime acts in this boot."""
    mistake: Mistake = Mistake.NONE
    panics: bool = False
    """Whether the kernel must panic, because it finds no program to start."""

    @property
    def unpacked(self) -> dict[str, bool]:
        """For the files that mark each ramdisk, whether the kernel gets to it."""
        return {"/part-system": True, "/part-other": self.layout not in STOPPING.values()}

    def expected_driver(self, device: Device) -> str:
        return VFIO if self.binds and device in (DISK, SECOND_DISK) else device.driver


def _reach() -> Iterator[Case]:
    """The kernel stops before the end of the initramfs: the segment is where it gets to."""
    for name, layout in STOPPING.items():
        first = BOOT if layout is Layout.ONE_RAMDISK else VENDOR_BOOT
        yield Case(name=f"reach/{name}", layout=layout, changes=(first,))
        yield Case(name=f"reach/{name}/unpatched", ci=False, layout=layout, changes=(), binds=False)


def _half_flashed() -> Iterator[Case]:
    """A patch changes two images, and only one of them is flashed: the original init runs."""
    both = (VENDOR_BOOT, INIT_BOOT)
    hooked: dict[str, Any] = {
        "layout": Layout.GKI, "changes": both, "options": ("--hook", "init", "--add-word", "lab.extra=1")
    }  # fmt: skip
    yield Case(name="half/hook-init", ci=False, **hooked)
    yield Case(name="half/hook-init/init_boot", flashed=(INIT_BOOT,), **hooked)
    yield Case(name="half/hook-init/vendor_boot", flashed=(VENDOR_BOOT,), binds=False, **hooked)
    overlay: dict[str, Any] = {"layout": Layout.OVERLAY, "changes": both}
    yield Case(name="half/overlay", ci=False, **overlay)
    yield Case(name="half/overlay/init_boot", ci=False, flashed=(INIT_BOOT,), binds=False, **overlay)
    yield Case(name="half/overlay/vendor_boot", flashed=(VENDOR_BOOT,), **overlay)


def _controls() -> Iterator[Case]:
    """What a patch must never write: the other cases prove something only if the kernel panics here."""
    word: dict[str, Any] = {"layout": Layout.GKI, "changes": (VENDOR_BOOT,)}
    yield Case(name="control/word-without-file", mistake=Mistake.WORD_ALONE, panics=True, **word)
    behind: dict[str, Any] = {"layout": Layout.ONE_RAMDISK, "changes": (BOOT,)}
    yield Case(name="control/behind-the-stop", mistake=Mistake.BEHIND, panics=True, **behind)
    # The same segment works where the kernel gets to it. It has no configuration.
    yield Case(name="control/before-the-stop", ci=False, mistake=Mistake.IN_FRONT, binds=False, **behind)


CASES: tuple[Case, ...] = (*_reach(), *_half_flashed(), *_controls())

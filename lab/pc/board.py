"""The other machine: a PC with an emulated Intel IOMMU."""

import dataclasses
from typing import ClassVar

from machine import Board


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pc(Board):
    """QEMU's q35."""

    qemu: ClassVar[str] = "qemu-system-x86_64"
    # the kernel's check that the timer ticks fails on a host that is busy with other things
    with_console: ClassVar[str] = "console=ttyS0 no_timer_check"
    without_console: ClassVar[str] = "console=none earlycon=uart8250,io,0x3f8 keep_bootcon no_timer_check"

    iommu: bool = True
    """VT-d, with remapping of interrupts."""

    def board(self) -> list[str]:
        words = ["-machine", "q35", "-cpu", "max"]
        # in front of all devices: those that are made before it are not behind it
        return [*words, "-device", "intel-iommu,intremap=on"] if self.iommu else words

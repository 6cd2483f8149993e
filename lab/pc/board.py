"""The other machine: a PC with an emulated Intel IOMMU."""

import dataclasses
from typing import ClassVar

from machine import Board


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pc(Board):
    """QEMU's q35."""

    qemu: ClassVar[str] = "qemu-system-x86_64"
    # the kernel's timer check fails on a busy host
    with_console: ClassVar[str] = "console=ttyS0 no_timer_check"
    without_console: ClassVar[str] = "console=none earlycon=uart8250,io,0x3f8 keep_bootcon no_timer_check"

    iommu: bool = True
    """VT-d, with remapping of interrupts."""

    def board(self) -> list[str]:
        words = ["-machine", "q35", "-cpu", "max"]
        # before all devices: devices created earlier do not use it
        return [*words, "-device", "intel-iommu,intremap=on"] if self.iommu else words

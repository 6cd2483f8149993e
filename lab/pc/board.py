"""The other machine: a PC with an emulated Intel IOMMU."""

import dataclasses
from typing import ClassVar

import boards
from machine import Board


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pc(Board):
    """QEMU's q35."""

    arch: ClassVar[str] = "x86_64"

    iommu: bool = True
    """VT-d, with remapping of interrupts."""

    def board(self) -> list[str]:
        table = boards.board(self.arch)
        return [*table["machine"], *(table["iommu"] if self.iommu else [])]

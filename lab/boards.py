"""The boards, which the library describes (src/boottest/boards.toml)."""

import tomllib
from typing import Any

from family import ROOT

_TABLE = tomllib.loads((ROOT / "src" / "boottest" / "boards.toml").read_text())

ALWAYS: list[str] = _TABLE["always"]
"""QEMU's arguments for every board."""
CLOCK: list[str] = _TABLE["clock"]
"""Those for a clock that counts instructions."""


def board(arch: str) -> dict[str, Any]:
    """The board for kernels of an architecture."""
    (found,) = (board for board in _TABLE["board"] if board["arch"] == arch)
    return dict(found)


def stand_in(device_id: str, number: int) -> tuple[str, bool]:
    """QEMU's model of a device with its options, as the number-th of the board, and whether it has a disk."""
    (found,) = (device for device in _TABLE["stand_in"] if device["id"] == device_id)
    return found["model"].replace("%N", str(number)), found.get("drive", False)

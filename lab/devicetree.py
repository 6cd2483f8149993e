"""The device tree of a board (Devicetree Specification, chapter 5), with parts taken out.

The kernel's tools are not asked: a property is overwritten where it stands.
"""

import dataclasses
import shutil
import struct
import subprocess
from pathlib import Path

from machine import Machine

_BEGIN, _END_NODE, _PROPERTY, _NOP, _END = 1, 2, 3, 4, 9


def without(machine: Machine, removed: str, scratch: Path) -> Machine:
    """The machine with a device tree from which every property of that name is removed."""
    blob = scratch / "board.dtb"
    program = shutil.which(machine.qemu)
    if program is None:
        raise FileNotFoundError(f"{machine.qemu} is not installed: make setup")
    bare = dataclasses.replace(machine, devices=(), extra=())
    command = [program, *bare.arguments(scratch), "-machine", f"dumpdtb={blob}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=scratch)
    tree = bytearray(blob.read_bytes())
    if _remove(tree, removed.encode()) == 0:
        raise ValueError(f"the board's device tree has no {removed}")
    blob.write_bytes(tree)
    return dataclasses.replace(machine, extra=(*machine.extra, "-dtb", str(blob)))


def _remove(tree: bytearray, name: bytes) -> int:
    """Overwrite each property of that name; returns their number."""
    at, strings = struct.unpack_from(">II", tree, 8)
    found = 0
    while True:
        (token,) = struct.unpack_from(">I", tree, at)
        if token == _END:
            return found
        if token == _BEGIN:
            end = tree.index(0, at + 4)
            at = _aligned(end + 1)
        elif token == _PROPERTY:
            size, offset = struct.unpack_from(">II", tree, at + 4)
            end = _aligned(at + 12 + size)
            own = tree[strings + offset : tree.index(0, strings + offset)]
            if own == name:
                tree[at:end] = struct.pack(">I", _NOP) * ((end - at) // 4)
                found += 1
            at = end
        elif token in (_END_NODE, _NOP):
            at += 4
        else:
            raise ValueError(f"the board's device tree has the token {token} at offset {at}")


def _aligned(offset: int) -> int:
    return (offset + 3) & ~3

"""The device tree of a board, also without its SMMU (Devicetree Specification, chapter 5)."""

import dataclasses
import struct
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from machine import Machine, program

_BEGIN, _END_NODE, _PROPERTY, _NOP, _END = 1, 2, 3, 4, 9
_HEADER = 10
# in the header: all, the structure and the strings; the sizes of strings and structure
_TOTAL, _STRUCTURE, _STRINGS, _STRINGS_SIZE, _STRUCTURE_SIZE = 1, 2, 3, 8, 9


def of_board(machine: Machine, scratch: Path, loading: Sequence[str] = ()) -> bytes:
    """The device tree that QEMU makes for a board, which depends on the firmware in `loading`."""
    blob = scratch / "board.dtb"
    bare = dataclasses.replace(machine, devices=(), extra=())
    command = [program(machine), *bare.arguments(scratch), *loading, "-machine", f"dumpdtb={blob}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=scratch)
    return blob.read_bytes()


def without_smmu(machine: Machine, scratch: Path) -> Machine:
    """The machine with the device tree of boards whose SMMU is not for PCIe: it is disabled, and the host
    bridge has no iommu-map."""
    blob = scratch / "no-smmu.dtb"
    blob.write_bytes(_edited(of_board(machine, scratch)))
    return dataclasses.replace(machine, extra=(*machine.extra, "-dtb", str(blob)))


def _edited(tree: bytes) -> bytes:
    header = list(struct.unpack_from(f">{_HEADER}I", tree))
    strings = tree[header[_STRINGS] :][: header[_STRINGS_SIZE]] + b"status\0"
    status = struct.pack(">III", _PROPERTY, len(b"disabled\0"), header[_STRINGS_SIZE]) + _padded(b"disabled\0")
    structure, changed = b"", set()
    for token, name, text in _tokens(tree, header[_STRUCTURE], header[_STRINGS]):
        if token == _PROPERTY and name == "iommu-map":
            changed.add(name)
            continue
        structure += text
        if token == _BEGIN and name.startswith("smmuv3@"):
            changed.add("smmu")
            structure += status
    if changed != {"iommu-map", "smmu"}:
        raise ValueError(f"the board's device tree has only {changed or 'nothing'} of what is changed")
    # what is before the structure stays: the header, and reserved memory
    header[_STRINGS] = header[_STRUCTURE] + len(structure)
    header[_STRINGS_SIZE], header[_STRUCTURE_SIZE] = len(strings), len(structure)
    # without the room at the end: QEMU makes a tree larger, and the kernel takes 2 MiB at most
    header[_TOTAL] = header[_STRINGS] + len(strings)
    start = tree[_HEADER * 4 : header[_STRUCTURE]]
    return struct.pack(f">{_HEADER}I", *header) + start + structure + strings


def _tokens(tree: bytes, at: int, strings: int) -> Iterator[tuple[int, str, bytes]]:
    """Each token of the structure, the name of its node or property, and its bytes."""
    token = 0
    while token != _END:
        (token,) = struct.unpack_from(">I", tree, at)
        name, end = "", at + 4
        if token == _BEGIN:
            name = tree[at + 4 : tree.index(0, at + 4)].decode()
            end += len(_padded(name.encode() + b"\0"))
        elif token == _PROPERTY:
            size, offset = struct.unpack_from(">II", tree, at + 4)
            name = tree[strings + offset : tree.index(0, strings + offset)].decode()
            end += 8 + len(_padded(bytes(size)))
        elif token not in (_END_NODE, _NOP, _END):
            raise ValueError(f"the board's device tree has the token {token} at offset {at}")
        yield token, name, tree[at:end]
        at = end


def _padded(text: bytes) -> bytes:
    return text + bytes(-len(text) % 4)

"""Patches that are written to partitions on the device itself: family "install".

The disk has a partition table with the names of Android's partitions, and it fails one write: QEMU's blkdebug
does that, so that the kernel's answer is a real one.
"""

import hashlib
import re
import struct
import subprocess
import uuid
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import chain
import machine
import pc
from cpio import Archive
from family import LAB, Case, Family, Lab, Verdict
from images import BOOT
from machine import NVME
from pc.board import Pc

_HERE = LAB / "install"
_DISK, _FAULTS = "disk.img", "faults.conf"
_SECTOR = 512
_ENTRIES, _ENTRY_SIZE = 128, 128
_TABLE_SECTORS = 2 + _ENTRIES * _ENTRY_SIZE // _SECTOR
# of both partitions, in sectors
_FIRST, _SIZE = 2048, (16 << 20) // _SECTOR
_NAMES = ("boot_a", "boot_b")
# The first write to this sector fails, and only that.
_RULES = f'[inject-error]\nevent = "write_aio"\nerrno = "5"\nsector = "{_FIRST}"\nonce = "on"\n'
_DEVICES = (
    "-drive", f"if=none,id=d0,format=raw,file=blkdebug:{_FAULTS}:{_DISK}",
    "-device", "nvme,serial=DISK,drive=d0,addr=3",
)  # fmt: skip
# The driver would try again by itself.
_CMDLINE = "nvme_core.max_retries=0 androidboot.slot_suffix=_a androidboot.verifiedbootstate=orange"

CASES = (Case(name="block-device", ci=False),)
_FACTS = {"failed": "2", "patched": "0", "slot": "2", "undone": "0"}
_SAYS = (
    r"/dev/nvme0n1p1: .*(write|sync) at offset .*original",
    r"/dev/nvme0n1p2: belongs to slot _b, and the running system is slot _a",
)


def _header(me: int, other: int, table: int, last: int, checksum: int) -> bytes:
    """A header of a partition table (UEFI 2.10, 5.3.2)."""
    fields = (b"EFI PART", 0x10000, 92, 0, 0, me, other, _TABLE_SECTORS, last, uuid.UUID(int=1).bytes_le, table)
    text = struct.pack("<8sIIIIQQQQ16sQIII", *fields, _ENTRIES, _ENTRY_SIZE, checksum)
    return (text[:16] + struct.pack("<I", zlib.crc32(text)) + text[20:]).ljust(_SECTOR, b"\0")


def _disk(image: bytes) -> bytes:
    """A disk with the partitions, of which each has the image."""
    entries = b""
    for number, name in enumerate(_NAMES):
        first = _FIRST + number * _SIZE
        kind, own = uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4"), uuid.UUID(int=2 + number)
        place = struct.pack("<16s16sQQQ", kind.bytes_le, own.bytes_le, first, first + _SIZE - 1, 0)
        entries += place + name.encode("utf-16-le").ljust(72, b"\0")
    entries = entries.ljust(_ENTRIES * _ENTRY_SIZE, b"\0")
    checksum = zlib.crc32(entries)
    sectors = _FIRST + len(_NAMES) * _SIZE + _FIRST
    last = sectors - _TABLE_SECTORS
    protective = struct.pack("<446xB3sB3sII48xH", 0, b"\0\2\0", 0xEE, b"\xff\xff\xff", 1, sectors - 1, 0xAA55)
    start = protective + _header(1, sectors - 1, 2, last, checksum) + entries
    end = entries + _header(sectors - 1, 1, last + 1, last, checksum)
    parts = b"".join(image.ljust(_SIZE * _SECTOR, b"\0") for _ in _NAMES)
    return (start.ljust(_FIRST * _SECTOR, b"\0") + parts).ljust(sectors * _SECTOR - len(end), b"\0") + end


def _libraries(program: Path) -> list[Path]:
    """The libraries of a program of this machine, with the linker."""
    said = subprocess.run(["ldd", str(program)], stdout=subprocess.PIPE, text=True, check=True).stdout
    return [Path(path) for path in re.findall(r"(/\S+) \(0x", said)]


def _ramdisk(lab: Lab) -> bytes:
    archive = Archive()
    for directory in ("bin", "lib", "lib64"):
        archive.directory(directory)
    archive.file("bin/busybox", (pc.system() / "busybox").read_bytes(), 0o755)
    for program in (lab.vfioboot, lab.vfiorun):
        archive.file(f"bin/{program.name}", program.read_bytes(), 0o755)
    for library in _libraries(lab.vfioboot):
        place = "lib64" if library.name.startswith("ld-") else "lib"
        archive.file(f"{place}/{library.name}", library.read_bytes(), 0o755)
    archive.file("init", (_HERE / "guest").read_bytes(), 0o750)
    return archive.finish()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data.ljust(_SIZE * _SECTOR, b"\0")).hexdigest()


def _wrong(run: machine.Run, disk: bytes, original: bytes, patched: bytes) -> Iterator[str]:
    if not run.reached_init:
        yield f"/init did not run: {run.why_not()}"
        return
    for key, wanted in _FACTS.items():
        if (got := run.one(key)) != wanted:
            yield f"{key} is {got}, not {wanted}"
    before, after = _digest(original), _digest(patched)
    if (sums := run.facts.get("sum", [])) != [before, before, after, after, before]:
        yield f"the partition has the digests {sums}; the original is {before}, patched it is {after}"
    if run.one("backup") != before:
        yield f"the backup is {run.one('backup')}, not the original"
    said = run.facts.get("says", [])
    for pattern in _SAYS:
        if not any(re.search(pattern, line) for line in said):
            yield f"no output matches {pattern}"
    if disk != _disk(original):
        yield "the disk is not what it was"


def _run(lab: Lab, cases: Sequence[Case], work: Path) -> Verdict:
    (case,) = cases
    image = chain.image(lab, case.kernel, work / "image")[BOOT]
    # what is read from the partition is as long as that
    image.write_bytes(image.read_bytes().ljust(_SIZE * _SECTOR, b"\0"))
    patched = work / "patched.img"
    lab.call("patch", image, "--device", NVME, "-o", patched)
    (work / _DISK).write_bytes(_disk(image.read_bytes()))
    (work / _FAULTS).write_text(_RULES)
    (work / "initrd").write_bytes(_ramdisk(lab))
    run = machine.boot(
        Pc(devices=(), extra=_DEVICES), pc.system() / "vmlinuz", work / "initrd", _CMDLINE,
        scratch=work, timeout=lab.timeout,
    )  # fmt: skip
    disk = (work / _DISK).read_bytes()
    return {case.name: list(_wrong(run, disk, image.read_bytes(), patched.read_bytes()))}


FAMILY = Family("install", CASES, _run)

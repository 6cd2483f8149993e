"""Another tool rebuilds the ramdisk of a patched image, as magiskboot does: one sorted archive of everything."""

import gzip
import stat
import subprocess
from pathlib import Path

from compress import compress
from cpio import Archive
from images import Aosp

_HEADER = 110


def _unpacked(ramdisk: bytes) -> bytes:
    if ramdisk.startswith(b"\x1f\x8b"):
        return gzip.decompress(ramdisk)
    if ramdisk.startswith(b"\x02\x21\x4c\x18"):
        return subprocess.run(["lz4", "-dc"], input=ramdisk, stdout=subprocess.PIPE, check=True).stdout
    return ramdisk


def _entries(archive: bytes) -> dict[str, tuple[int, bytes]]:
    """Mode and data by name; the last entry of a name counts."""
    files = {}
    at = 0
    while (at := archive.find(b"070701", at)) >= 0:
        fields = [int(archive[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        mode, size, length = fields[1], fields[6], fields[11]
        name = archive[at + _HEADER : at + _HEADER + length - 1].decode()
        start = at + (_HEADER + length + 3) // 4 * 4
        if name != "TRAILER!!!":
            files[name] = (mode, archive[start : start + size])
        at = start + (size + 3) // 4 * 4
    return files


def _rebuilt(ramdisk: bytes, compression: str) -> bytes:
    archive = Archive()
    for name, (mode, data) in sorted(_entries(_unpacked(ramdisk)).items()):
        if stat.S_ISDIR(mode):
            archive.directory(name)
        elif stat.S_ISLNK(mode):
            archive.link(name, data.decode())
        else:
            archive.file(name, data, stat.S_IMODE(mode))
    archive.file("part-peer", b"")
    return compress(archive.finish(), compression)


def rebuild(aosp: Aosp, images: dict[str, Path], compression: str, into: Path) -> dict[str, Path]:
    """The images; the one with the runtime is rebuilt."""
    into.mkdir()
    rebuilt = {}
    for name, image in images.items():
        rebuilt[name] = into / name
        arguments = aosp.arguments_of(image, into / f"{name}.parts")
        for option, value in zip(arguments[::2], arguments[1::2], strict=True):
            if not option.endswith(("ramdisk", "ramdisk_fragment")):
                continue
            ramdisk = Path(value).read_bytes()
            if "vfioboot/undo" in _entries(_unpacked(ramdisk)):
                Path(value).write_bytes(_rebuilt(ramdisk, compression))
        aosp.make(rebuilt[name], arguments)
    return rebuilt

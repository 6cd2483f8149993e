"""Bombs: small files that would cost hours or gigabytes if nothing bounded the work.

`BOMBS` has each with the command that is given it. The slow encoders' output is in fixtures/bombs.
"""

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = 2048
VENDOR_PAGE = 4096
MIB = 1 << 20
GZIP = 16 + zlib.MAX_WBITS


@dataclass(frozen=True)
class Bomb:
    """A file and what is done with it."""

    name: str
    make: Callable[[], bytes]
    command: tuple[str, ...]
    """Of vfioboot; FILE is the bomb."""
    statuses: tuple[int, ...] = (0, 1, 2, 3)
    file: str = "bomb.img"
    directory: bool = False
    """FILE is an image.toml, and what is given is its directory."""


def zeros(suffix: str) -> bytes:
    """2 GiB of zeros."""
    return lzma.decompress((ROOT / f"fixtures/bombs/zeros-2g.{suffix}.xz").read_bytes())


def lz4_legacy(mebibytes: int, head: bytes = b"") -> bytes:
    """Zeros in blocks of 8 MiB: a zero, a match of all that follows, five literals. Before them `head`."""
    length = (8 << 20) - 1 - 5
    rest = length - 4 - 15
    match = b"\x1f\0\x01\0" + b"\xff" * (rest // 255) + bytes([rest % 255])
    block = match + b"\x50" + bytes(5)
    literals = b"\xf0" + bytes([len(head) - 15]) + head if head else b""
    first = struct.pack("<I", len(literals)) + literals if head else b""
    return struct.pack("<I", 0x184C2102) + first + (struct.pack("<I", len(block)) + block) * (mebibytes // 8)


def zstd(mebibytes: int) -> bytes:
    """Zeros in blocks of 128 KiB, each of which is one byte and how often it is repeated."""
    repeated = struct.pack("<I", (128 << 10) << 3 | 1 << 1)[:3] + b"\0"
    last = struct.pack("<I", 1)[:3]
    return b"\x28\xb5\x2f\xfd\0\x58" + repeated * (mebibytes * 8) + last


def kernel(suffix: str, times: int) -> bytes:
    """A boot image with such a kernel."""
    return boot(nested(suffix, times))


def nested(suffix: str, times: int) -> bytes:
    """2 GiB of zeros, compressed again and again."""
    data = zeros(suffix)
    for _ in range(times):
        data = gzip.compress(data, 9, mtime=0) if suffix == "gz" else bz2.compress(data, 9)
    return data


def pad(data: bytes, size: int) -> bytes:
    """With zeros up to a multiple of `size`."""
    return data + bytes(-len(data) % size)


def entry(name: bytes, data: bytes, mode: int = 0o100644) -> bytes:
    """A cpio entry."""
    fields = (0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name + b"\0"
    return pad(head, 4) + pad(data, 4)


def large_file() -> bytes:
    """The header of a file of 4 GiB."""
    fields = (0, 0o100644, 0, 0, 1, 0, 0xFFFFFFF0, 0, 0, 0, 0, 2, 0)
    return b"070701" + b"".join(b"%08X" % number for number in fields) + b"f\0"


def archive(*entries: bytes) -> bytes:
    """A cpio archive."""
    return b"".join(entries) + entry(b"TRAILER!!!", b"", 0)


def boot(kernel: bytes = b"", ramdisk: bytes = b"") -> bytes:
    """A boot image of header version 2."""
    numbers = (len(kernel), 0x10008000, len(ramdisk), 0x11000000, 0, 0, 0, PAGE, 2, 0)
    header = b"ANDROID!" + struct.pack("<10I", *numbers)
    header = header.ljust(1632, b"\0") + struct.pack("<IQIIQ", 0, 0, 1660, 0, 0)
    return pad(header, PAGE) + pad(kernel, PAGE) + pad(ramdisk, PAGE)


def vendor_boot(ramdisk: bytes, table: list[tuple[int, int]], bootconfig: bytes = b"") -> bytes:
    """A vendor_boot image of header version 4; the table has the size and offset of each fragment."""
    row = struct.Struct("<III32s16I")
    rows = b"".join(
        row.pack(size, offset, 1, b"r%d" % number, *[0] * 16) for number, (size, offset) in enumerate(table)
    )
    header = b"VNDRBOOT" + struct.pack("<5I", 4, VENDOR_PAGE, 0x10008000, 0x11000000, len(ramdisk))
    header = header.ljust(8 + 20 + 2048 + 4 + 16, b"\0") + struct.pack("<IIQ", 2128, 0, 0)
    header += struct.pack("<4I", len(rows), len(table), row.size, len(bootconfig))
    parts = (header, ramdisk, b"", rows, bootconfig)
    return b"".join(pad(part, VENDOR_PAGE) for part in parts)


def same_fragment(ramdisk: bytes, times: int) -> bytes:
    """A fragment that the table has many times."""
    return vendor_boot(ramdisk, [(len(ramdisk), 0)] * times)


def overlapping(ramdisk: bytes, times: int) -> bytes:
    """Fragments that all end at the same place, each a little shorter than the one before."""
    step = 512
    return vendor_boot(ramdisk, [(len(ramdisk) - step * n, step * n) for n in range(times)])


def zipped(name: str, data: bytes) -> bytes:
    """A zip archive of one file."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive_file:
        archive_file.writestr(name, data)
    return out.getvalue()


def zip_of_zeros(name: str) -> bytes:
    """A zip archive that says that its one file has 2 GiB."""
    stream = zeros("gz")
    body, (crc, _) = stream[10:-8], struct.unpack("<II", stream[-8:])
    encoded, size = name.encode(), 2 << 30
    common = (20, 0, 8, 0, 0x21, crc, len(body), size, len(encoded), 0)
    local = b"PK\3\4" + struct.pack("<5H3I2H", *common) + encoded + body
    central = b"PK\1\2" + struct.pack("<H5H3I2H", 20, *common) + struct.pack("<3H2I", 0, 0, 0, 0, 0) + encoded
    end = b"PK\5\6" + struct.pack("<4H2IH", 0, 0, 1, 1, len(central), len(local), 0)
    return local + central + end


def tarred(name: str, data: bytes) -> bytes:
    """A tar archive of one file."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive_file:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        archive_file.addfile(info, io.BytesIO(data))
    return out.getvalue()


def varint(number: int) -> bytes:
    """A number of protobuf."""
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def field(number: int, value: int | bytes) -> bytes:
    """A field of protobuf."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def payload(data: bytes, operation: int, blocks: int) -> bytes:
    """An OTA payload whose boot partition is one operation."""
    extent = field(1, 0) + field(2, blocks)
    step = field(1, operation) + field(2, 0) + field(3, len(data)) + field(6, extent)
    info = field(1, blocks * 4096) + field(2, bytes(32))
    partition = field(1, b"boot") + field(7, info) + field(8, step)
    manifest = field(3, 4096) + field(13, partition)
    return b"CrAU" + struct.pack(">QQI", 2, len(manifest), 0) + manifest + data


REPLACE_BZ = 1
REPLACE_XZ = 8
TOML = b'format = 1\nkind = "boot"\n[[region]]\nkind = "padding"\nsize = 4294967295\n'
CHECK, INFO, LIST = ("check", "FILE"), ("info", "FILE"), ("ramdisk", "FILE", "ls")
EXTRACT = ("extract", "FILE", "-d", "OUT")

BOMBS = [
    *(Bomb(f"kernel {suffix}, 2 GiB", partial(kernel, suffix, 0), CHECK) for suffix in ("bz2", "gz", "xz", "lzma")),
    Bomb("kernel lz4, 4 GiB", lambda: boot(lz4_legacy(4 << 10)), CHECK),
    Bomb("kernel zstd, 16 GiB", lambda: boot(zstd(16 << 10)), CHECK),
    *(Bomb(f"kernel gz, {times} more in it", partial(kernel, "gz", times), CHECK) for times in (1, 2, 3)),
    Bomb("kernel bz2 in bz2", partial(kernel, "bz2", 1), CHECK),
    Bomb("ramdisk bz2, 2 GiB", lambda: boot(b"", zeros("bz2")), INFO),
    Bomb("ramdisk bz2, 2 GiB, ls", lambda: boot(b"", zeros("bz2")), LIST),
    Bomb("ramdisk lz4, 4 GiB, ls", lambda: boot(b"", lz4_legacy(4 << 10, large_file())), LIST),
    Bomb("fragment zstd, 256 MiB, 20 times", lambda: same_fragment(zstd(256), 20), INFO),
    Bomb("fragment zstd, 256 MiB, 100 times", lambda: same_fragment(zstd(256), 100), INFO),
    Bomb(
        "fragment 1 MiB, 5,000 times",
        lambda: same_fragment(archive(entry(b"init", b"x"), entry(b"big", bytes(MIB))), 5000),
        INFO,
    ),
    Bomb("fragments that overlap", lambda: overlapping(archive(*[entry(b"f", bytes(388))] * 2000), 1000), INFO),
    Bomb("table of 100,000", lambda: same_fragment(archive(entry(b"init", b"x")), 100_000), (*INFO, "--json")),
    Bomb(
        "bootconfig of 8 MiB",
        lambda: vendor_boot(archive(), [], b"a\n" * (4 << 20)),
        ("cmdline", "FILE", "--effective"),
    ),
    Bomb(
        "bootconfig of 256 KiB",
        lambda: vendor_boot(archive(), [], b"a\n" * (128 << 10)),
        ("cmdline", "FILE", "--effective"),
    ),
    Bomb(
        "tree of 100,000 files",
        lambda: gzip.compress(archive(*[entry(b"f%d" % n, b"") for n in range(100_000)]), 1, mtime=0),
        LIST,
    ),
    Bomb("image.toml of 4 GiB", lambda: TOML, ("repack", "FILE", "-o", "OUT"), file="image.toml", directory=True),
    Bomb("gz, 2 GiB", lambda: zeros("gz"), INFO, file="boot.img.gz"),
    Bomb("zip of 2 GiB", lambda: zip_of_zeros("boot.img"), INFO, file="bomb.zip"),
    Bomb("zip of a zip of 2 GiB", lambda: zipped("image.zip", zip_of_zeros("boot.img")), INFO, file="bomb.zip"),
    Bomb("tar of a gz of 2 GiB", lambda: tarred("boot.img.gz", zeros("gz")), INFO, file="bomb.tar"),
    Bomb("payload, bz2, 2 GiB", lambda: payload(zeros("bz2"), REPLACE_BZ, 2 << 18), EXTRACT, file="payload.bin"),
    Bomb("payload, xz, 2 GiB", lambda: payload(zeros("xz"), REPLACE_XZ, 2 << 18), EXTRACT, file="payload.bin"),
]

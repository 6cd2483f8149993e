"""Ramdisk compressions, with the usual tools."""

import gzip
import subprocess

# With the options of Android and Linux build systems; xz needs CRC32, the only check that the kernel
# supports.
_COMMANDS: dict[str, list[str]] = {
    "lz4_legacy": ["lz4", "-q", "-l", "-9", "-c"],
    "xz": ["xz", "-q", "--check=crc32", "-c"],
    "zstd": ["zstd", "-q", "-c"],
}


def compress(data: bytes, form: str) -> bytes:
    """`data` as one segment of an initramfs."""
    if form == "raw":
        # a raw archive must start at a multiple of four: keep the next segment aligned
        return data + bytes(-len(data) % 4)
    if form == "gzip":
        return gzip.compress(data, compresslevel=6, mtime=0)
    return subprocess.run(_COMMANDS[form], input=data, stdout=subprocess.PIPE, check=True).stdout

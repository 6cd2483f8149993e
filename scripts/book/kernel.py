"""`python3 -m book.kernel CONFIG OUT`: an arm64 Image with that config in it, and no code.

For examples that judge a kernel and boot nothing.
"""

import gzip
import re
import struct
import sys
from pathlib import Path

PAGE = 4096


def image(config: bytes) -> bytes:
    """The kernel (Documentation/arch/arm64/booting.rst, kernel/configs.c)."""
    version = re.search(rb"^# Linux/\w+ ([\w.-]+) ", config, re.MULTILINE)
    if version is None:
        raise ValueError("expected a config with the kernel's version in its header")
    banner = b"Linux version %s (book@example) (gcc) #1 SMP PREEMPT\n\0" % version[1]
    body = banner + b"IKCFG_ST" + gzip.compress(config, mtime=0) + b"IKCFG_ED"
    size = -(-(64 + len(body)) // PAGE) * PAGE
    header = struct.pack("<IIQQQQQQ4sI", 0, 0, 0, size, 10, 0, 0, 0, b"ARM\x64", 0)
    return (header + body).ljust(size, b"\0")


if __name__ == "__main__":
    Path(sys.argv[2]).write_bytes(image(Path(sys.argv[1]).read_bytes()))

"""small.py VFIOBOOT OUT: the inputs of `benches/run --short`, made in a second and without network.

The fixtures' images with larger contents: kernel and files are pieces of a pool of bytes, which
compress about as well as the real ones. The same bytes on every machine, but for what the lz4 at
hand makes of them.
"""

import gzip
import random
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "lab"))
from cpio import Archive  # noqa: E402

KERNEL = 12 << 20
FILES = 700
FILE = 28 << 10
ARM64_HEADER = 64


def content(random_source: random.Random, pool: bytes, size: int) -> bytes:
    """Pieces of the pool, too far apart for most compressors to see again."""
    pieces: list[bytes] = []
    while size > 0:
        piece = min(size, random_source.randrange(16, 2048))
        at = random_source.randrange(len(pool) - piece)
        pieces.append(pool[at : at + piece])
        size -= piece
    return b"".join(pieces)


def kernel(small: bytes, filler: bytes) -> bytes:
    """The fixtures' arm64 Image with `filler` between its header and its banner and config."""
    size = len(small) + len(filler)
    header = small[:16] + size.to_bytes(8, "little") + small[24:ARM64_HEADER]
    return header + filler + small[ARM64_HEADER:]


def archive(random_source: random.Random, pool: bytes) -> bytes:
    """A ramdisk of many small files with its /init before them."""
    out = Archive()
    out.directory("first_stage_ramdisk")
    out.file("init", content(random_source, pool, 1 << 20), 0o750)
    out.directory("lib")
    for number in range(FILES):
        out.file(f"lib/{number:04}", content(random_source, pool, random_source.randrange(2 * FILE)))
    return out.finish()


def main() -> None:
    vfioboot, out = map(Path, sys.argv[1:])
    random_source = random.Random(1)
    words = [random_source.randbytes(random_source.randrange(2, 9)) for _ in range(5_000)]
    pool = b"".join(random_source.choices(words, k=400_000))

    def run(*command: str | Path) -> None:
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)

    def image(name: str, fixture: str, kernel_file: bytes, ramdisk: bytes) -> None:
        tree = out / f"{name}.tree"
        run(vfioboot, "unpack", ROOT / "fixtures/images" / fixture, "-d", tree)
        (tree / "kernel").write_bytes(kernel_file)
        (tree / "ramdisk").write_bytes(ramdisk)
        run(vfioboot, "repack", tree, "-o", out / f"{name}.img")
        shutil.rmtree(tree)

    tree = out / "fixture"
    run(vfioboot, "unpack", ROOT / "fixtures/images/boot-v2-gzip-dtbo.img", "-d", tree)
    raw = kernel(gzip.decompress((tree / "kernel").read_bytes()), content(random_source, pool, KERNEL))
    shutil.rmtree(tree)
    cpio = archive(random_source, pool)
    lz4 = subprocess.run(["lz4", "-q", "-l", "-c"], input=cpio, stdout=subprocess.PIPE, check=True).stdout
    image("v2", "boot-v2-gzip-dtbo.img", raw, gzip.compress(cpio, 6, mtime=0))
    image("v4", "boot-v4-ramdisk.img", gzip.compress(raw, 1, mtime=0), lz4)


if __name__ == "__main__":
    main()

"""inputs.py ROOT TOOLS OUT: the files that benches/run measures with; see inputs.sh.

ROOT holds the unpacked packages, TOOLS is what lab/tools.sh prints. The same packages give the
same bytes.
"""

import gzip
import hashlib
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "lab"))
from cpio import Archive
from images import Aosp

FILES = 8_400


def with_config(kernel: bytes, config: bytes) -> bytes:
    """The kernel with its config in .rodata, before its banner, where the linker puts
    kernel/configs.o."""
    blob = b"IKCFG_ST" + gzip.compress(config, compresslevel=9, mtime=0) + b"IKCFG_ED"
    at = kernel.rindex(b"Linux version ") - (1 << 20)
    return kernel[:at] + blob + kernel[at + len(blob) :]


def archive(tree: Path, init: bytes) -> bytes:
    """A ramdisk in the order of Android's mkbootfs: sorted, so /init comes before /lib."""
    files = [path for path in tree.rglob("*") if path.is_file() and not path.is_symlink()]
    names = {path.relative_to(tree).as_posix(): path for path in files}
    # a choice that is spread over the whole tree
    chosen = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())[:FILES]
    out = Archive()
    out.directory("dev")
    out.directory("first_stage_ramdisk")
    out.file("init", init, 0o750)
    out.directory("lib")
    seen: set[str] = set()
    for name in sorted(chosen):
        for parent in reversed(Path(name).parents[:-1]):
            if (directory := parent.as_posix()) not in seen:
                seen.add(directory)
                out.directory(f"lib/{directory}")
        out.file(f"lib/{name}", names[name].read_bytes())
    return out.finish()


def main() -> None:
    root, tools, out = map(Path, sys.argv[1:])
    (kernel_file,) = (root / "boot").glob("vmlinuz-*")
    (config_file,) = (root / "boot").glob("config-*")
    (tree,) = (root / "usr/src").iterdir()
    kernel = kernel_file.read_bytes()
    configured = with_config(kernel, config_file.read_bytes())
    cpio = archive(tree, (tools / "busybox").read_bytes())

    def part(name: str, data: bytes) -> str:
        path = out / name
        path.write_bytes(data)
        return str(path)

    def packed(*command: str, data: bytes) -> bytes:
        return subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout

    raw = part("Image", kernel)
    part("Image-config", configured)
    part("Image.gz", packed("gzip", "-n", "-9", data=kernel))
    configured_gz = part("Image-config.gz", packed("gzip", "-n", "-9", data=configured))
    gz = part("ramdisk.gz", packed("gzip", "-n", "-9", data=cpio))
    lz4 = part("ramdisk.lz4", packed("lz4", "-q", "-l", "-9", "-c", data=cpio))
    dtb = part("dtb", hashlib.sha256(b"dtb").digest() * 3_000)

    aosp = Aosp(tools)
    cmdline = "console=ttyS0 androidboot.hardware=bench"
    version = ["--os_version", "13.0.0", "--os_patch_level", "2023-05", "--cmdline", cmdline]
    v2 = ["--header_version", "2", "--pagesize", "4096", *version, "--kernel", raw, "--ramdisk", gz, "--dtb", dtb]
    aosp.make(out / "v2.img", v2)
    v4 = ["--header_version", "4", *version, "--kernel", configured_gz, "--ramdisk", lz4]
    aosp.make(out / "v4.img", v4)
    for name in ("ramdisk.gz", "ramdisk.lz4", "dtb"):
        (out / name).unlink()


if __name__ == "__main__":
    main()

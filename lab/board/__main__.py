"""The command line of the tutorial's board; see __init__.py."""

import argparse
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

LAB = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(LAB))

from compress import compress  # noqa: E402
from cpio import Archive  # noqa: E402
from family import ROOT, from_script  # noqa: E402
from images import BOOT, Aosp, initramfs  # noqa: E402
from machine import Device, Machine  # noqa: E402

HERE = LAB / "board"
GUEST = LAB / "device" / "guest"
PROMPT = b"board# "
# busybox asks the terminal where the cursor is
CURSOR = b"\x1b[6n"
DISK = Device("0000:00:02.0", "1b36:0010", "nvme", "nvme,serial=BOARD", "disk.img")
SYSTEM = Device("0000:00:07.0", "1b36:0010", "nvme", "nvme,serial=SYSTEM", "system.img", readonly=True)
DATA = Device("0000:00:08.0", "1af4:1001", "virtio-pci", "virtio-blk-pci", "data.img")
MACHINE = Machine(devices=(DISK, SYSTEM, DATA), memory="1024M", processors=2)
MESSAGE = b"the disk of the board"


def _archive(busybox: Path, init: Path) -> bytes:
    archive = Archive()
    archive.directory("bin")
    archive.file("bin/busybox", busybox.read_bytes(), 0o755)
    archive.file("init", init.read_bytes(), 0o755)
    return archive.finish()


def _data(place: Path, busybox: Path, kernel: Path, vfiorun: Path) -> None:
    """The disk for /data: vfiorun, and a guest."""
    tree = place / "data"
    (tree / "adb").mkdir(parents=True)
    parts = tree / "lab"
    parts.mkdir()
    for source, name in ((HERE / "system", "system"), (vfiorun, "vfiorun"), (kernel, "Image")):
        shutil.copy(source, parts / name)
    shutil.copy(HERE / "guest.toml", tree)
    (parts / "nested.cpio").write_bytes(_archive(busybox, GUEST / "nested"))
    command = ["mke2fs", "-q", "-t", "ext4", "-E", "root_owner=0:0", "-d", str(tree), str(place / DATA.drive), "32M"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={"PATH": "/usr/sbin:/sbin:/usr/bin:/bin"})
    shutil.rmtree(tree)


def make(place: Path, vfiorun: Path) -> None:
    """Make the board: stock.img and boot.img with a kernel without VFIO; that kernel's successor; the disks."""
    place.mkdir(parents=True)
    without, kernel = from_script(LAB / "kernel" / "build.sh", "bad", "good")
    (tools,) = from_script(LAB / "tools.sh")
    (system,) = from_script(LAB / "device" / "system.sh")
    (place / SYSTEM.drive).symlink_to(system / SYSTEM.drive)
    busybox = tools / "busybox"
    ramdisk = place / "ramdisk"
    ramdisk.write_bytes(compress(_archive(busybox, GUEST / "init"), "lz4_legacy"))
    stock = place / "stock.img"
    Aosp(tools).make(stock, [
        "--header_version", "1", "--pagesize", "2048", "--kernel", str(without / "Image.gz"),
        "--ramdisk", str(ramdisk), "--cmdline", "loglevel=4",
    ])  # fmt: skip
    ramdisk.unlink()
    shutil.copy(stock, place / BOOT)
    for source, name in ((without / "config", "stock.config"), (kernel / "Image.gz", "new-kernel")):
        shutil.copy(source, place / name)
    with (place / DISK.drive).open("wb") as disk:
        disk.write(MESSAGE)
        disk.truncate(1 << 20)
    _data(place, busybox, kernel / "Image", vfiorun)


def _command(place: Path, image: Path) -> list[str]:
    """QEMU with what a bootloader would take from the image."""
    (tools,) = from_script(LAB / "tools.sh")
    loaded = place / "loaded"
    shutil.rmtree(loaded, ignore_errors=True)
    loaded.mkdir()
    contents = Aosp(tools).take_apart({BOOT: image}, loaded)
    (loaded / "kernel").write_bytes(contents.kernel)
    (loaded / "initrd").write_bytes(initramfs(contents))
    words = f"{MACHINE.words} quiet panic=-1 {contents.cmdline}"
    parts = ["-kernel", "loaded/kernel", "-initrd", "loaded/initrd", "-append", words]
    return [MACHINE.qemu, *MACHINE.arguments(place), *parts]


def start(place: Path, image: Path) -> int:
    """Start it on this terminal."""
    return subprocess.run(_command(place, image), cwd=place, check=False).returncode


def play(place: Path, image: Path, commands: Sequence[str]) -> int:
    """Start it, type each command at the prompt, and print what appears."""
    process = subprocess.Popen(
        _command(place, image), cwd=place, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if process.stdin is None or process.stdout is None:
        raise AssertionError
    waiting, seen = [*commands, "exit"], b""
    while byte := process.stdout.read(1):
        seen += byte
        if byte == b"\n" or seen.endswith(CURSOR):
            sys.stdout.buffer.write(seen.removesuffix(CURSOR))
            prompted, seen = seen == PROMPT + CURSOR, b""
        else:
            continue
        if prompted and waiting:
            process.stdin.write(waiting.pop(0).encode() + b"\n")
            process.stdin.flush()
    sys.stdout.flush()
    return process.wait() or int(bool(waiting))


def main() -> int:
    """Read the arguments."""
    parser = argparse.ArgumentParser(prog="board", description=__doc__)
    parser.add_argument("what", choices=("make", "start"))
    parser.add_argument("directory", type=Path)
    parser.add_argument("image", type=Path, nargs="?")
    parser.add_argument("--vfiorun", type=Path, default=ROOT / "dist" / "vfiorun-aarch64", help="for the board")
    parser.add_argument("--play", type=Path, metavar="FILE", help="type the lines of a file, and print what appears")
    options = parser.parse_args()
    place = options.directory.resolve()
    if options.what == "make":
        if place.exists():
            print(f"{options.directory} is there already: remove it for a new board", file=sys.stderr)
            return 2
        make(place, options.vfiorun)
        return 0
    image = (options.image or place / BOOT).resolve()
    if options.play:
        return play(place, image, options.play.read_text(encoding="utf-8").splitlines())
    return start(place, image)


if __name__ == "__main__":
    sys.exit(main())

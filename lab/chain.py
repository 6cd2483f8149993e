"""The steps of most families: patch images, undo the patch, and boot the patched images."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import machine
from compress import compress
from cpio import Archive
from family import LAB, Failed, Lab
from images import BOOT, Aosp, Contents, initramfs


def image(lab: Lab, kernel: str, into: Path, *, cmdline: str = "", compression: str = "gzip") -> dict[str, Path]:
    """An original with the stand-in system and a kernel of the lab, alone in `into`."""
    into.mkdir()
    archive = Archive()
    archive.directory("bin")
    archive.file("bin/busybox", (lab.tools / "busybox").read_bytes(), 0o755)
    archive.file("init", (LAB / "guest" / "init").read_bytes(), 0o750)
    ramdisk, made = into / "ramdisk", into / BOOT
    ramdisk.write_bytes(compress(archive.finish(), compression))
    arguments = ["--header_version", "1", "--pagesize", "2048", "--ramdisk", str(ramdisk)]
    if cmdline:
        arguments += ["--cmdline", cmdline]
    Aosp(lab.tools).make(made, [*arguments, "--kernel", str(lab.kernels[kernel] / "Image.gz")])
    return {BOOT: made}


def patch(
    lab: Lab, images: Mapping[str, Path], options: Sequence[str | Path], into: Path
) -> tuple[str, dict[str, Path]]:
    """Patch; returns the printed plan, and the images, replaced by those that were written. Raises
    `Failed` if unpatch does not restore the originals."""
    out, back = into / "patched", into / "unpatched"
    plan = lab.call("patch", *images.values(), *options, "-d", out)
    written = {name: out / name for name in images if (out / name).exists()}
    if not written:
        raise Failed("vfioboot patch wrote no image")
    lab.call("unpatch", *written.values(), "-d", back)
    wrong = [name for name in written if (back / name).read_bytes() != images[name].read_bytes()]
    if wrong:
        raise Failed(f"unpatch does not restore the original {', '.join(wrong)}")
    return plan, dict(images) | written


def boot(
    lab: Lab, board: machine.Board, images: Mapping[str, Path], loader_cmdline: str, work: Path, **options: Any
) -> machine.Run:
    """Unpack the images with AOSP's tools and boot them like a bootloader. `options` are those of
    `machine.boot`."""
    contents = Aosp(lab.tools).take_apart(dict(images), work / "apart")
    return boot_contents(lab, board, contents, loader_cmdline, work, **options)


def boot_contents(
    lab: Lab, board: machine.Board, contents: Contents, loader_cmdline: str, work: Path, **options: Any
) -> machine.Run:
    """Boot what was unpacked like a bootloader."""
    kernel, initrd = work / "kernel", work / "initrd"
    kernel.write_bytes(contents.kernel)
    initrd.write_bytes(initramfs(contents))
    cmdline = f"{loader_cmdline} {contents.cmdline}".strip()
    return machine.boot(board, kernel, initrd, cmdline, scratch=work, timeout=lab.timeout, **options)

"""The way that the images of most families go: patched, taken back, and what came of the patch booted."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import machine
from family import Failed, Lab
from images import Aosp, Contents, initramfs


def patch(
    lab: Lab, images: Mapping[str, Path], options: Sequence[str | Path], into: Path
) -> tuple[str, dict[str, Path]]:
    """Patch; the value is the plan that was printed, and the images with those that were written in their
    place. Raises `Failed` when unpatch does not give the originals back."""
    out, back = into / "patched", into / "unpatched"
    plan = lab.call("patch", *images.values(), *options, "-d", out)
    written = {name: out / name for name in images if (out / name).exists()}
    if not written:
        raise Failed("vfioboot patch wrote no image")
    lab.call("unpatch", *written.values(), "-d", back)
    wrong = [name for name in written if (back / name).read_bytes() != images[name].read_bytes()]
    if wrong:
        raise Failed(f"unpatch does not give back the original {', '.join(wrong)}")
    return plan, dict(images) | written


def boot(
    lab: Lab, board: machine.Board, images: Mapping[str, Path], loader_cmdline: str, work: Path, **options: Any
) -> machine.Run:
    """Take the images apart by AOSP's tools and boot them as a bootloader does. `options` are those of
    `machine.boot`."""
    contents: Contents = Aosp(lab.tools).take_apart(dict(images), work / "apart")
    kernel, initrd = work / "kernel", work / "initrd"
    kernel.write_bytes(contents.kernel)
    initrd.write_bytes(initramfs(contents))
    cmdline = f"{loader_cmdline} {contents.cmdline}".strip()
    return machine.boot(board, kernel, initrd, cmdline, scratch=work, timeout=lab.timeout, **options)

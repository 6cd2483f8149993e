"""Sets of which the kernel unpacks only a part, and of which only a part is flashed: family "sets".

The controls are what a patch must never write; there the verdict is that the kernel panics.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import chain
import machine
from compress import compress
from cpio import Archive
from family import Failed, Family, Lab, Verdict
from images import Aosp, Contents

from . import original, verdict
from .cases import CASES, Case, Mistake


def _patch(lab: Lab, case: Case, images: dict[str, Path], work: Path) -> dict[str, Path]:
    """The images on the device after the patch."""
    if not case.changes:
        return images
    _, patched = chain.patch(lab, images, ["--device", machine.NVME, *case.options], work)
    changed = tuple(name for name in images if patched[name] != images[name])
    if changed != case.changes:
        raise Failed(f"the patch changes {' '.join(changed)}, not {' '.join(case.changes)}")
    return images | {name: patched[name] for name in case.flashed or changed}


def _runtime_alone(lab: Lab) -> bytes:
    """A segment that kernels with gzip unpack."""
    archive = Archive()
    archive.directory("vfioboot")
    archive.file("vfioboot/init", lab.vfiorun.read_bytes(), 0o755)
    return compress(archive.finish(), "gzip")


def _contents(lab: Lab, case: Case, originals: Mapping[str, Path], flashed: Mapping[str, Path], work: Path) -> Contents:
    """What the bootloader passes to the kernel."""
    aosp = Aosp(lab.tools)
    contents = aosp.take_apart(dict(flashed), work / "after")
    if case.mistake is not Mistake.NONE:
        contents.ramdisks = aosp.take_apart(dict(originals), work / "before").ramdisks
    if case.mistake is Mistake.BEHIND:
        contents.ramdisks.append(("runtime", _runtime_alone(lab)))
    if case.mistake is Mistake.IN_FRONT:
        contents.ramdisks.insert(0, ("runtime", _runtime_alone(lab)))
    return contents


def _run(lab: Lab, cases: Sequence[Case], work: Path) -> Verdict:
    (case,) = cases
    into = work / "original"
    into.mkdir()
    kernel = lab.kernels[case.kernel] / "Image.gz"
    images = original.make(case.layout, Aosp(lab.tools), kernel, lab.tools / "busybox", into)
    flashed = _patch(lab, case, images, work)
    contents = _contents(lab, case, images, flashed, work)
    run = chain.boot_contents(lab, machine.Machine(), contents, "", work)
    return {case.name: list(verdict.of_boot(case, run))}


FAMILY = Family("sets", CASES, _run)

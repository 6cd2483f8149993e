"""Original images are patched and booted, and PID 1 has put the devices on vfio-pci: family "patch"."""

from collections.abc import Sequence
from pathlib import Path

import machine
from compress import compress
from cpio import Archive
from family import Failed, Family, Lab, Verdict
from images import Aosp, initramfs

from . import original, peer, verdict
from .cases import CASES, Case


def _patch(lab: Lab, case: Case, images: dict[str, Path], into: Path) -> dict[str, Path]:
    """Patch; returns the written images, by name."""
    into.mkdir()
    options: list[str | Path] = [*case.options]
    for device in case.devices:
        options += ["--device", device]
    if case.modules:
        # in the wrong order: vfioboot has to sort them
        for module in sorted((lab.kernels[case.kernel] / "modules").rglob("*.ko"), reverse=True):
            options += ["--add-module", module]
    lab.call("patch", *images.values(), *options, *_where(images, into))
    written = {name: into / name for name in images if (into / name).exists()}
    if not written:
        raise Failed("vfioboot patch wrote no image")
    return written


def _where(images: dict[str, Path], into: Path) -> list[str | Path]:
    return ["-o", into / next(iter(images))] if len(images) == 1 else ["-d", into]


def _after_peer(lab: Lab, case: Case, rebuilt: dict[str, Path], into: Path) -> dict[str, Path]:
    """Patch rebuilt images again, or remove the patch; returns the written images, by name."""
    if case.rebuilt == "patch":
        return rebuilt | _patch(lab, case, rebuilt, into)
    into.mkdir()
    lab.call("unpatch", "--remove", *rebuilt.values(), *_where(rebuilt, into))
    return rebuilt | {name: into / name for name in rebuilt if (into / name).exists()}


def _unpatch(lab: Lab, images: dict[str, Path], patched: dict[str, Path], into: Path) -> list[str]:
    """Undo the patch; returns the images that were not restored."""
    into.mkdir()
    lab.call("unpatch", *patched.values(), *_where(patched, into))
    wrong = []
    for name in patched:
        back = into / name
        if not back.exists():
            wrong.append(f"unpatch wrote no {name}")
        elif back.read_bytes() != images[name].read_bytes():
            wrong.append(f"unpatch does not give back the original {name}")
    return wrong


def _garbage_segment(case: Case) -> bytes:
    archive = Archive()
    archive.directory("vfioboot")
    archive.file("vfioboot/boot.toml", b"\xff\x00 = [[[ this is not a boot file\n" * 20)
    return compress(archive.finish(), case.compression)


def _run_case(lab: Lab, case: Case, work: Path) -> list[str]:
    """Run a case; returns its failures."""
    directories = {name: work / name for name in ("original", "before", "after", "again")}
    for directory in directories.values():
        directory.mkdir()
    aosp = Aosp(lab.tools)
    images = original.make(case, aosp, lab.kernels, lab.tools / "busybox", directories["original"])
    digest = {name: path.read_bytes() for name, path in images.items()}
    before = aosp.take_apart(images, directories["before"])

    given = {name: images[name] for name in case.given or images}
    patched = _patch(lab, case, given, work / "patched")
    wrong = [f"the input file {name} was written to" for name in images if images[name].read_bytes() != digest[name]]
    if case.rebuilt:
        rebuilt = peer.rebuild(aosp, patched, case.compression, work / "rebuilt")
        patched = _after_peer(lab, case, rebuilt, work / "result")
    after = aosp.take_apart(images | patched, directories["after"])
    if not case.rebuilt:
        wrong += verdict.of_patch(before, after)
    for name, image in patched.items():
        if not aosp.rebuilds(image, directories["again"], shrunk=bool(case.rebuilt)):
            wrong.append(f"AOSP's mkbootimg makes another {name} of the same contents")

    if case.garbage:
        name, data = after.ramdisks[-1]
        after.ramdisks[-1] = (name, data + _garbage_segment(case))
    kernel, initrd = work / "kernel", work / "initrd"
    kernel.write_bytes(after.kernel)
    initrd.write_bytes(initramfs(after, case.loader_bootconfig))
    cmdline = f"{case.loader_cmdline} {after.cmdline}".strip()
    board = machine.Machine(console=case.console)
    run = machine.boot(board, kernel, initrd, cmdline, scratch=work, timeout=lab.timeout)
    wrong += verdict.of_boot(case, run)
    if not case.rebuilt:
        wrong += _unpatch(lab, images, patched, work / "unpatched")
    return wrong


def _run(lab: Lab, cases: Sequence[Case], work: Path) -> Verdict:
    (case,) = cases
    return {case.name: _run_case(lab, case, work)}


FAMILY = Family("patch", CASES, _run)

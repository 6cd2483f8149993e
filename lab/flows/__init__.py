"""Ramdisks without first-stage init: family "flow".

Magisk's, whose /init is its own program, and those of devices whose init reads /init.rc in the
ramdisk. The programs are stand-ins in guest/; each says there what it does as the real one does.
"""

from collections.abc import Sequence
from pathlib import Path

import chain
import machine
from compress import compress
from cpio import Archive
from family import LAB, Family, Lab, Verdict
from images import BOOT, Aosp

from . import verdict
from .cases import CASES, Case

GUEST = LAB / "flows" / "guest"
STAND_IN = LAB / "guest" / "init"
RC_FILES = ("init.rc", "init.lab.rc", "init.usb.rc", "default.prop", "guest.toml")
SYSTEM_LABELS = ("u:r:su:s0", "u:r:zygote:s0")
"""SELinux contexts in the system's policy: the first only in userdebug and eng builds."""
MAGISK_LABEL = "u:r:magisk:s0"
"""The context that Magisk adds."""


def _ramdisk(case: Case, busybox: Path) -> bytes:
    archive = Archive()
    archive.directory("bin")
    archive.file("bin/busybox", busybox.read_bytes(), 0o755)
    init = (GUEST / "rc-init" if case.rc else STAND_IN).read_bytes()
    if case.magisk:
        for directory in (".backup", "overlay.d", "overlay.d/sbin"):
            archive.directory(directory)
        archive.file("init", (GUEST / "magiskinit").read_bytes(), 0o750)
        archive.file(".backup/init", init, 0o750)
        archive.file(".backup/.magisk", b"KEEPVERITY=true\nKEEPFORCEENCRYPT=true\n")
        archive.file("overlay.d/sbin/magisk64.xz", bytes(64))
    else:
        archive.file("init", init, 0o750)
    if case.rc:
        archive.directory("sbin")
        archive.directory("lab")
        for name in RC_FILES:
            archive.file(name, (GUEST / name).read_bytes(), 0o750)
        labels = [*SYSTEM_LABELS, MAGISK_LABEL] if case.magisk else SYSTEM_LABELS
        archive.file("lab/labels", "".join(f"{label}\n" for label in labels).encode())
        for name in ("report", "framework", "helper", "qemu"):
            archive.file(f"lab/{name}", (GUEST / name).read_bytes(), 0o755)
        archive.file("lab/init", STAND_IN.read_bytes(), 0o755)
    return compress(archive.finish(), "gzip")


def _run(lab: Lab, cases: Sequence[Case], work: Path) -> Verdict:
    (case,) = cases
    original = work / "original"
    original.mkdir()
    ramdisk, image = original / "ramdisk", original / BOOT
    ramdisk.write_bytes(_ramdisk(case, lab.tools / "busybox"))
    arguments = ["--header_version", "1", "--pagesize", "2048", "--ramdisk", str(ramdisk)]
    arguments += ["--cmdline", "androidboot.hardware=lab"]
    Aosp(lab.tools).make(image, [*arguments, "--kernel", str(lab.kernels[case.kernel] / "Image.gz")])
    images = {BOOT: image}
    if case.patched:
        options: list[str | Path] = ["--device", machine.NVME, *case.options]
        options += ["--rc", GUEST / "user.rc"] if case.rc else []
        _, images = chain.patch(lab, images, options, work)
    run = chain.boot(lab, machine.Machine(), images, case.loader_cmdline, work)
    return {case.name: list(verdict.of_boot(case, run))}


FAMILY = Family("flow", CASES, _run)

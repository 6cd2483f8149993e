"""The device after boot: vfiorun from a patched image to a running guest and back: family "device".

The stand-in system has three parts: a ramdisk with busybox, which mounts the disks; its read-only
disk with Debian's arm64 QEMU, from the cache; and /data, made for each boot, with what is tested.
"""

import dataclasses
import gzip
import secrets
import shutil
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path

import devicetree
import machine
import modules
from compress import compress
from cpio import Archive
from family import LAB, Family, Lab, Verdict, from_script
from images import BOOT, Aosp, initramfs

from . import verdict
from .cases import CASES, DATA, STICK, SYSTEM, Case, Setup

_GUEST = LAB / "device" / "guest"
_SYSTEM_LOCK = threading.Lock()


def _system(setup: Setup, place: Path) -> None:
    """The system's disk; see system.sh. One with systemd is written to."""
    with _SYSTEM_LOCK:
        if setup.systemd:
            (directory,) = from_script(LAB / "device" / "service.sh")
        else:
            (directory,) = from_script(LAB / "device" / "system.sh", *([setup.suite] if setup.suite else []))
    if setup.systemd:
        shutil.copy(directory / SYSTEM.drive, place)
    else:
        place.symlink_to(directory / SYSTEM.drive)


@dataclasses.dataclass(frozen=True)
class _Kernel:
    """A kernel, of the device and of its guests."""

    image: Path
    compressed: Path
    modules: Path | None = None
    """A directory with lib/modules, whose modules are loaded at the start."""

    def add_modules(self, archive: Archive) -> None:
        """Add the modules, and the list that /init reads."""
        if self.modules:
            archive.tree(self.modules)
            names = sorted(path.stem for path in self.modules.rglob("*.ko"))
            archive.file("modules.list", " ".join(names).encode())


def _kernel(lab: Lab, setup: Setup, work: Path) -> _Kernel:
    if not setup.debian:
        directory = lab.kernels[setup.kernel]
        return _Kernel(directory / "Image", directory / "Image.gz")
    directory = modules.debian(setup.debian)
    image = work / "debian"
    image.write_bytes(gzip.decompress((directory / "Image.gz").read_bytes()))
    return _Kernel(image, directory / "Image.gz", directory / "modules")


def _ramdisk(busybox: Path, kernel: _Kernel) -> bytes:
    archive = Archive()
    archive.directory("bin")
    archive.file("bin/busybox", busybox.read_bytes(), 0o755)
    archive.file("init", (_GUEST / "init").read_bytes(), 0o750)
    kernel.add_modules(archive)
    return archive.finish()


def _compiled(name: str, work: Path) -> Path:
    program = work / name
    compiler = ["aarch64-linux-gnu-gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-s"]
    subprocess.run([*compiler, "-o", str(program), str(_GUEST / f"{name}.c")], check=True)
    return program


def _nested_ramdisk(busybox: Path, kernel: _Kernel, work: Path) -> bytes:
    archive = Archive()
    archive.directory("bin")
    archive.file("bin/busybox", busybox.read_bytes(), 0o755)
    for name in ("edu", "pvpanic"):
        archive.file(f"bin/{name}", _compiled(name, work).read_bytes(), 0o755)
    archive.file("init", (_GUEST / "nested").read_bytes(), 0o755)
    kernel.add_modules(archive)
    return archive.finish()


def _plan(cases: Sequence[Case], after_reset: bool) -> str:
    lines = [f"{case.name} {case.after_reset if after_reset else case.steps}" for case in cases]
    return "\n".join(lines) + "\n"


def _make_data(lab: Lab, kernel: _Kernel, cases: Sequence[Case], work: Path) -> None:
    """The disk for /data: the programs under test and the steps of the cases."""
    tree = work / "data"
    parts = tree / "lab"
    shutil.copytree(_GUEST / "steps", parts / "steps")
    (tree / "adb").mkdir()
    for name in ("system", "functions", "cost"):
        shutil.copy(_GUEST / name, parts / name)
    for name in ("banner", "killat"):
        shutil.copy(_compiled(name, work), parts / name)
    shutil.copy(lab.vfiorun, parts / "vfiorun")
    shutil.copy(kernel.image, parts / "Image")
    (parts / "nested.cpio").write_bytes(_nested_ramdisk(lab.tools / "busybox", kernel, work))
    (parts / "plan").write_text(_plan(cases, after_reset=False))
    (parts / "plan-after-reset").write_text(_plan(cases, after_reset=True))
    # without root and without a mount: mke2fs copies the tree
    size = "96M" if kernel.modules else "32M"
    command = ["mke2fs", "-q", "-t", "ext4", "-E", "root_owner=0:0", "-d", str(tree), str(work / DATA.drive), size]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={"PATH": "/usr/sbin:/sbin:/usr/bin:/bin"})


def _image(lab: Lab, setup: Setup, kernel: _Kernel, work: Path) -> tuple[Path, Path, str]:
    """Kernel, initramfs and command line: unpatched, or from a patched image made by AOSP's tools."""
    initrd = work / "initrd"
    ramdisk = _ramdisk(lab.tools / "busybox", kernel)
    if not setup.patched:
        initrd.write_bytes(ramdisk)
        return kernel.image, initrd, setup.cmdline
    aosp = Aosp(lab.tools)
    (work / "ramdisk").write_bytes(compress(ramdisk, "lz4_legacy"))
    original, patched = work / "original.img", work / BOOT
    arguments = ["--header_version", "1", "--pagesize", "2048", "--kernel", str(kernel.compressed)]
    aosp.make(original, [*arguments, "--ramdisk", str(work / "ramdisk"), "--cmdline", setup.cmdline])
    options = [word for device in setup.patched for word in ("--device", device)]
    lab.call("patch", original, *options, "-o", patched)
    (work / "contents").mkdir()
    contents = aosp.take_apart({BOOT: patched}, work / "contents")
    initrd.write_bytes(initramfs(contents))
    (work / "kernel").write_bytes(contents.kernel)
    return work / "kernel", initrd, contents.cmdline


def _board(setup: Setup, work: Path) -> machine.Machine:
    if setup.newer:
        (directory,) = from_script(LAB / "uplink" / "system.sh", "aarch64")
        return dataclasses.replace(setup.machine, newer=directory / "qemu-system-aarch64")
    return setup.machine if setup.smmu_for_pcie else devicetree.without_smmu(setup.machine, work)


def _run(lab: Lab, cases: Sequence[Case], work: Path) -> Verdict:
    setup = cases[0].setup
    _system(setup, work / SYSTEM.drive)
    disks = verdict.Disks(work, secrets.token_hex(4))
    disks.make()
    with (work / STICK).open("wb") as stick:
        stick.write(b"STICK")
        stick.truncate(1 << 20)
    parts = _kernel(lab, setup, work)
    _make_data(lab, parts, cases, work)
    kernel, initrd, cmdline = _image(lab, setup, parts, work)
    board = _board(setup, work)
    timeout = max(lab.timeout, setup.seconds)
    runs: list[machine.Run] = []
    for log, plan in (("serial.log", "plan"), ("serial-after-reset.log", "plan-after-reset")):
        if runs and not cases[0].after_reset:
            break
        words = f"{cmdline} lab.plan={plan}"
        runs.append(machine.boot(board, kernel, initrd, words, scratch=work, timeout=timeout, log=log))
    for case in cases:
        for key, limit in case.at_most:
            measured = verdict.sections(runs[-1]).get(case.name, {}).get(key, ["nothing"])
            print(f"     device/{case.name}: {key} {' '.join(measured)}, at most {limit}", flush=True)
    return {case.name: list(verdict.of_case(case, runs, disks)) for case in cases}


FAMILY = Family("device", CASES, _run)

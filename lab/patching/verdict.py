"""Checks the images and boots of a case; every function yields the failures."""

import hashlib
from collections.abc import Iterator

from images import Contents
from machine import DEVICES, Run

from .cases import INIT_ARGUMENT, VFIO, Case
from .original import STAND_IN, expected_parts

# The kernel's built-in initramfs has this file.
_NODES = {"console"}


def of_patch(before: Contents, after: Contents) -> Iterator[str]:
    """A patch appends to ramdisks and adds kernel parameters; everything else stays byte-identical."""
    if after.kernel != before.kernel:
        yield "the kernel in the patched image differs"
    for name in before.others.keys() | after.others.keys():
        if before.others.get(name) != after.others.get(name):
            yield f"{name} was changed"
    if not after.bootconfig.startswith(before.bootconfig):
        yield "the bootconfig lost something"
    if [name for name, _ in before.ramdisks] != [name for name, _ in after.ramdisks]:
        yield f"the ramdisks are {[name for name, _ in after.ramdisks]}"
        return
    for (name, old), (_, new) in zip(before.ramdisks, after.ramdisks, strict=True):
        if not new.startswith(old):
            yield f"the original {name} is not at the beginning of the patched one"
    if missing := set(before.cmdline.split()) - set(after.cmdline.split()):
        yield f"the command line lost {' '.join(sorted(missing))}"


def of_boot(case: Case, run: Run) -> Iterator[str]:
    """The facts reported by the stand-in /init."""
    if not run.reached_init:
        yield f"/init did not run: {run.why_not()}"
        return
    yield from _devices(case, run)
    yield from _process(case, run)
    yield from _leftovers(run)
    if missing := expected_parts(case) - set(run.facts.get("root", [])):
        yield f"not unpacked: {' '.join(sorted(missing))}"
    if case.speaks and not run.facts.get("dmesg"):
        yield "the kernel log has no message of the runtime"


def _devices(case: Case, run: Run) -> Iterator[str]:
    for device in DEVICES:
        wanted, got = case.expected_driver(device), run.driver(device)
        if wanted != got:
            yield f"{device.address} ({device.id}): driver {got}, not {wanted}"
    for line in run.facts.get("pci", []):
        address, _, driver, *override = line.split()
        if driver != VFIO and override not in ([], ["(null)"]):
            yield f"{address}: driver_override is still {override[0]}"
    groups = len(run.facts.get("group", []))
    # /dev/vfio/vfio, and one node per device (each is alone in its group here)
    if case.to_vfio and groups != len(case.to_vfio) + 1:
        yield f"/dev/vfio has {groups} nodes for {len(case.to_vfio)} devices"


def _process(case: Case, run: Run) -> Iterator[str]:
    if run.one("pid") != "1":
        yield f"/init is process {run.one('pid')}, not 1"
    files = run.facts.get("fd", [])
    if files != (["0", "1", "2"] if case.console else []):
        yield f"/init was given the open files {files}"
    argv = run.one("argv").split()
    wanted = ["/init", INIT_ARGUMENT] if INIT_ARGUMENT in case.cmdline else ["/init"]
    if argv != wanted:
        yield f"/init was called as {argv}, not {wanted}"
    if run.one("init") != hashlib.md5(STAND_IN.read_bytes()).hexdigest():
        yield "/init is not the original"
    environment = run.facts.get("env", [])
    for word in ("HOME=/", "TERM=linux", *(w for w in case.cmdline.split() if w.startswith("LAB_"))):
        if word not in environment:
            yield f"/init has no {word} in its environment"
    if strange := [word for word in environment if "vfio" in word.lower()]:
        yield f"/init was given {strange} in its environment"
    words = run.facts.get("cmdline", [])
    if case.hooked and any(word.startswith("rdinit=") for word in words):
        yield "the command line contains rdinit="
    for word in (*case.cmdline.split(), *case.loader_cmdline.split()):
        if word not in words:
            yield f"the kernel's command line has lost {word}"


def _leftovers(run: Run) -> Iterator[str]:
    if "/vfioboot" in run.facts.get("root", []):
        yield "left behind in the root: /vfioboot"
    for key in ("left-mount", "left-process"):
        for what in run.facts.get(key, []):
            yield f"{key.removeprefix('left-')} left behind: {what}"
    for node in run.facts.get("node", []):
        if node not in _NODES:
            yield f"left behind in /dev: {node}"

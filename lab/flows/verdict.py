"""Whether a boot is as a case wants it; lists what is wrong."""

import hashlib
import re
from collections.abc import Iterator

from family import LAB
from machine import DISK, Run

from .cases import DEVICES, Case


def of_boot(case: Case, run: Run) -> Iterator[str]:
    """What the last program of the boot found."""
    if not run.reached_init:
        yield f"the last program did not run: {run.why_not()}"
        return
    for device in DEVICES:
        if (got := run.driver(device)) != case.expected_driver(device):
            yield f"{device.address}: driver {got}, not {case.expected_driver(device)}"
    if case.magisk:
        yield from _magisk(case, run)
    if case.rc:
        yield from _rc(run)
        yield from _ours(case, run)


def _magisk(case: Case, run: Run) -> Iterator[str]:
    """The stand-in for magiskinit ran between the runtime and the original."""
    root = run.facts.get("root", [])
    if "/sbin" not in root:
        yield "magiskinit did not run"
    if left := {"/.backup", "/overlay.d", "/vfioboot"} & set(root):
        yield f"left behind in the root: {' '.join(sorted(left))}"
    if case.rc:
        return
    if (run.one("pid"), run.one("argv")) != ("1", "/init"):
        yield f"the original init is process {run.one('pid')}: {run.one('argv')}"
    if run.one("init") != hashlib.md5((LAB / "guest" / "init").read_bytes()).hexdigest():
        yield "/init is not the original"


def _rc(run: Run) -> Iterator[str]:
    """The system's own rc files do what the documentation of the language says."""
    if (got := run.one("rc-init")) != "1 /init":
        yield f"the init that reads rc files is process {got}"
    for line in run.facts.get("rc-error", []):
        yield f"init: {line}"
    props = run.facts.get("prop", [])
    order = [line for line in props if line.startswith("lab.order=")]
    if order != [f"lab.order={letter}" for letter in "abcd"]:
        yield f"actions ran in another order: {order}"
    for prop in ("lab.watched=1", "lab.imported=lab"):
        if props.count(prop) != 1:
            yield f"{prop} was set {props.count(prop)} times"
    if (got := run.one("words")) != "two words":
        yield f'the file that init writes has "{got}"'
    if "helper 2 arguments, one argument, lab" not in run.facts.get("out", []):
        yield "the system's own service did not run with its arguments"


def _ours(case: Case, run: Run) -> Iterator[str]:
    """What the patch brought is read, or in a boot that is left alone is not there: a file of the user's,
    and the service that starts the guest that is marked, with its device."""
    services = [line.split() for line in run.facts.get("service", [])]
    ours = [(words[0], words[1]) for words in services if words[2].endswith("/vfiorun")]
    label = "u:r:magisk:s0" if case.magisk else "u:r:su:s0"
    if ours != ([("vfiorun", label)] if case.active else []):
        yield f"services that run vfiorun: {ours}"
    for name, _ in ours:
        if f"{name} 0" not in run.facts.get("exited", []):
            yield f"the service {name} did not end well: {run.facts.get('out', [])}"
    started = bool(re.search(rf"-device vfio-pci,\S*host={DISK.address}", run.one("qemu")))
    if started != case.active:
        yield f"the guest: {run.one('qemu') or 'not started'}"
    if (times := run.facts.get("prop", []).count("lab.user=1")) != int(case.active):
        yield f"the user's own rc file had its effect {times} times"
    imported = [file for file in run.facts.get("rc-file", []) if "vfioboot" in file]
    wanted = ["/init.vfioboot.rc", "/init.vfioboot.user.rc"] if case.active and not case.magisk else []
    if imported != wanted:
        yield f"init read {imported}, not {wanted}"
    if not case.active and "/init.vfioboot.rc" in run.facts.get("root", []):
        yield "left behind in the root: /init.vfioboot.rc"

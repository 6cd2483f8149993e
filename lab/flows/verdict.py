"""Whether a boot is as a case wants it; lists what is wrong."""

import hashlib
from collections.abc import Iterator

from family import LAB
from machine import Run

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
        yield "what stands at /init is not the original"

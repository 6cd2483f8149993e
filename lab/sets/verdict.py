"""Whether a boot is as a case wants it; lists what is wrong."""

import hashlib
import re
from collections.abc import Iterator

from machine import DEVICES, Run

from .cases import Case, Mistake
from .original import STAND_IN

NO_PROGRAM = re.compile(r"Kernel panic - .*: (VFS: Unable to mount root fs|No working init found)")
"""The kernel found neither the program on its command line nor a root file system."""


def of_boot(case: Case, run: Run) -> Iterator[str]:
    """What the last program of the boot found."""
    if case.panics:
        if not NO_PROGRAM.search(run.log):
            yield f"the kernel did not panic for want of a program: {'it boots' if run.reached_init else run.why_not()}"
        return
    if not run.reached_init:
        yield f"the original init did not run: {run.why_not()}"
        return
    for device in DEVICES:
        if (got := run.driver(device)) != case.expected_driver(device):
            yield f"{device.address}: driver {got}, not {case.expected_driver(device)}"
    if (run.one("pid"), run.one("argv")) != ("1", "/init"):
        yield f"the original init is process {run.one('pid')}: {run.one('argv')}"
    if run.one("init") != hashlib.md5(STAND_IN.read_bytes()).hexdigest():
        yield "/init is not the original"
    root = run.facts.get("root", [])
    for path, wanted in case.unpacked.items():
        if (path in root) != wanted:
            yield f"{path} is {'not ' if wanted else ''}unpacked"
    ran = case.binds or case.mistake is not Mistake.NONE
    if ran != bool(run.facts.get("dmesg")):
        yield f"the runtime {'did not run' if ran else 'ran'}"
    if ran and "/vfioboot" in root:
        yield "left behind in the root: /vfioboot"

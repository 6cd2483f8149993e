"""Devices that are missing when PID 1 starts, and are plugged in while it waits: family "late"."""

import dataclasses
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import chain
import machine
from family import Case, Family, Lab, Verdict
from machine import NVME, Device, Machine, Plug

PORT = Device("0000:00:05.0", "1b36:000c", "pcieport", "pcie-root-port,id=behind,chassis=1,slot=1")
LATE = Device("0000:01:00.0", NVME, "nvme", "nvme")
_BOARD = Machine(
    devices=(PORT,),
    extra=("-blockdev", "driver=null-co,node-name=disk,size=1048576,read-zeroes=on"),
)
# PID 1 has started, and the slot was empty. Its first message is not a warning, so `quiet` would
# suppress it on the console.
_PLUG = Plug("] vfioboot: ", {"driver": "nvme", "serial": "LATE", "drive": "disk", "bus": "behind"})
_LOUD = "loglevel=7"


@dataclasses.dataclass(frozen=True, kw_only=True)
class LateCase(Case):
    """One boot with an empty slot."""

    device: str = LATE.address
    """The --device option of `vfioboot patch`."""
    wait: int
    """Milliseconds, as --wait."""
    deadline: int
    """Milliseconds, as --deadline."""
    comes: bool = True
    """Whether the device is plugged in as soon as PID 1 has started."""
    waited: int = 0
    """Milliseconds that PID 1 reports to have waited in vain."""


CASES = (
    LateCase(name="comes/by-address", wait=15000, deadline=30000),
    # vfio-pci is built in and has the ID as well: either may bind first
    LateCase(name="comes/by-id", ci=False, device=LATE.id, wait=15000, deadline=30000),
    LateCase(name="stays-away", wait=1200, deadline=20000, comes=False, waited=1200),
    # a part of the deadline is reserved for the work after the wait
    LateCase(name="stays-away/deadline", ci=False, wait=60000, deadline=2000, comes=False, waited=1500),
)


def _wrong(case: LateCase, run: machine.Run) -> Iterator[str]:
    if not run.reached_init:
        yield f"/init did not run: {run.why_not()}"
        return
    wanted = "vfio-pci" if case.comes else "absent"
    if (got := run.driver(LATE)) != wanted:
        yield f"{LATE.address}: {got}, not {wanted}"
    said = "\n".join(run.facts.get("dmesg", []))
    if case.comes and not re.search(r"0000:01:00\.0.*: appeared late, .*, IOMMU group \d", said):
        yield "the runtime does not report that the device appeared late and its group"
    if not case.comes:
        waited = re.search(rf"{case.device}: no such device \(waited (\d+) ms\)", said)
        # the time before the wait counts as well
        if not waited or not case.waited - 300 <= int(waited.group(1)) <= case.waited:
            yield f"the runtime does not report that it waited {case.waited} ms for {case.device}"
    took = re.search(r"done in (\d+) ms", said)
    if not took:
        yield "the runtime does not report that it is done"
    elif int(took.group(1)) >= case.deadline:
        yield f"the runtime took {took.group(1)} ms"


def _run(lab: Lab, cases: Sequence[LateCase], work: Path) -> Verdict:
    (case,) = cases
    images = chain.image(lab, case.kernel, work / "original", compression="lz4_legacy")
    options = ["--device", case.device, "--wait", str(case.wait), "--deadline", str(case.deadline)]
    _, images = chain.patch(lab, images, options, work)
    plugs = [_PLUG] if case.comes else []
    run = chain.boot(lab, _BOARD, images, _LOUD, work, plugs=plugs)
    return {case.name: list(_wrong(case, run))}


FAMILY = Family("late", CASES, _run)

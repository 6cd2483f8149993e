"""PID 1 leaves devices alone when the boots before this one came to nothing: family "guard".

Each boot ends in a panic, whose record the kernel keeps in memory that survives (ramoops), until there
were too many of them.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import chain
import machine
from family import Case, Family, Lab, Verdict
from machine import DISK, NVME, SECOND_DISK, Machine

VFIO = "vfio-pci"
# The memory is a file, so that it survives. The kernel gets less than there is, and pstore the rest.
_RAM = "ram.img"
_SIZE = 512 << 20
_KERNEL = 480 << 20
_START = 0x4000_0000
_BOARD = Machine(
    memory=f"{_SIZE >> 20}M",
    extra=("-object", f"memory-backend-file,id=ram,size={_SIZE},mem-path={_RAM},share=on",
           "-machine", "memory-backend=ram"),
)  # fmt: skip
_PSTORE = (
    f"mem={_KERNEL >> 20}M ramoops.mem_address={_START + _KERNEL:#x} ramoops.mem_size=0x100000 "
    "ramoops.record_size=0x10000"
)
_PANIC = "lab.panic"


@dataclasses.dataclass(frozen=True, kw_only=True)
class GuardCase(Case):
    """Boots of one device, one after the other."""

    kernel: str = "newer"
    boots: tuple[tuple[str, str, str], ...]
    """Of each boot: more of the command line, the driver of the disks, and what PID 1 says."""


CASES = (
    GuardCase(
        name="failed-boots",
        ci=False,
        boots=(
            (_PANIC, VFIO, "2 on vfio-pci"),
            (_PANIC, VFIO, "attempt 2 of 3"),
            (_PANIC, VFIO, "attempt 3 of 3"),
            ("", "nvme", "3 boots ended in a panic"),
        ),
    ),
    # whoever panics without PID 1 having begun does not count
    GuardCase(
        name="panics-of-others",
        ci=False,
        boots=(
            (f"vfioboot.disable {_PANIC}", "nvme", ""),
            (_PANIC, VFIO, "2 on vfio-pci"),
            ("", VFIO, "attempt 2 of 3"),
        ),
    ),
)


def _wrong(number: int, run: machine.Run, driver: str, says: str) -> Iterator[str]:
    if not run.reached_init:
        yield f"boot {number}: /init did not run: {run.why_not()}"
        return
    for device in (DISK, SECOND_DISK):
        if (got := run.driver(device)) != driver:
            yield f"boot {number}: {device.address}: driver {got}, not {driver}"
    if says and not any(says in line for line in run.facts.get("dmesg", [])):
        yield f"boot {number}: the runtime does not say {says!r}: {run.facts.get('dmesg')}"


def _run(lab: Lab, cases: Sequence[GuardCase], work: Path) -> Verdict:
    (case,) = cases
    images = chain.image(lab, case.kernel, work / "original")
    _, images = chain.patch(lab, images, ["--device", NVME], work)
    wrong: list[str] = []
    for number, (words, driver, says) in enumerate(case.boots, 1):
        run = chain.boot(lab, _BOARD, images, f"{_PSTORE} {words}", work, log=f"boot-{number}.log")
        wrong += _wrong(number, run, driver, says)
    return {case.name: wrong}


FAMILY = Family("guard", CASES, _run)

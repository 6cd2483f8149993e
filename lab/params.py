"""What the options of a patch do on a booted device: family "params".

`--iommu` is judged by the type of the default domain that the kernel gives each IOMMU group,
`--block-driver` by the drivers of devices, and PID 1's deadline on a host that is busy.
"""

import contextlib
import dataclasses
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import chain
import machine
from family import Case, Family, Lab, Verdict
from machine import DEVICES, DISK, EDU, NVME, SECOND_DISK, Device

VFIO = "vfio-pci"
BURNERS = 4
TRANSLATED = ("DMA", "DMA-FQ")
NOBODY = {DISK: "none", SECOND_DISK: "none"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ParameterCase(Case):
    """One patch, one boot."""

    options: tuple[str, ...]
    """More arguments of `vfioboot patch`."""
    device: str = NVME
    cmdline: str = ""
    """The command line in the original image."""
    domains: tuple[str, ...] = ()
    """The types that the default domain of each group may have; any if empty."""
    words: tuple[str, ...] = ()
    """What is on the command line."""
    drivers: Mapping[Device, str] = dataclasses.field(default_factory=lambda: {DISK: VFIO, SECOND_DISK: VFIO})
    busy: bool = False
    """Whether the host computes something else meanwhile."""
    said: str = ""
    """A regular expression that the messages of the runtime match."""


def _iommu(mode: str, domains: tuple[str, ...], cmdline: str, *words: str, ci: bool = False) -> ParameterCase:
    return ParameterCase(
        name=f"iommu/{mode}", ci=ci, options=("--iommu", mode), cmdline=cmdline, domains=domains, words=words
    )


CASES: tuple[ParameterCase, ...] = (
    _iommu("translated", TRANSLATED, "iommu.passthrough=1", "iommu.passthrough=0"),
    _iommu("passthrough", ("identity",), "iommu.passthrough=0", "iommu.passthrough=1"),
    _iommu("strict", ("DMA",), "iommu.passthrough=1 iommu.strict=0", "iommu.passthrough=0", "iommu.strict=1", ci=True),
    _iommu("lazy", ("DMA-FQ",), "iommu.strict=1", "iommu.passthrough=0", "iommu.strict=0"),
    _iommu("keep", ("identity",), "iommu.passthrough=1", "iommu.passthrough=1"),
    # the control case for the next
    ParameterCase(name="drivers", ci=False, options=(), device=EDU.address,
                  drivers={EDU: VFIO, DISK: "nvme", SECOND_DISK: "nvme"}),
    ParameterCase(name="block-driver/built-in", options=("--block-driver", "nvme"), device=EDU.address,
                  words=("initcall_blacklist=nvme_init",), drivers={EDU: VFIO, **NOBODY}),
    ParameterCase(name="deadline/busy", options=(), busy=True, said=r"done in \d+ ms: 2 on vfio-pci, 0 problems"),
    # less than a healthy machine takes on such a host, and it is bound all the same
    ParameterCase(name="deadline/busy/short", ci=False, options=("--deadline", "250", "--wait", "0"), busy=True,
                  said=r"done in \d+ ms: 2 on vfio-pci, 0 problems"),
)  # fmt: skip


@contextlib.contextmanager
def _burners(count: int) -> Iterator[None]:
    """Processes that compute, as long as they are needed."""
    command = [sys.executable, "-c", f"import os\nwhile os.getppid() == {os.getpid()}: pass"]
    processes = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _wrong(case: ParameterCase, run: machine.Run) -> Iterator[str]:
    if not run.reached_init:
        yield f"/init did not run: {run.why_not()}"
        return
    for device in DEVICES:
        if device in case.drivers and (got := run.driver(device)) != case.drivers[device]:
            yield f"{device.address}: driver {got}, not {case.drivers[device]}"
    for group in run.facts.get("domain", []):
        if case.domains and group.split()[1] not in case.domains:
            yield f"group {group}, not {' or '.join(case.domains)}"
    if case.domains and "domain" not in run.facts:
        yield "there are no IOMMU groups"
    words = run.facts.get("cmdline", [])
    names = {word.partition("=")[0] for word in case.words}
    if (there := [word for word in words if word.partition("=")[0] in names]) != list(case.words):
        yield f"on the command line: {' '.join(there)}, not {' '.join(case.words)}"
    said = "\n".join(run.facts.get("dmesg", []))
    if not re.search(case.said, said):
        yield f"the runtime does not say {case.said}"
    if bad := re.search(r".*(no progress|left behind|killed|not done).*", said):
        yield f"the runtime says: {bad.group(0)}"


def _run(lab: Lab, cases: Sequence[ParameterCase], work: Path) -> Verdict:
    (case,) = cases
    images = chain.image(lab, case.kernel, work / "original", cmdline=case.cmdline)
    _, images = chain.patch(lab, images, ["--device", case.device, *case.options], work)
    with _burners(BURNERS if case.busy else 0):
        run = chain.boot(lab, machine.Machine(), images, "", work)
    return {case.name: list(_wrong(case, run))}


FAMILY = Family("params", CASES, _run)

"""Android on x86_64: a bzImage in a boot image, and an Intel IOMMU: family "pc".

The emulation of the CPU has no VT-x, so there is no guest here: what is proven is who has the device.
"""

import dataclasses
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import chain
import machine
from compress import compress
from cpio import Archive
from family import LAB, Case, Family, Lab, Verdict, from_script
from images import BOOT, INIT_BOOT, VENDOR_BOOT, Aosp
from machine import DISK, EDU, SECOND_DISK, Device

from .board import Pc

VFIO = "vfio-pci"
# Debian's kernel enables the IOMMU by default: with this the parameters of the patch decide.
_IOMMU_OFF = "intel_iommu=off"
_SYSTEM_LOCK = threading.Lock()


@dataclasses.dataclass(frozen=True, kw_only=True)
class PcCase(Case):
    """One boot of a PC."""

    kernel: str = ""
    patched: bool = True
    board: Pc = dataclasses.field(default_factory=Pc)
    devices: tuple[Device, ...] = (DISK, SECOND_DISK, EDU)
    """The listed devices, by ID or by address."""
    drivers: tuple[str, ...] = (VFIO, VFIO, VFIO)
    """Their driver at the end."""
    groups: bool = True
    """Whether there are IOMMU groups."""


CASES = (
    PcCase(name="vt-d"),
    # the control case for the previous one
    PcCase(name="unpatched", ci=False, patched=False, drivers=("nvme", "nvme", "none")),
    PcCase(name="no-iommu", ci=False, board=Pc(iommu=False), drivers=("nvme", "nvme", "none"), groups=False),
)


def system() -> Path:
    """The system that it boots; see system.sh."""
    with _SYSTEM_LOCK:
        (directory,) = from_script(LAB / "pc" / "system.sh")
    return directory


def android(lab: Lab, system: Path, into: Path, kernel: Path | None = None) -> dict[str, Path]:
    """The images of Cuttlefish, Android's virtual PC, with the system's kernel or another one."""
    archive = Archive()
    archive.directory("bin")
    archive.file("bin/busybox", (system / "busybox").read_bytes(), 0o755)
    archive.file("init", (LAB / "guest" / "init").read_bytes(), 0o750)
    generic, vendor = into / "generic", into / "vendor"
    generic.write_bytes(compress(archive.finish(), "lz4_legacy"))
    archive = Archive()
    archive.directory("first_stage_ramdisk")
    vendor.write_bytes(compress(archive.finish(), "lz4_legacy"))
    images = {name: into / name for name in (BOOT, VENDOR_BOOT, INIT_BOOT)}
    version, aosp = ["--header_version", "4"], Aosp(lab.tools)
    aosp.make(images[BOOT], [*version, "--kernel", str(kernel or system / "vmlinuz")])
    aosp.make(images[INIT_BOOT], [*version, "--ramdisk", str(generic)])
    aosp.make(images[VENDOR_BOOT], [*version, "--vendor_ramdisk", str(vendor), "--vendor_cmdline", _IOMMU_OFF])
    return images


def _wrong(case: PcCase, run: machine.Run) -> Iterator[str]:
    if not run.reached_init:
        yield f"/init did not run: {run.why_not()}"
        return
    if run.one("pid") != "1":
        yield f"/init is process {run.one('pid')}, not 1"
    for device, wanted in zip(case.devices, case.drivers, strict=True):
        if (got := run.driver(device)) != wanted:
            yield f"{device.address}: driver {got}, not {wanted}"
    words = run.facts.get("cmdline", [])
    if case.patched and not {"intel_iommu=on", "iommu=pt"} <= set(words):
        yield f"the patch did not turn the IOMMU on: {' '.join(words)}"
    nodes = [node for node in run.facts.get("group", []) if node != "vfio"]
    wanted_nodes = case.drivers.count(VFIO)
    if len(nodes) != wanted_nodes:
        yield f"/dev/vfio has the groups {nodes}, not {wanted_nodes}"
    groups = [line.split()[-1] for line in run.facts.get("dmesg", []) if "IOMMU group" in line]
    if case.patched and bool(groups) != case.groups:
        yield f"the runtime reports the IOMMU groups {groups}"


def _run(lab: Lab, cases: Sequence[PcCase], work: Path) -> Verdict:
    (case,) = cases
    parts, original = system(), work / "original"
    original.mkdir()
    images = android(lab, parts, original)
    if case.patched:
        ids = dict.fromkeys(device.id for device in case.devices)
        options = [word for device in ids for word in ("--device", device)]
        options += ["--add-module", str(parts / "modules")]
        _, images = chain.patch(lab, images, options, work)
    run = chain.boot(lab, case.board, images, "", work)
    return {case.name: list(_wrong(case, run))}


FAMILY = Family("pc", CASES, _run)

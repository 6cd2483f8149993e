"""Virtual functions of a network card: family "uplink".

One carries the host's only route, and the physical function must not be taken from under it; others are made by
vfiorun and taken back. (A guest has one in device/function.) The card is QEMU's igb, which the QEMU of Debian's
stable release does not have.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import machine
import pc
from cpio import Archive
from family import LAB, Case, Family, Lab, Verdict, from_script
from pc.board import Pc

_HERE = LAB / "uplink"
_DEVICES = (
    "-netdev", "user,id=u0,restrict=on,ipv6=off", "-device", "pcie-root-port,id=port0,chassis=1,addr=4",
    "-device", "igb,netdev=u0,bus=port0,romfile=", "-device", "edu,addr=5",
)  # fmt: skip

_SAYS = r"\(8086:10c9\): eth1 is the only network uplink \(its virtual function 0000:01:10\.0\)"

_IN_USE = Case(name="function-of-igb", ci=False, kernel="")
_MADE = Case(name="functions", ci=False, kernel="")
CASES = (_IN_USE, _MADE)
# the script of each, and the facts that it has to find
_SCRIPTS = {
    _IN_USE.name: ("guest", {
        "function": ["igbvf"], "carrier": ["1"], "bind": ["1"], "own": ["1"], "other": ["0"], "driver": ["igb"],
    }),
    _MADE.name: ("guest-functions", {
        "many": ["2"], "made": ["0"], "number": ["2"], "driver": ["none", "none"],
        "address": ["52:54:00:00:00:01", "52:54:00:00:00:02"], "busy": ["2", "2"],
        "bind": ["0"], "bound": ["vfio-pci"], "back": ["0"], "left": ["0 1"],
    }),
}  # fmt: skip


def _ramdisk(lab: Lab, system: Path, script: str) -> bytes:
    archive = Archive()
    archive.directory("bin")
    archive.file("bin/busybox", (pc.system() / "busybox").read_bytes(), 0o755)
    archive.file("bin/vfiorun", lab.vfiorun.with_name("vfiorun-x86_64").read_bytes(), 0o755)
    archive.file("init", (_HERE / script).read_bytes(), 0o750)
    archive.tree(system / "modules")
    return archive.finish()


def _wrong(case: Case, run: machine.Run) -> Iterator[str]:
    if not run.reached_init:
        yield f"/init did not run: {run.why_not()}"
        return
    for key, values in _SCRIPTS[case.name][1].items():
        if (found := run.facts.get(key, [])) != values:
            yield f"{key} is {found}, not {values}"
    said = "\n".join(run.facts.get("says", []))
    if case is _IN_USE and not re.search(_SAYS, said):
        yield f"vfiorun says: {said}"


def _run(lab: Lab, cases: Sequence[Case], work: Path) -> Verdict:
    (case,) = cases
    (system,) = from_script(_HERE / "system.sh")
    board = Pc(devices=(), extra=_DEVICES, newer=system / "qemu-system-x86_64")
    (work / "initrd").write_bytes(_ramdisk(lab, system, _SCRIPTS[case.name][0]))
    run = machine.boot(
        board, system / "vmlinuz", work / "initrd", "intel_iommu=on", scratch=work, timeout=lab.timeout
    )  # fmt: skip
    return {case.name: list(_wrong(case, run))}


FAMILY = Family("uplink", CASES, _run)

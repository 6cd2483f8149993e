"""A virtual function of a network card carries the host's only route: family "uplink".

The physical function must not be taken from under it. The card is QEMU's igb, which the QEMU of Debian's
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

CASES = (Case(name="function-of-igb", ci=False, kernel=""),)


def _ramdisk(lab: Lab, system: Path) -> bytes:
    archive = Archive()
    archive.directory("bin")
    archive.file("bin/busybox", (pc.system() / "busybox").read_bytes(), 0o755)
    archive.file("bin/vfiorun", lab.vfiorun.with_name("vfiorun-x86_64").read_bytes(), 0o755)
    archive.file("init", (_HERE / "guest").read_bytes(), 0o750)
    archive.tree(system / "modules")
    return archive.finish()


def _wrong(run: machine.Run) -> Iterator[str]:
    if not run.reached_init:
        yield f"/init did not run: {run.why_not()}"
        return
    wanted = {"function": "igbvf", "carrier": "1", "bind": "1", "own": "1", "other": "0", "driver": "igb"}
    for key, value in wanted.items():
        if run.one(key) != value:
            yield f"{key} is {run.one(key)}, not {value}"
    said = "\n".join(run.facts.get("says", []))
    if not re.search(_SAYS, said):
        yield f"vfiorun says: {said}"


def _run(lab: Lab, cases: Sequence[Case], work: Path) -> Verdict:
    (case,) = cases
    (system,) = from_script(_HERE / "system.sh")
    board = type("NewerPc", (Pc,), {"qemu": str(system / "qemu-system-x86_64")})
    (work / "initrd").write_bytes(_ramdisk(lab, system))
    run = machine.boot(
        board(devices=(), extra=_DEVICES), system / "vmlinuz", work / "initrd", "intel_iommu=on",
        scratch=work, timeout=lab.timeout,
    )  # fmt: skip
    return {case.name: list(_wrong(run))}


FAMILY = Family("uplink", CASES, _run)

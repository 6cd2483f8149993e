"""What is in use, on a real kernel: family "in-use".

No tree shows what only the kernel can answer: an exclusive open, routes behind rules, and that the
disk of a drive which reports CMIC (NVMe subsystem) is gone when its controller is taken.
"""

import dataclasses
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import machine
import pc
from cpio import Archive
from family import LAB, Case, Family, Lab, Verdict
from pc.board import Pc

_HERE = LAB / "in_use"
_DISK = "cmic.img"
_NO_NETWORK = "restrict=on,ipv6=off"
_DEVICES = (
    "-drive", f"if=none,id=d0,format=raw,file={_DISK}",
    "-device", "nvme-subsys,id=ss0", "-device", "nvme,id=n0,serial=CMIC,subsys=ss0,addr=3",
    "-device", "nvme-ns,drive=d0,bus=n0,shared=on",
    "-netdev", f"user,id=u0,net=10.0.2.0/24,{_NO_NETWORK}", "-device", "virtio-net-pci,netdev=u0,addr=4",
    "-netdev", f"user,id=u1,net=10.0.3.0/24,{_NO_NETWORK}", "-device", "virtio-net-pci,netdev=u1,addr=5",
)  # fmt: skip
# A disk that takes a minute for what is written to it, until the guest asks for more.
_SLOW = "slow.img"
_SLOW_DEVICE = (
    "-drive", f"if=none,id=slow,format=raw,file={_SLOW},throttling.bps-write=32768",
    "-device", "nvme,id=n1,serial=SLOW,drive=slow,addr=6",
)  # fmt: skip
_FASTER = machine.Plug(
    "LAB faster",
    {"id": "n1", "bps": 0, "bps_rd": 0, "bps_wr": 0, "iops": 0, "iops_rd": 0, "iops_wr": 0},
    "block_set_io_throttle",
)
_FUNCTIONS = "functions.img"
_FUNCTIONS_DEVICE = (
    "-device", "pcie-root-port,id=port0,chassis=1,addr=7", "-device", "nvme-subsys,id=ss1",
    "-device", "nvme,id=n2,serial=SRIOV,subsys=ss1,bus=port0,sriov_max_vfs=1,sriov_vq_flexible=2,sriov_vi_flexible=1",
    "-drive", f"if=none,id=d2,format=raw,file={_FUNCTIONS}", "-device", "nvme-ns,drive=d2,bus=n2,shared=on",
)  # fmt: skip
_DISKS = {_DISK: 16 << 20, _SLOW: 8 << 20, _FUNCTIONS: 1 << 20}
_BOARD = Pc(devices=(), extra=(*_DEVICES, *_SLOW_DEVICE, *_FUNCTIONS_DEVICE))


@dataclasses.dataclass(frozen=True, kw_only=True)
class InUseCase(Case):
    """One question; all are asked in one boot (see guest)."""

    kernel: str = ""
    facts: tuple[tuple[str, str], ...]
    """The expected facts: exit statuses, the driver afterwards, whether the disk still works."""
    says: str = ""
    """A regular expression that the output of vfiorun must match."""

    @property
    def boot(self) -> str:
        return "in-use"


def _refused(name: str, says: str, *facts: tuple[str, str]) -> InUseCase:
    return InUseCase(name=name, facts=(("bind", "1"), ("driver", "nvme"), *facts), says=says)


CASES = (
    _refused("mounted", "nvme0n1 is mounted at /mnt", ("works", "yes"), ("below", "nvme-subsystem")),
    _refused("other-namespace", r"nvme0n1 is mounted at /mnt in the mount namespace of .*sleep"),
    _refused("open", r"sleep \(pid \d+\) has /dev/nvme0n1 open"),
    _refused("loop", "loop0 is made of nvme0n1"),
    # mounted where nobody sees it, by a filesystem that shows nothing in sysfs
    _refused("exclusive", "EBUSY"),
    _refused("swap", "swaps to nvme0n1"),
    InUseCase(name="free", facts=(("bind", "0"), ("driver", "vfio-pci"), ("release", "0"), ("after", "nvme"))),
    InUseCase(name="forced", facts=(("bind", "0"), ("driver", "vfio-pci")), says="taken by force: nvme0n1 is mounted"),
    # the main table has no default route
    InUseCase(
        name="rules", facts=(("main", "0"), ("bind", "1"), ("other", "0")), says="eth0 is the only network uplink"
    ),
    InUseCase(name="session", facts=(("bind", "1"),), says="eth1 carries this session"),
    # to the peer of a tunnel it goes by another card for marked packets than for others
    InUseCase(
        name="wireguard",
        facts=(("unmarked", "eth0"), ("bind", "1"), ("other", "0")),
        says="wg0 is the only network uplink, through eth1; ",
    ),
    InUseCase(
        name="stuck",
        facts=(
            ("bind", "1"), ("forced", "2"), ("still", "yes"), ("status", "0"), ("devices", "0"), ("doctor", "1"),
            ("bundle", "0"), ("again", "2"), ("other", "0"), ("release", "0"), ("meanwhile", "yes"), ("recover", "0"),
            ("driver", "nvme"),
        ),
        says=r"unbinding \S+ from nvme: not back from the kernel after 2 s, it waits in \S+ \(pid \d+ goes on with it",
    ),
    InUseCase(
        name="virtual-function",
        facts=(
            ("functions", "1"), ("idle", "2"), ("bind", "1"), ("function", "0"), ("passed", "1"), ("driver", "nvme"),
        ),
        says=r"one of its functions is on vfio-pci \(its virtual function 0000:01:00\.1\)",
    ),
)  # fmt: skip


def _compiled(name: str, work: Path) -> Path:
    program = work / name
    compiler = ["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-static", "-s"]
    subprocess.run([*compiler, "-o", str(program), str(_HERE / f"{name}.c")], check=True)
    return program


def _ramdisk(lab: Lab, parts: Path, work: Path) -> bytes:
    archive = Archive()
    archive.directory("bin")
    archive.file("bin/busybox", (parts / "busybox").read_bytes(), 0o755)
    archive.file("bin/wg", (parts / "wireguard" / "wg").read_bytes(), 0o755)
    for library in ("lib/libc.so.6", "lib64/ld-linux-x86-64.so.2"):
        archive.directory(library.split("/")[0])
        archive.file(library, (parts / "wireguard" / library).read_bytes(), 0o755)
    archive.file("bin/manage", _compiled("manage", work).read_bytes(), 0o755)
    archive.file("bin/vfiorun", lab.vfiorun.with_name("vfiorun-x86_64").read_bytes(), 0o755)
    archive.file("init", (_HERE / "guest").read_bytes(), 0o750)
    archive.tree(parts / "modules")
    return archive.finish()


def _run(lab: Lab, cases: Sequence[InUseCase], work: Path) -> Verdict:
    parts = pc.system()
    for name, size in _DISKS.items():
        with (work / name).open("wb") as disk:
            disk.truncate(size)
    command = ["mke2fs", "-q", "-t", "ext4", str(work / _DISK)]
    subprocess.run(command, check=True, env={"PATH": "/usr/sbin:/sbin:/usr/bin:/bin"})
    (work / "initrd").write_bytes(_ramdisk(lab, parts, work))
    # as long as the slow disk may take
    cmdline = "intel_iommu=on nvme_core.io_timeout=255"
    run = machine.boot(
        _BOARD, parts / "vmlinuz", work / "initrd", cmdline, scratch=work, timeout=lab.timeout, plugs=[_FASTER]
    )  # fmt: skip
    return {case.name: list(_wrong(case, run)) for case in cases}


def _wrong(case: InUseCase, run: machine.Run) -> Iterator[str]:
    found: dict[str, list[str]] = {}
    section = ""
    for key, value in machine.read_facts(run.log):
        if key == "case":
            section = value
        elif section == case.name:
            found.setdefault(key, []).append(value)
    if "done" not in found:
        yield f"it was {'begun' if found else 'not reached'}: {run.why_not()}"
        return
    for key, wanted in case.facts:
        if (got := found.get(key, [])) != [wanted]:
            yield f"{key}: {got}, not {wanted}"
    said = found.get("says", [])
    if case.says and not any(re.search(case.says, line) for line in said):
        yield f"no output matches {case.says}"


FAMILY = Family("in-use", CASES, _run)

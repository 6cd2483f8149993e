"""VFIO and drivers that are modules of the vendor's ramdisk, loaded as first-stage init does it:
family "modules".

Kernel vfio-m leaves VFIO to modules, Debian's own also NVMe: whoever is to be first must be there
before it. In drivers-m the PCI host bridge is a module as well, the last in modules.load.
"""

import dataclasses
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import chain
import machine
from compress import compress
from cpio import Archive
from family import LAB, Case, Family, Lab, Verdict, from_script
from images import BOOT, INIT_BOOT, VENDOR_BOOT, Aosp
from machine import DISK, EDU, SECOND_DISK, Device

VFIO = "vfio-pci"
# The modules that the vendor loads, if they are modules: the first has no effect.
IN_ORDER = ("vfio_virqfd.ko", "nvme.ko", "pci-host-generic.ko")
PID1, FIRST_STAGE = "loaded by PID 1", "loaded by first-stage init"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModuleCase(Case):
    """One set of images, one patch or none, one boot."""

    kernel: str
    """A variant of the lab's kernel, or `DEBIAN`."""
    devices: tuple[Device, ...] = (DISK, SECOND_DISK)
    vfio_in_ramdisk: bool = True
    """Whether VFIO is among the vendor's modules; otherwise it is added from the kernel's with --add-module."""
    patched: bool = True
    options: tuple[str, ...] = ()
    """More arguments of `vfioboot patch`."""
    loader_cmdline: str = ""
    """Kernel parameters that the bootloader adds."""
    who: str = ""
    """The text in the plan about the loader of the modules."""
    driver: str = VFIO
    """The driver of the devices at the end."""
    blocked: tuple[str, ...] = ()
    """Modules that are not loaded, whose devices have no driver."""


BRIDGE_TOO, DEBIAN = "drivers-m", ""
_DEBIAN_LOCK = threading.Lock()
LISTS = ("--modules-by", "libmodprobe")
DISABLED, CHARGER = "vfioboot.disable", "androidboot.mode=charger"


def _vfio() -> Iterator[ModuleCase]:
    """A device without a driver, for VFIO as modules: only vfio-pci's ids= binds it."""
    edu = ModuleCase(name="", kernel="vfio-m", devices=(EDU,))
    changes: tuple[tuple[str, dict[str, Any]], ...] = (
        ("pid1", {"who": PID1}),
        ("first-stage", {"options": LISTS, "who": FIRST_STAGE}),
        ("first-stage/added", {"options": LISTS, "who": FIRST_STAGE, "vfio_in_ramdisk": False}),
        ("first-stage/disabled", {"options": LISTS, "who": FIRST_STAGE, "loader_cmdline": DISABLED, "driver": "none"}),
        (
            "first-stage/charger",
            {"options": LISTS, "who": FIRST_STAGE, "loader_cmdline": CHARGER, "driver": "none", "ci": False},
        ),
    )
    for name, change in changes:
        yield dataclasses.replace(edu, name=f"vfio/{name}", **change)


def _block() -> Iterator[ModuleCase]:
    """The vendor loads a driver in every boot, and the patch keeps it away."""
    blocked = ModuleCase(name="block-driver", kernel=DEBIAN, devices=(EDU,), options=("--block-driver", "nvme"),
                         blocked=("nvme",))  # fmt: skip
    yield blocked
    # in a boot that is left alone it is there
    yield dataclasses.replace(
        blocked, name="block-driver/disabled", ci=False, loader_cmdline=DISABLED, driver="none", blocked=()
    )


def _race() -> Iterator[ModuleCase]:
    """The disks, whose driver the vendor loads in every boot."""
    disks = ModuleCase(name="", ci=False, kernel=DEBIAN)
    changes: tuple[tuple[str, dict[str, Any]], ...] = (
        # the control case for the others
        ("nvme-wins-unpatched", {"patched": False, "driver": "nvme"}),
        ("pid1", {"who": PID1, "ci": True}),
        ("pid1/added", {"who": PID1, "vfio_in_ramdisk": False}),
        ("first-stage", {"options": LISTS, "who": FIRST_STAGE, "ci": True}),
        ("first-stage/added", {"options": LISTS, "who": FIRST_STAGE, "vfio_in_ramdisk": False}),
        ("first-stage/disabled", {"options": LISTS, "who": FIRST_STAGE, "loader_cmdline": DISABLED, "driver": "nvme"}),
    )
    for name, change in changes:
        yield dataclasses.replace(disks, name=f"race/{name}", **change)
        bridge_too = change | {"kernel": BRIDGE_TOO, "ci": False}
        yield dataclasses.replace(disks, name=f"race/bridge-too/{name}", **bridge_too)


CASES: tuple[ModuleCase, ...] = (*_vfio(), *_block(), *_race())


def debian(name: str) -> Path:
    """The directory of a kernel of Debian's; see kernel/debian.sh."""
    with _DEBIAN_LOCK:
        (directory,) = from_script(LAB / "kernel" / "debian.sh", name)
    return directory


def _kernel(lab: Lab, case: ModuleCase) -> Path:
    """The directory of the kernel."""
    return debian("6.1") if case.kernel == DEBIAN else lab.kernels[case.kernel]


def _vendor_lists(tree: Path, modules: Sequence[Path]) -> Mapping[str, str]:
    """The lists in the form of Android's build: absolute paths, all in one directory."""
    names = {module.name for module in modules}
    lines = []
    for line in (tree / "modules.dep").read_text().splitlines():
        module, _, needs = line.partition(":")
        if Path(module).name in names:
            needed = [f" /lib/modules/{Path(path).name}" for path in needs.split()]
            lines.append(f"/lib/modules/{Path(module).name}:{''.join(needed)}")
    load = [name for name in IN_ORDER if name in names]
    return {
        "modules.dep": "".join(f"{line}\n" for line in lines),
        "modules.load": "".join(f"{name}\n" for name in load),
        "modules.softdep": (tree / "modules.softdep").read_text(),
    }


def _vendor_ramdisk(case: ModuleCase, tree: Path) -> bytes:
    modules = [module for module in sorted(tree.rglob("*.ko")) if case.vfio_in_ramdisk or module.name in IN_ORDER
               or not module.name.startswith("vfio")]  # fmt: skip
    archive = Archive()
    for directory in ("lib", "lib/modules"):
        archive.directory(directory)
    for module in modules:
        archive.file(f"lib/modules/{module.name}", module.read_bytes())
    for name, text in _vendor_lists(tree, modules).items():
        archive.file(f"lib/modules/{name}", text.encode())
    return compress(archive.finish(), "lz4_legacy")


def _generic_ramdisk(busybox: Path) -> bytes:
    archive = Archive()
    archive.directory("bin")
    archive.file("bin/busybox", busybox.read_bytes(), 0o755)
    archive.file("init", (LAB / "guest" / "first-stage").read_bytes(), 0o750)
    archive.file("second-stage", (LAB / "guest" / "init").read_bytes(), 0o750)
    return compress(archive.finish(), "lz4_legacy")


def _originals(case: ModuleCase, lab: Lab, kernel: Path, tree: Path, into: Path) -> dict[str, Path]:
    def part(name: str, data: bytes) -> str:
        path = into / name
        path.write_bytes(data)
        return str(path)

    images, aosp = {name: into / name for name in (BOOT, VENDOR_BOOT, INIT_BOOT)}, Aosp(lab.tools)
    version = ["--header_version", "4", "--os_version", "13.0.0", "--os_patch_level", "2023-05"]
    aosp.make(images[BOOT], [*version, "--kernel", str(kernel / "Image.gz")])
    aosp.make(images[INIT_BOOT], [*version, "--ramdisk", part("generic", _generic_ramdisk(lab.tools / "busybox"))])
    vendor = ["--header_version", "4", "--dtb", part("dtb", bytes(4096)), "--vendor_cmdline", ""]
    vendor += ["--ramdisk_type", "platform", "--ramdisk_name", ""]
    aosp.make(
        images[VENDOR_BOOT], [*vendor, "--vendor_ramdisk_fragment", part("platform", _vendor_ramdisk(case, tree))]
    )
    return images


def racing(lab: Lab, into: Path) -> dict[str, Path]:
    """A set with Debian's kernel, whose first-stage init loads the driver of the disks."""
    kernel = _kernel(lab, case := ModuleCase(name="", kernel=DEBIAN))
    (tree,) = (kernel / "modules" / "lib" / "modules").iterdir()
    return _originals(case, lab, kernel, tree, into)


def _wrong(case: ModuleCase, run: machine.Run) -> Iterator[str]:
    if not run.reached_init:
        yield f"/init did not run: {run.why_not()}"
        return
    if (run.one("pid"), run.one("argv")) != ("1", "/init selinux_setup"):
        yield f"the second stage is process {run.one('pid')}: {run.one('argv')}"
    for device in case.devices:
        if run.driver(device) != case.driver:
            yield f"{device.address}: driver {run.driver(device)}, not {case.driver}"
    # the vendor's modules are loaded in any case
    wanted = {"vfio-m": {"vfio_virqfd"}, BRIDGE_TOO: {"nvme", "pci_host_generic"}, DEBIAN: {"nvme"}}[case.kernel]
    loaded = {line.split()[0] for line in run.facts.get("module", [])}
    if missing := wanted - set(case.blocked) - loaded:
        yield f"not loaded: {' '.join(sorted(missing))}"
    if there := loaded & set(case.blocked):
        yield f"loaded: {' '.join(sorted(there))}"
    if case.blocked and (got := run.driver(DISK)) != "none":
        yield f"{DISK.address}: driver {got}, not none"


def _run_case(lab: Lab, case: ModuleCase, work: Path) -> list[str]:
    kernel = _kernel(lab, case)
    (tree,) = (kernel / "modules" / "lib" / "modules").iterdir()
    original = work / "original"
    original.mkdir()
    images = _originals(case, lab, kernel, tree, original)
    wrong = []
    if case.patched:
        options = ["--device", case.devices[0].id, *case.options]
        options += [] if case.vfio_in_ramdisk else ["--add-module", str(tree)]
        plan, images = chain.patch(lab, images, options, work)
        if case.who not in plan:
            wrong.append(f'the plan does not contain "{case.who}"')
    run = chain.boot(lab, machine.Machine(), images, case.loader_cmdline, work)
    return [*wrong, *_wrong(case, run)]


def _run(lab: Lab, cases: Sequence[ModuleCase], work: Path) -> Verdict:
    (case,) = cases
    return {case.name: _run_case(lab, case, work)}


FAMILY = Family("modules", CASES, _run)

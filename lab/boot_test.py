"""`vfioboot boot-test` finds what a real kernel does: a set that works, and every way in which one does not."""

import dataclasses
import gzip
import json
import re
import subprocess
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import family
import modules
import pc
from compress import compress
from cpio import Archive
from family import Failed, Family, Lab, Verdict
from images import BOOT, INIT_BOOT, VENDOR_BOOT, Aosp
from machine import DISK, NVME
from patching import cases, original, peer

Images = dict[str, Path]

_STATUS = {"proven": 0, "fails": 1, "undecided": 3}
_ABSENT = "10de:1c82"
_BY_INIT = ("--device", NVME, *modules.LISTS)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case(family.Case):
    """A set, patched and then spoiled."""

    header: int = 2
    compression: str = "gzip"
    cmdline: str = ""
    """The command line in the original image."""
    options: tuple[str, ...] = ("--device", NVME)
    """The arguments of `vfioboot patch`; it is not called if there are none."""
    given: tuple[str, ...] = ()
    """The images to patch, by name; all if empty."""
    spoil: Callable[[Lab, Images, Images, Path], Images] = lambda _lab, _originals, patched, _work: patched
    """What is done to the patched images."""
    silent: bool = False
    """Whether the kernel has no console on the serial line."""
    racing: bool = False
    """Whether its first-stage init loads the driver of the disks."""
    on_pc: bool = False
    """Whether it is Android's virtual PC, with Debian's kernel for clouds."""
    debian: str = ""
    """Another kernel of Debian's (kernel/debian.sh), and the initrd that comes with it."""
    verdict: str = "proven"
    fault: str = ""


def _edited(lab: Lab, image: Path, *edits: str) -> Images:
    into = image.with_name(f"edited-{image.name}")
    lab.call("cmdline", image, *edits, "-o", into)
    return {image.name: into}


def _word_alone(lab: Lab, originals: Images, _patched: Images, _work: Path) -> Images:
    return _edited(lab, originals[BOOT], "--add", "rdinit=/vfioboot/init")


def _segment_alone(lab: Lab, _originals: Images, patched: Images, _work: Path) -> Images:
    return _edited(lab, patched[BOOT], "--remove", "rdinit")


def _half_flashed(_lab: Lab, originals: Images, patched: Images, _work: Path) -> Images:
    return originals | {BOOT: patched[BOOT]}


def _each_alone(_lab: Lab, originals: Images, patched: Images, _work: Path) -> Images:
    return originals | {VENDOR_BOOT: patched[VENDOR_BOOT]}


def _with_ramdisk(lab: Lab, image: Path, work: Path, change: Callable[[bytes], bytes], name: str = BOOT) -> Images:
    """The image with another ramdisk, made by AOSP's mkbootimg."""
    aosp = Aosp(lab.tools)
    arguments = aosp.arguments_of(image, work / "spoil")
    ramdisk = Path(arguments[arguments.index("--ramdisk") + 1])
    ramdisk.write_bytes(change(ramdisk.read_bytes()))
    spoiled = work / "spoiled.img"
    aosp.make(spoiled, arguments)
    return {name: spoiled}


def _stopped(lab: Lab, originals: Images, patched: Images, work: Path) -> Images:
    """The segment in gzip, after the same ramdisk in lz4_legacy: the kernel takes it for the size of a block."""
    aosp = Aosp(lab.tools)
    arguments = aosp.arguments_of(originals[BOOT], work / "before")
    before = Path(arguments[arguments.index("--ramdisk") + 1]).read_bytes()
    archive = subprocess.run(["gzip", "-dc"], input=before, capture_output=True, check=True).stdout
    return _with_ramdisk(lab, patched[BOOT], work, lambda after: compress(archive, "lz4_legacy") + after[len(before) :])


def _garbage(lab: Lab, _originals: Images, patched: Images, work: Path) -> Images:
    archive = Archive()
    archive.file("vfioboot/boot.toml", b"\xff\x00 = [[[ this is not a boot file\n" * 20)
    return _with_ramdisk(lab, patched[BOOT], work, lambda after: after + compress(archive.finish(), "gzip"))


def _other_release(lab: Lab, _originals: Images, patched: Images, work: Path) -> Images:
    """Modules of another kernel: their vermagic differs in a digit."""
    return _with_ramdisk(lab, patched[BOOT], work, lambda after: re.sub(rb"(vermagic=\d+\.\d+\.)\d", rb"\g<1>0", after))


def _rebuilt(lab: Lab, _originals: Images, patched: Images, work: Path) -> Images:
    """Another tool rebuilds the ramdisk, and keeps everything in it."""
    return patched | peer.rebuild(Aosp(lab.tools), patched, "gzip", work / "rebuilt")


def _lists_put_back(lab: Lab, _originals: Images, patched: Images, work: Path) -> Images:
    """Another tool puts the vendor's lists of modules back: first-stage init loads the driver of the disks alone."""
    archive = Archive()
    for name in ("modules.load", "modules.softdep"):
        archive.file(f"lib/modules/{name}", b"nvme.ko\n" if name == "modules.load" else b"")
    return patched | _with_ramdisk(
        lab, patched[INIT_BOOT], work, lambda after: after + compress(archive.finish(), "lz4_legacy"), INIT_BOOT
    )


def _first_archive_only(lab: Lab, _originals: Images, patched: Images, work: Path) -> Images:
    """Another tool reads the ramdisk up to the end of its first archive, and builds it again without the rest."""

    def again(ramdisk: bytes) -> bytes:
        member = zlib.decompressobj(wbits=31)
        return compress(member.decompress(ramdisk), "gzip")

    return _with_ramdisk(lab, patched[BOOT], work, again)


def _cut_short(lab: Lab, _originals: Images, patched: Images, work: Path) -> Images:
    """Another tool writes the ramdisk with a size that is too small."""
    return _with_ramdisk(lab, patched[BOOT], work, lambda after: after[:-4096])


def _kernels_of_others() -> Iterator[Case]:
    """Debian's kernels, which have the driver of the disks and VFIO as modules."""
    for name in ("6.1", "6.12", "6.12-16k", "installer"):
        for header in (2, 4):
            yield Case(name=f"debian/{name}/v{header}", ci=False, kernel="", debian=name, header=header)
    yield Case(name="debian/amd64", ci=False, kernel="", debian="amd64", on_pc=True)


CASES = (
    Case(name="proven/v2"),
    Case(name="proven/v4-lz4_legacy/other-id", header=4, compression="lz4_legacy", options=("--device", _ABSENT)),
    Case(name="proven/by-address", options=("--device", "0000:02:00.0", "--device", DISK.address)),
    Case(name="proven/domain", options=("--device", "0004:01:00.0", "--device", DISK.address.replace("0000", "0004"))),
    # the log is in its memory alone
    Case(name="proven/silent", silent=True),
    Case(name="proven/no-console", ci=False, cmdline="console=none"),
    Case(name="proven/rebuilt", ci=False, spoil=_rebuilt),
    Case(name="proven/modules", kernel="vfio-m"),
    Case(name="proven/race", ci=False, kernel="", racing=True, options=_BY_INIT),
    Case(name="proven/pc", ci=False, kernel="", on_pc=True),
    Case(name="proven/hook-init", ci=False, header=4, options=("--device", NVME, "--hook", "init")),
    Case(name="proven/one-of-two-flashed", ci=False, header=4, spoil=_each_alone),
    Case(name="fault/word-alone", spoil=_word_alone, verdict="fails", fault="no_runtime"),
    Case(name="fault/segment-alone", spoil=_segment_alone, verdict="fails", fault="no_word"),
    Case(
        name="fault/half-flashed", header=4, given=(BOOT, INIT_BOOT), options=("--device", NVME, "--hook", "rdinit"),
        spoil=_half_flashed, verdict="fails", fault="no_runtime",
    ),
    Case(name="fault/first-archive-only", spoil=_first_archive_only, verdict="fails", fault="no_runtime"),
    Case(name="fault/cut-short", ci=False, spoil=_cut_short, verdict="fails", fault="not_reached"),
    Case(name="fault/stopped", spoil=_stopped, verdict="fails", fault="not_reached"),
    Case(name="fault/garbage", spoil=_garbage, verdict="fails", fault="unfinished"),
    Case(
        name="fault/no-vfio", kernel="bad", options=("--device", NVME, "--anyway"),
        verdict="fails", fault="not_bound",
    ),
    Case(
        name="fault/other-release", kernel="vfio-m", compression="raw", spoil=_other_release,
        verdict="fails", fault="not_bound",
    ),
    Case(
        name="fault/race", ci=False, kernel="", racing=True, options=_BY_INIT, spoil=_lists_put_back,
        verdict="fails", fault="driver_wins",
    ),
    # the kernel itself does not get as far as its first program
    Case(name="undecided/no-memory", cmdline="mem=20M", verdict="undecided"),
    *_kernels_of_others(),
)  # fmt: skip


def _patch(lab: Lab, case: Case, images: Images, into: Path) -> Images:
    options: list[str | Path] = [*case.options]
    if case.debian:
        options += ["--add-module", modules.debian(case.debian) / "modules"]
    elif case.on_pc:
        options += ["--add-module", pc.system() / "modules"]
    if case.kernel == "vfio-m":
        options += ["--add-module", lab.kernels[case.kernel] / "modules"]
    given = [images[name] for name in case.given or images]
    lab.call("patch", *given, *options, "-d", into)
    return {name: into / name if (into / name).exists() else path for name, path in images.items()}


def _original(lab: Lab, case: Case, into: Path) -> Images:
    made = cases.Case(
        name=case.name, header=case.header, compression=case.compression, kernel=case.kernel, cmdline=case.cmdline
    )
    kernels, system = dict(lab.kernels), b""
    if case.silent:
        kernels[case.kernel] = _without_console(kernels[case.kernel], into / "silent")
    if case.debian:
        kernels[case.kernel] = modules.debian(case.debian)
        initrd = kernels[case.kernel] / "initrd.gz"
        system = initrd.read_bytes() if initrd.exists() else b""
    return original.make(made, Aosp(lab.tools), kernels, lab.tools / "busybox", into, system=system)


def _without_console(kernel: Path, into: Path) -> Path:
    """A kernel that has no console on the serial line of the board: its console has another name."""
    into.mkdir()
    image = (kernel / "Image").read_bytes().replace(b"pl011", b"xl011").replace(b"ttyAMA", b"ttyXMA")
    (into / "Image.gz").write_bytes(gzip.compress(image, 6, mtime=0))
    return into


def _run(lab: Lab, cases_of_boot: Sequence[Case], work: Path) -> Verdict:
    (case,) = cases_of_boot
    into = work / "original"
    into.mkdir()
    if case.on_pc:
        kernel = modules.debian(case.debian) / "vmlinuz" if case.debian else None
        images = pc.android(lab, pc.system(), into, kernel)
    else:
        images = modules.racing(lab, into) if case.racing else _original(lab, case, into)
    patched = _patch(lab, case, images, work / "patched")
    tested = case.spoil(lab, images, patched, work)
    command = [str(lab.vfioboot), "boot-test", *map(str, tested.values()), "--json", "--log", str(work / "serial.log")]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=lab.timeout, check=False
    )
    if done.returncode not in _STATUS.values():
        raise Failed(f"boot-test ended with {done.returncode}: {done.stderr.strip()}")
    report = json.loads(done.stdout)
    wrong = []
    if report["verdict"] != case.verdict or done.returncode != _STATUS[case.verdict]:
        wrong.append(f"the verdict is {report['verdict']} ({done.returncode}): {report['reason']}")
    found = (report["fault"] or {}).get("fault", "")
    if found != case.fault:
        wrong.append(f"the fault is {found or 'none'}, not {case.fault or 'none'}: {report['reason']}")
    return {case.name: wrong}


FAMILY = Family("boot-test", CASES, _run)

"""A kernel reads the bootconfig that vfioboot wrote, with the contents that vfioboot predicts.

The kernel is the judge of the grammar: whatever is in `text`, its /proc/bootconfig and
/proc/cmdline are compared with what `vfioboot cmdline --effective` foretells.
"""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import family
import machine
from compress import compress
from cpio import Archive
from family import LAB, Family, Lab, Verdict
from images import VENDOR_BOOT, Aosp, initramfs


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case(family.Case):
    """One bootconfig, edited and booted."""

    text: str
    """The bootconfig in the original vendor_boot."""
    edits: tuple[str, ...] = ()
    """The arguments of `vfioboot cmdline`."""
    loader: str = ""
    """The text that the bootloader appends."""
    wanted: tuple[str, ...] = ()
    """Lines that have to be in /proc/bootconfig."""
    void: bool = False
    """The kernel rejects the whole bootconfig."""


_EVERYTHING = """\
# comments, braces, arrays, quotes, overrides
androidboot { hardware = lab # behind a value
  list = one, "two;2", # between values
    'thr#ee'
  empty = ""; bare
  deep.er { x=1; y } }
a.b = 1
a.b := 2, 3
a.b += 4
c+= 5 ; d := "6"
kernel.lab_word = 7
kernel { lab_flag; lab_list = 8, 9 }
init.lab_argument = 10
last = spaces around   ;"""

CASES = (
    Case(
        name="edited",
        text="# of the vendor\nandroidboot.hardware=vendor # kept\nandroidboot.other = 1\n",
        edits=(
            "--bootconfig-set", "androidboot.hardware=lab",
            "--bootconfig-set", 'androidboot.new="a;b", c',
            "--bootconfig-remove", "androidboot.other",
        ),
        loader='androidboot.slot_suffix = "_a"\n',
        wanted=(
            'androidboot.hardware = "lab"',
            'androidboot.new = "a;b", "c"',
            'androidboot.slot_suffix = "_a"',
        ),
    ),
    Case(name="grammar", text=_EVERYTHING, edits=("--bootconfig-set", "a.c=new")),
    Case(name="redefined", text="a = 1\nb = 2\na = 3\n", loader="androidboot.mode = normal\n", void=True),
)  # fmt: skip


def _proc_lines(entries: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The lines of /proc/bootconfig that vfioboot predicts."""
    for entry in entries:
        values = [f"'{value}'" if '"' in value else f'"{value}"' for value in entry["values"]]
        yield f"{entry['key']} = {', '.join(values)}" if values else f'{entry["key"]} = ""'


def _judge(case: Case, predicted: dict[str, Any], run: machine.Run) -> Iterator[str]:
    if not run.reached_init:
        yield f"/init did not run: {run.why_not()}"
        return
    lines = run.facts.get("bootconfig", [])
    if case.void:
        if lines:
            yield f"the kernel accepted {lines}"
        if not any("has a value already" in note for note in predicted["notes"]):
            yield f"vfioboot did not predict it: {predicted['notes']}"
        return
    for line in case.wanted:
        if line not in lines:
            yield f"/proc/bootconfig has no {line}: {lines}"
    for line in _proc_lines(predicted["bootconfig"]):
        if line not in lines:
            yield f"vfioboot predicts {line}, /proc/bootconfig has {lines}"
    others = [line for line in lines if not line.startswith(("kernel.", "init.", "androidboot.slot_suffix"))]
    if len(others) != len(predicted["bootconfig"]):
        yield f"vfioboot predicts {len(predicted['bootconfig'])} keys, /proc/bootconfig has {others}"
    words = [word.replace('"', "") for word in run.facts.get("cmdline", [])]
    mine = [word["word"] for word in predicted["words"] if word["counts"]]
    if [word for word in words if word in mine] != mine:
        yield f"vfioboot predicts the parameters {mine}, /proc/cmdline has {words}"


def _run(lab: Lab, cases: Sequence[Case], work: Path) -> Verdict:
    (case,) = cases
    archive = Archive()
    archive.directory("bin")
    archive.file("bin/busybox", (lab.tools / "busybox").read_bytes(), 0o755)
    archive.file("init", (LAB / "guest" / "init").read_bytes(), 0o750)
    ramdisk, config = work / "ramdisk", work / "bootconfig"
    ramdisk.write_bytes(compress(archive.finish(), "gzip"))
    config.write_text(case.text)
    aosp = Aosp(lab.tools)
    image = work / VENDOR_BOOT
    aosp.make(image, [
        "--header_version", "4", "--vendor_ramdisk", str(ramdisk), "--vendor_cmdline", "bootconfig lab_vendor=1",
        "--vendor_bootconfig", str(config),
    ])  # fmt: skip
    if case.edits:
        edited = work / "edited"
        edited.mkdir()
        lab.call("cmdline", image, *case.edits, "-o", edited / VENDOR_BOOT)
        image = edited / VENDOR_BOOT
    predicted = json.loads(lab.call("cmdline", "--effective", "--json", image))
    contents = aosp.take_apart({VENDOR_BOOT: image}, work / "after")
    initrd = work / "initrd"
    initrd.write_bytes(initramfs(contents, case.loader))
    kernel = lab.kernels[case.kernel] / "Image.gz"
    run = machine.boot(machine.Machine(), kernel, initrd, contents.cmdline, scratch=work, timeout=lab.timeout)
    return {case.name: list(_judge(case, predicted, run))}


FAMILY = Family("bootconfig", CASES, _run)

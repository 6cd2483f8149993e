"""Checks the result of a case from the serial log and the disks; yields every failure."""

import dataclasses
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import machine

from .cases import CANARY, DISKS, RAM, RAM_START, Case

Facts = dict[str, list[str]]
_SECTOR = 512
_REPLY_SECTOR = 8


@dataclasses.dataclass(frozen=True)
class Disks:
    """The disks of one machine, each with a random magic."""

    work: Path
    token: str

    def magic(self, device: machine.Device) -> str:
        """The magic at the start of a disk."""
        return f"MAGIC-{self.token}-{device.address.replace(':', '-')}"

    def make(self) -> None:
        """Create all disks."""
        for device in DISKS:
            with (self.work / device.drive).open("wb") as disk:
                disk.write(self.magic(device).encode())
                disk.truncate(1 << 20)

    def reply(self, device: machine.Device) -> str:
        """The answer that a guest wrote to the disk."""
        with (self.work / device.drive).open("rb") as disk:
            disk.seek(_REPLY_SECTOR * _SECTOR)
            return disk.read(_SECTOR).rstrip(b"\0").decode(errors="replace")


def of_case(case: Case, runs: Sequence[machine.Run], disks: Disks) -> Iterator[str]:
    """The failures of a case; there is one more run for each reset."""
    if case.after_reset and not sections(runs[0]).get(case.name, {}).get("reset"):
        yield f"the machine was not reset: {runs[0].why_not()}"
        return
    facts = sections(runs[-1]).get(case.name, {})
    if "done" not in facts:
        yield f"it was {'begun' if facts else 'not reached'}: {runs[-1].why_not()}"
        return
    for key in dict(case.facts):
        wanted = [value for name, value in case.facts if name == key]
        if (got := facts.get(key, [])) != wanted:
            yield f"{key}: {got}, not {wanted}"
    said = facts.get("says", [])
    for pattern in case.says:
        if not any(re.search(pattern, line) for line in said):
            yield f"no output matches {pattern}"
    for key, limit in case.at_most:
        values = facts.get(key, [])
        if len(values) != 1 or int(values[0]) > limit:
            yield f"{key}: {values}, not at most {limit}"
    yield from facts.get("late", [])
    yield from _afterwards(case, facts)
    yield from _answers(case, facts, disks)
    if case.crashes:
        yield from _crashes(facts)
    if case.strays:
        yield from _isolation(facts, disks.work)


def _afterwards(case: Case, facts: Facts) -> Iterator[str]:
    """The state of the machine must be unchanged."""
    wanted = set(facts.get("before", []))
    if case.after_reset:
        # of the previous boot, and discarded by now
        wanted -= {line for line in wanted if line.startswith("journal ")}
    for device in case.gives:
        wanted.discard(f"{device.address} vfio-pci vfio-pci")
        wanted.add(f"{device.address} {device.driver} -")
    found = set(facts.get("after", []))
    for line in sorted(found - wanted):
        yield f"afterwards there is: {line}"
    for line in sorted(wanted - found):
        yield f"before there was: {line}"


def _answers(case: Case, facts: Facts, disks: Disks) -> Iterator[str]:
    """The guest must have read the magic and written its answer, read by the host's driver and from outside."""
    replies = facts.get("reply", [])
    for number, device in enumerate(case.answered):
        wanted = f"REPLY {disks.magic(device)} {case.name}"
        # a later case of the same boot may have written to the disk, never with another magic
        if not disks.reply(device).startswith(f"REPLY {disks.magic(device)} "):
            yield f"{device.drive} has {disks.reply(device)!r} instead of the answer of a guest"
        if replies[number : number + 1] != [wanted]:
            yield f"{device.address}: the host reads {replies[number : number + 1]}, not {wanted}"


def _crashes(facts: Facts) -> Iterator[str]:
    """recover must restore everything, wherever the runtime was killed."""
    crashes = facts.get("crash", [])
    if len(crashes) < 2:
        yield f"it was killed only {len(crashes)} times"
    for number, line in enumerate(crashes, 1):
        if line != "nvme - -":
            yield f"killed after record {number} and recovered: driver, override and QEMU are {line}"


def _isolation(facts: Facts, work: Path) -> Iterator[str]:
    """The SMMU must stop and log a write of the device outside its guest's memory."""
    if not any("event 0x10" in line for line in facts.get("smmu", [])):
        yield f"no translation fault of the SMMU: {facts.get('smmu', [])}"
    with (work / RAM).open("rb") as memory:
        memory.seek(CANARY - RAM_START)
        if any(memory.read(1 << 20)):
            yield "the device wrote to memory outside the guest"


def sections(run: machine.Run) -> dict[str, Facts]:
    """The facts of each case, by case name."""
    found: dict[str, Facts] = {}
    facts: Facts = {}
    for key, value in machine.read_facts(run.log):
        if key == "case":
            facts = found.setdefault(value, {})
        else:
            facts.setdefault(key, []).append(value)
    return found

"""Verdicts on mutants, kept between runs."""

import hashlib
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from mutants.modules import ROOT, Module, Mutant, rows
from mutants.programs import Program, Test


class Verdict(NamedTuple):
    kind: str
    """killed, time, missed, or unreached."""
    test: str

    @property
    def noticed(self) -> bool:
        return self.kind in ("killed", "time")


class Verdicts:
    """The file that they are appended to. That a test notices a mutant stays true while the changed file is
    the same; that none does, only while the test programs are."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.known: dict[str, tuple[str, Verdict]] = {}
        self.sources: dict[str, str] = {}
        if file.exists():
            for name, stamp, kind, test in rows(file):
                self.known[name] = (stamp, Verdict(kind, test))

    def stamp(self, mutant: Mutant, programs: str) -> str:
        if mutant.file not in self.sources:
            self.sources[mutant.file] = hashlib.sha256((ROOT / mutant.file).read_bytes()).hexdigest()[:16]
        return f"{self.sources[mutant.file]} {programs}"

    def get(self, mutant: Mutant, programs: str) -> Verdict | None:
        """What is still true of a mutant."""
        stamp, verdict = self.known.get(mutant.name, ("", Verdict("", "")))
        now = self.stamp(mutant, programs)
        same = stamp.split(" ")[0] == now.split(" ")[0] if verdict.noticed else stamp == now
        return verdict if same else None

    def killer(self, mutant: Mutant) -> str:
        """The test that noticed it before, even if the code has changed."""
        return self.known[mutant.name][1].test if mutant.name in self.known else ""

    def put(self, mutant: Mutant, programs: str, verdict: Verdict) -> None:
        stamp = self.stamp(mutant, programs)
        self.known[mutant.name] = (stamp, verdict)
        with self.file.open("a") as file:
            file.write(f"{mutant.name}\t{stamp}\t{verdict.kind}\t{verdict.test}\n")


def judge(
    module: Module,
    mutants: list[Mutant],
    programs: dict[str, Program],
    tests: list[Test],
    kept: Verdicts,
    again: bool,
    limit: int | None,
) -> dict[Mutant, Verdict]:
    """The verdict on each mutant: by what is kept, or by the tests that reach it; by so many of them, with a limit."""
    mine = [test for test in tests if test.program in module.programs]
    stamp = " ".join([*(programs[name].digest for name in module.programs), *([str(limit)] if limit else [])])
    verdicts: dict[Mutant, Verdict] = {}
    killers: Counter[tuple[str, str]] = Counter()
    shown = time.monotonic()
    for done, mutant in enumerate(mutants):
        verdict = None if again else kept.get(mutant, stamp)
        if verdict is None:
            reaching = [test for test in mine if mutant.number in test.reached]
            ordered = in_order(reaching, mutant, killers, kept.killer(mutant))
            verdict = ask(mutant, ordered[:limit], programs)
            kept.put(mutant, stamp, verdict)
        if verdict.noticed:
            killers[function(mutant), verdict.test] += 1
        verdicts[mutant] = verdict
        if time.monotonic() - shown > 30:
            shown = time.monotonic()
            missed = sum(not verdict.noticed for verdict in verdicts.values())
            print(f"mutants {module.name}: {done + 1} of {len(mutants)}, {missed} not noticed", file=sys.stderr)
    return verdicts


def in_order(tests: list[Test], mutant: Mutant, killers: Counter[tuple[str, str]], killer: str) -> list[Test]:
    """The likely ones first: what noticed it before, what notices others in the function, what is quick."""
    place = function(mutant)
    return sorted(tests, key=lambda test: (str(test) != killer, -killers[place, str(test)], test.seconds))


def function(mutant: Mutant) -> str:
    """The file and the function, if it names one."""
    return f"{mutant.file} {mutant.change.rpartition(' in ')[2]}"


def ask(mutant: Mutant, tests: Iterable[Test], programs: dict[str, Program]) -> Verdict:
    verdict = Verdict("unreached", "")
    for test in tests:
        status = programs[test.program].notices(test, mutant.number)
        if status != "passed":
            return Verdict("time" if status == "time" else "killed", str(test))
        verdict = Verdict("missed", "")
    return verdict

#!/usr/bin/env python3
"""End-to-end tests: boot images and programs of the project on the emulated device and check the result.

Needs the programs of `make setup`; takes kernels and tools from the cache. Without --all and --only
it runs what CI runs.
"""

import argparse
import concurrent.futures
import dataclasses
import fnmatch
import os
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import machine
from families import FAMILIES
from family import LAB, ROOT, Case, Failed, Family, Lab, from_script
from images import Unreadable

WORK = ROOT / "target" / "e2e"
LOG_LINES = 25


@dataclasses.dataclass(frozen=True)
class Boot:
    """The cases that share one run of the machine."""

    family: Family[Any]
    cases: Sequence[Case]

    @property
    def work(self) -> Path:
        """The directory of its images and logs."""
        return WORK / self.family.name / self.cases[0].boot.replace("/", "-")


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The result of one boot."""

    boot: Boot
    wrong: dict[str, Sequence[str]]
    seconds: float


def full_name(family: Family[Any], case: Case) -> str:
    """The name that is printed and matched by --only."""
    return f"{family.name}/{case.name}"


def choose(everything: bool, pattern: str | None) -> list[tuple[Family[Any], Case]]:
    """The cases to run: those that match --only, all cases, or those of CI."""
    chosen = []
    for family in FAMILIES:
        for case in family.cases:
            name = full_name(family, case)
            by_name = pattern is not None and (pattern in name or fnmatch.fnmatchcase(name, pattern))
            if by_name or (pattern is None and (everything or case.ci)):
                chosen.append((family, case))
    return chosen


def boots(chosen: list[tuple[Family[Any], Case]]) -> Iterator[Boot]:
    """The cases grouped by the boot that they share."""
    by_boot: dict[tuple[str, str], list[Case]] = {}
    for family, case in chosen:
        by_boot.setdefault((family.name, case.boot), []).append(case)
    families = {family.name: family for family in FAMILIES}
    for (family_name, _), cases in by_boot.items():
        yield Boot(families[family_name], cases)


def attempt(lab: Lab, boot: Boot) -> Outcome:
    """Run a boot in its own directory. Large files are removed if all cases passed; logs are kept."""
    work = boot.work
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    started = time.monotonic()
    failure: tuple[str, ...] = ()
    verdict: dict[str, Sequence[str]] = {}
    try:
        verdict = dict(boot.family.run(lab, boot.cases, work))
    except Failed as failed:
        failure = failed.args
    except (Unreadable, OSError, subprocess.SubprocessError) as error:
        failure = (str(error),)
    except Exception:  # a mistake of the lab's own must not hide the other cases
        failure = (traceback.format_exc(),)
    wrong = {case.name: failure or verdict.get(case.name, ("nothing was found out about it",)) for case in boot.cases}
    if not any(wrong.values()):
        for path in work.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.suffix != ".log":
                path.unlink()
    return Outcome(boot, wrong, time.monotonic() - started)


def report(outcome: Outcome) -> int:
    """Print one line per case, with its failures, and the end of the log once; returns the number of failures."""
    failures = 0
    for case in outcome.boot.cases:
        wrong = outcome.wrong[case.name]
        print(f"{'FAIL' if wrong else 'ok  '} {full_name(outcome.boot.family, case)}  {outcome.seconds:.1f}s")
        for line in wrong:
            print(f"     {line}")
        failures += bool(wrong)
    if failures:
        for log in sorted(outcome.boot.work.glob("*.log")):
            lines = log.read_text(errors="replace").splitlines()
            print(f"     the end of {os.path.relpath(log)}:")
            for line in lines[-LOG_LINES:]:
                print(f"       {line}")
    sys.stdout.flush()
    return failures


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--all", action="store_true", help="run all cases, and not only those of CI")
    which.add_argument("--only", metavar="PATTERN", help="run the cases whose name contains or matches PATTERN")
    parser.add_argument("--list", action="store_true", help="print the names of the cases and stop")
    parser.add_argument("-j", type=int, default=2, metavar="N", dest="jobs", help="boots at a time (2)")
    parser.add_argument("--timeout", type=float, default=180, metavar="S", help="seconds a boot may take (180)")
    parser.add_argument("--vfioboot", type=Path, default=ROOT / "dist" / "vfioboot", metavar="FILE",
                        help="the program to test (dist/vfioboot)")  # fmt: skip
    parser.add_argument("--vfiorun", type=Path, default=ROOT / "dist" / "vfiorun-aarch64", metavar="FILE",
                        help="the program to test on the device (dist/vfiorun-aarch64)")  # fmt: skip
    return parser.parse_args()


def main() -> int:
    options = arguments()
    chosen = choose(options.all, options.only)
    if options.list:
        print("\n".join(full_name(family, case) for family, case in chosen))
        return 0
    if not chosen:
        print(f"error: no case matches {options.only}: see --all --list", file=sys.stderr)
        return 2
    for program in (options.vfioboot, options.vfiorun):
        if not os.access(program, os.X_OK):
            print(f"error: {program} is missing: build it with make dist", file=sys.stderr)
            return 2
    variants = sorted({case.kernel for _, case in chosen if case.kernel})
    try:
        # without a name it builds all of them
        built = from_script(LAB / "kernel" / "build.sh", *variants) if variants else []
        kernels = dict(zip(variants, built, strict=True))
        (tools,) = from_script(LAB / "tools.sh")
    except subprocess.CalledProcessError as error:
        print(f"error: {error.cmd[0]} failed", file=sys.stderr)
        return 2
    lab = Lab(options.vfioboot.resolve(), options.vfiorun.resolve(), tools, kernels, options.timeout)

    started, cpu, failures = time.monotonic(), machine.cpu_seconds(), 0
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for done in concurrent.futures.as_completed([pool.submit(attempt, lab, boot) for boot in boots(chosen)]):
            failures += report(done.result())
    print(f"{time.monotonic() - started:.0f} s, {machine.cpu_seconds() - cpu:.0f} CPU seconds")
    print(f"{len(chosen) - failures} passed, {failures} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

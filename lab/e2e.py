#!/usr/bin/env python3
"""End to end: patch original images, boot the result on the emulated device, read the verdict.

Needs the programs of `make setup`; takes kernels, busybox and AOSP's tools from the cache.
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
from pathlib import Path

import machine
import original
import verdict
from cases import CASES, Case
from compression import compress
from cpio import Archive
from images import Aosp, Unreadable, initramfs

LAB = Path(__file__).resolve().parent
ROOT = LAB.parent
LOG_LINES = 25


class Failed(Exception):
    """A case did not come out as it should; each argument is one thing that is wrong."""


@dataclasses.dataclass(frozen=True)
class Lab:
    """What all cases share."""

    vfioboot: Path
    tools: Path
    kernels: dict[str, Path]
    work: Path
    timeout: float

    def call(self, *arguments: str | Path) -> None:
        """Run vfioboot; its own message is the reason when it fails."""
        command = [str(self.vfioboot), *map(str, arguments)]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=self.timeout, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise Failed(f"vfioboot {arguments[0]} ended with {done.returncode}: {done.stdout.strip()}")


def patch(lab: Lab, case: Case, images: dict[str, Path], into: Path) -> dict[str, Path]:
    """Patch; the value is the images that were written, by name."""
    into.mkdir()
    options: list[str | Path] = []
    for device in case.devices:
        options += ["--device", device]
    if case.modules:
        # in the wrong order: sorting them is vfioboot's work
        for module in sorted((lab.kernels[case.kernel] / "modules").rglob("*.ko"), reverse=True):
            options += ["--add-module", module]
    single = len(images) == 1
    where = ["-o", into / next(iter(images))] if single else ["-d", into]
    lab.call("patch", *images.values(), *options, *where)
    written = {name: into / name for name in images if (into / name).exists()}
    if not written:
        raise Failed("vfioboot patch wrote no image")
    return written


def unpatch(lab: Lab, images: dict[str, Path], patched: dict[str, Path], into: Path) -> list[str]:
    """Take the patch back; the value is what does not come back as it was."""
    into.mkdir()
    where = ["-o", into / next(iter(images))] if len(images) == 1 else ["-d", into]
    lab.call("unpatch", *patched.values(), *where)
    wrong = []
    for name in patched:
        back = into / name
        if not back.exists():
            wrong.append(f"unpatch wrote no {name}")
        elif back.read_bytes() != images[name].read_bytes():
            wrong.append(f"unpatch does not give back the original {name}")
    return wrong


def garbage_segment(case: Case) -> bytes:
    archive = Archive()
    archive.directory("vfioboot")
    archive.file("vfioboot/boot.toml", b"\xff\x00 = [[[ this is no boot file\n" * 20)
    return compress(archive.finish(), case.compression)


def run_case(lab: Lab, case: Case, work: Path) -> float:
    """All of one case; the value is the seconds that the boot took."""
    directories = {name: work / name for name in ("original", "before", "after", "again")}
    for directory in directories.values():
        directory.mkdir()
    aosp = Aosp(lab.tools)
    images = original.make(case, aosp, lab.kernels, lab.tools / "busybox", directories["original"])
    digest = {name: path.read_bytes() for name, path in images.items()}
    before = aosp.take_apart(images, directories["before"])

    patched = patch(lab, case, images, work / "patched")
    wrong = [f"the input file {name} was written to" for name in images if images[name].read_bytes() != digest[name]]
    after = aosp.take_apart(images | patched, directories["after"])
    wrong += verdict.of_patch(before, after)
    for name, image in patched.items():
        if not aosp.rebuilds(image, directories["again"]):
            wrong.append(f"AOSP's mkbootimg makes another {name} of the same contents")

    if case.garbage:
        name, data = after.ramdisks[-1]
        after.ramdisks[-1] = (name, data + garbage_segment(case))
    kernel, initrd = work / "kernel", work / "initrd"
    kernel.write_bytes(after.kernel)
    initrd.write_bytes(initramfs(after, case.loader_bootconfig))
    cmdline = f"{case.loader_cmdline} {after.cmdline}".strip()
    boot = machine.boot(kernel, initrd, cmdline, console=case.console, scratch=work, timeout=lab.timeout)
    wrong += verdict.of_boot(case, boot)
    wrong += unpatch(lab, images, patched, work / "unpatched")
    if wrong:
        raise Failed(*wrong)
    return boot.seconds


@dataclasses.dataclass
class Outcome:
    case: Case
    wrong: tuple[str, ...]
    seconds: float


def attempt(lab: Lab, case: Case) -> Outcome:
    """Run a case in a directory of its own. What is big goes when it passed; the log stays."""
    work = lab.work / case.name.replace("/", "-")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    started = time.monotonic()
    wrong: tuple[str, ...] = ()
    try:
        run_case(lab, case, work)
    except Failed as failed:
        wrong = failed.args
    except (Unreadable, OSError, subprocess.SubprocessError) as error:
        wrong = (str(error),)
    except Exception:  # a mistake of the lab's own must not hide the other cases
        wrong = (traceback.format_exc(),)
    if not wrong:
        for path in work.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != "serial.log":
                path.unlink()
    return Outcome(case, wrong, time.monotonic() - started)


def report(lab: Lab, outcome: Outcome) -> None:
    if not outcome.wrong:
        print(f"ok   {outcome.case.name}  {outcome.seconds:.1f}s", flush=True)
        return
    print(f"FAIL {outcome.case.name}  {outcome.seconds:.1f}s")
    for line in outcome.wrong:
        print(f"     {line}")
    log = lab.work / outcome.case.name.replace("/", "-") / "serial.log"
    if log.exists():
        lines = log.read_text(errors="replace").splitlines()
        print(f"     the end of {os.path.relpath(log)}:")
        for line in lines[-LOG_LINES:]:
            print(f"       {line}")
    sys.stdout.flush()


def from_script(script: Path, *arguments: str) -> list[Path]:
    """The directories that one of the lab's own scripts prints."""
    done = subprocess.run([str(script), *arguments], stdout=subprocess.PIPE, text=True, check=True)
    return [Path(line) for line in done.stdout.splitlines()]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", metavar="PATTERN", help="run the cases whose name contains or matches PATTERN")
    parser.add_argument("--list", action="store_true", help="print the names of the cases and stop")
    parser.add_argument("-j", type=int, default=2, metavar="N", dest="jobs", help="cases at a time (2)")
    parser.add_argument("--timeout", type=float, default=90, metavar="S", help="seconds a boot may take (90)")
    parser.add_argument("--vfioboot", type=Path, default=ROOT / "dist" / "vfioboot", metavar="FILE",
                        help="the program to test (dist/vfioboot)")  # fmt: skip
    return parser.parse_args()


def main() -> int:
    options = arguments()
    pattern = options.only or "*"
    cases = [case for case in CASES if pattern in case.name or fnmatch.fnmatchcase(case.name, pattern)]
    if options.list:
        print("\n".join(case.name for case in cases))
        return 0
    if not cases:
        print(f"error: no case is called {pattern}: see --list", file=sys.stderr)
        return 2
    if not os.access(options.vfioboot, os.X_OK):
        print(f"error: {options.vfioboot} is not there: make dist", file=sys.stderr)
        return 2
    variants = sorted({case.kernel for case in cases})
    try:
        kernels = dict(zip(variants, from_script(LAB / "kernel" / "build.sh", *variants), strict=True))
        (tools,) = from_script(LAB / "tools.sh")
    except subprocess.CalledProcessError as error:
        print(f"error: {error.cmd[0]} failed", file=sys.stderr)
        return 2
    lab = Lab(options.vfioboot.resolve(), tools, kernels, ROOT / "target" / "e2e", options.timeout)

    started, cpu, failures = time.monotonic(), machine.cpu_seconds(), 0
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for done in concurrent.futures.as_completed([pool.submit(attempt, lab, case) for case in cases]):
            outcome = done.result()
            failures += bool(outcome.wrong)
            report(lab, outcome)
    print(f"{time.monotonic() - started:.0f} s, {machine.cpu_seconds() - cpu:.0f} CPU seconds")
    print(f"{len(cases) - failures} passed, {failures} failed")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

"""Test programs: their tests, what each test reaches, and what it says of a mutant."""

import hashlib
import json
import math
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

GIB = 1 << 30


class Test(NamedTuple):
    program: str
    name: str
    seconds: float
    cpu: float
    reached: frozenset[int]

    def __str__(self) -> str:
        return f"{self.program} {self.name}"


class Outcome(NamedTuple):
    status: str
    """passed, failed, or time."""
    seconds: float
    cpu: float
    output: str


def digest(files: list[Path], start: str = "") -> str:
    """Of the files that there are."""
    all_of_them = hashlib.sha256(start.encode())
    for file in files:
        if file.is_file():
            all_of_them.update(file.read_bytes())
    return all_of_them.hexdigest()[:16]


class Program:
    """A program of tests, each of which runs alone."""

    def __init__(self, name: str, executable: Path, tree: Path) -> None:
        self.name = name
        self.executable = executable
        self.tree = tree
        self.digest = digest([executable])
        folders = ("src", "build", "fixtures", "tests/common")
        self.common = digest([path for folder in folders for path in sorted((tree / folder).rglob("*"))])

    def names(self) -> list[str]:
        """Its tests, without those that are left out unless they are asked for."""
        words = [str(self.executable), "--list", "--format", "terse"]
        output = subprocess.run(words, cwd=self.tree, check=True, capture_output=True, text=True).stdout
        ignored = subprocess.run(
            [*words, "--ignored"], cwd=self.tree, check=True, capture_output=True, text=True
        ).stdout.splitlines()
        lines = [line for line in output.splitlines() if line not in ignored]
        return [line.removesuffix(": test") for line in lines if line.endswith(": test")]

    def run(self, test: str, environment: dict[str, str], seconds: float, cpu: float) -> Outcome:
        """Run one test within limits: a mutant may loop, or allocate without end."""
        limits = [f"--cpu={math.ceil(cpu)}", f"--as={6 * GIB}", "--core=0"]
        words = ["prlimit", *limits, str(self.executable), "--exact", test, "--test-threads=1"]
        with tempfile.TemporaryDirectory(prefix="m.", ignore_cleanup_errors=True) as scratch:
            variables = {**os.environ, **environment, "TMPDIR": scratch, "CARGO_MANIFEST_DIR": str(self.tree)}
            # the same cases in each run
            variables |= {"RUST_BACKTRACE": "0", "PROPTEST_RNG_SEED": "1"}
            # tests start programs as another user
            Path(scratch).chmod(0o755)
            started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
            with Path(scratch, "output").open("w+b") as output:
                process = subprocess.Popen(
                    words, cwd=self.tree, env=variables, start_new_session=True,
                    stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                )  # fmt: skip
                try:
                    code = process.wait(timeout=seconds)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
                    code = -signal.SIGXCPU
                output.seek(0)
                text = output.read().decode(errors="replace")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        status = {0: "passed", -signal.SIGXCPU: "time"}.get(code, "failed")
        return Outcome(status, time.monotonic() - started, used, text)

    def tests(self, cache: Path) -> list[Test]:
        """Its tests, after each has run without a mutant; all have to pass. What is known of a test stays true
        while its file and the library are the same."""
        kept = cache / f"{self.name}.json"
        known: dict[str, list[Any]] = json.loads(kept.read_text()) if kept.is_file() else {}
        names = {name: self.stamp(name) for name in self.names()}
        missing = [name for name, stamp in names.items() if known.get(name, [""])[0] != stamp]
        if missing:
            print(f"mutants: what {len(missing)} tests of {self.name} reach", file=sys.stderr)
        try:
            for name in missing:
                seconds, cpu, reached = self.reach(name)
                known[name] = [names[name], seconds, cpu, sorted(reached)]
        finally:
            cache.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps(known))
        found = ((name, known[name]) for name in names)
        return [Test(self.name, name, row[1], row[2], frozenset(row[3])) for name, row in found]

    def stamp(self, test: str) -> str:
        """A digest of what a test is made of."""
        own = self.tree / "tests" / self.name
        return digest([own / "main.rs", own / f"{test.split('::', maxsplit=1)[0]}.rs"], self.common)

    def reach(self, test: str) -> tuple[float, float, list[int]]:
        """What a test reaches, and how long it takes. One that fails may try again: a busy machine is no mutant."""
        for attempt in (1, 2):
            with tempfile.TemporaryDirectory(prefix="m.") as scratch:
                file = Path(scratch, "reached")
                outcome = self.run(test, {"VFIOBOOT_MUTANT_REACHED": str(file)}, seconds=120, cpu=120)
                numbers = file.read_text().split() if file.exists() else []
            if outcome.status == "passed":
                return outcome.seconds, outcome.cpu, [int(number) for number in numbers]
            print(f"mutants: {self.name} {test}: {outcome.status} without a mutant, attempt {attempt}", file=sys.stderr)
        sys.exit(f"{outcome.output}\nerror: mutants: {self.name} {test} fails without a mutant")

    def notices(self, test: Test, mutant: int) -> str:
        """Whether the test fails, or takes very much longer, when the mutant is on."""
        limits = {"seconds": 20 * test.seconds + 10, "cpu": 10 * test.cpu + 4}
        return self.run(test.name, {"VFIOBOOT_MUTANT": str(mutant)}, **limits).status

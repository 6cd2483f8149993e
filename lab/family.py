"""The interface between the runner of the end-to-end tests and the families of cases.

A family is a module of its own that has its cases as data and one way to run them. It knows the
machine and this file; the frame (e2e.py) knows only this file and the list in families.py.
"""

import dataclasses
import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

LAB = Path(__file__).resolve().parent
ROOT = LAB.parent


class Failed(Exception):
    """A case failed; each argument is one failure."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """One test, and one line of the result. Families add further fields."""

    name: str
    ci: bool = True
    """Whether it is part of `make e2e`; the others run only in `make e2e-full`."""
    kernel: str = "good"
    """Variant of the lab's kernel; empty if the case uses another one."""

    @property
    def boot(self) -> str:
        """Cases of one family with the same boot share one run of the machine."""
        return self.name


@dataclasses.dataclass(frozen=True)
class Lab:
    """The resources shared by all cases."""

    vfioboot: Path
    vfiorun: Path
    """For the emulated device: arm64, static."""
    tools: Path
    """busybox, mkbootimg and unpack_bootimg; see tools.sh."""
    kernels: Mapping[str, Path]
    """The directories of the lab's kernels, by variant; see kernel/build.sh."""
    timeout: float
    """Seconds that one boot may take."""

    def call(self, *arguments: str | Path) -> str:
        """Run vfioboot and return its output. Raises `Failed` with the output if it fails."""
        command = [str(self.vfioboot), *map(str, arguments)]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=self.timeout, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise Failed(f"vfioboot {arguments[0]} ended with {done.returncode}: {done.stdout.strip()}")
        return done.stdout

    def answer(self, *arguments: str | Path) -> Any:
        """Run vfioboot with --json and return what it says. Raises `Failed` with its errors if it fails."""
        command = [str(self.vfioboot), *map(str, arguments), "--json"]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=self.timeout, check=False
        )
        if done.returncode != 0:
            raise Failed(f"vfioboot {arguments[0]} ended with {done.returncode}: {done.stderr.strip()}")
        return json.loads(done.stdout)


Verdict = Mapping[str, Sequence[str]]
"""The failures by case name; empty for a case that passed."""


C = TypeVar("C", bound=Case)


@dataclasses.dataclass(frozen=True)
class Family(Generic[C]):
    """Cases that are run in the same way."""

    name: str
    """The prefix of the names of its cases."""
    cases: Sequence[C]
    run: Callable[[Lab, Sequence[C], Path], Verdict]
    """Run the cases of one boot in an empty directory. Raises `Failed` if all of them failed."""


def from_script(script: Path, *arguments: str) -> list[Path]:
    """The directories printed by a script of the lab."""
    done = subprocess.run([str(script), *arguments], stdout=subprocess.PIPE, text=True, check=True)
    return [Path(line) for line in done.stdout.splitlines()]

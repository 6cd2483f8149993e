"""What the frame of the end-to-end tests and the families of cases agree on.

A family is a module of its own that has its cases as data and one way to run them. It knows the
machine and this file; the frame (e2e.py) knows only this file and the list in families.py.
"""

import dataclasses
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Generic, TypeVar

LAB = Path(__file__).resolve().parent
ROOT = LAB.parent


class Failed(Exception):
    """What was run did not come out as it should; each argument is one thing that is wrong."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """One thing that has to be true, and one line of the result. Families add to it what they need."""

    name: str
    ci: bool = True
    """Part of `make e2e`; the others run in `make e2e-full` only."""
    kernel: str = "good"
    """Variant of the lab's kernel; empty where the case brings another one."""

    @property
    def boot(self) -> str:
        """Cases of one family that name the same boot share one run of the machine."""
        return self.name


@dataclasses.dataclass(frozen=True)
class Lab:
    """What all cases share."""

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
        """Run vfioboot; the value is what it prints, and when it fails that is the reason."""
        command = [str(self.vfioboot), *map(str, arguments)]
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            timeout=self.timeout, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise Failed(f"vfioboot {arguments[0]} ended with {done.returncode}: {done.stdout.strip()}")
        return done.stdout


Verdict = Mapping[str, Sequence[str]]
"""By the name of a case, what is wrong: nothing for a case that passed."""


C = TypeVar("C", bound=Case)


@dataclasses.dataclass(frozen=True)
class Family(Generic[C]):
    """Cases that are run in the same way."""

    name: str
    """Stands before the names of its cases."""
    cases: Sequence[C]
    run: Callable[[Lab, Sequence[C], Path], Verdict]
    """Run cases of one boot in an empty directory. Raises `Failed` where that speaks for all of them."""


def from_script(script: Path, *arguments: str) -> list[Path]:
    """The directories that one of the lab's own scripts prints."""
    done = subprocess.run([str(script), *arguments], stdout=subprocess.PIPE, text=True, check=True)
    return [Path(line) for line in done.stdout.splitlines()]

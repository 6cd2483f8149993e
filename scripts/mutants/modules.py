"""The tables in tests/mutants, and the mutants of a module."""

from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
TABLES = ROOT / "tests" / "mutants"


class Module(NamedTuple):
    name: str
    files: frozenset[str]
    programs: tuple[str, ...]
    """The test programs that have to notice; "lib" are the tests beside the code."""


class Mutant(NamedTuple):
    number: int
    state: str
    """made; constant: the compiler evaluates it; unfit: it cannot be beside the original."""
    file: str
    line: int
    change: str

    @property
    def name(self) -> str:
        """Without the line, which changes."""
        return f"{self.file}: {self.change}"

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.change}"


def rows(table: Path) -> list[list[str]]:
    lines = table.read_text().splitlines()
    return [line.split("\t") for line in lines if line and not line.startswith("#")]


def modules() -> list[Module]:
    """All modules, the smallest first."""
    found = []
    for name, pattern, programs in rows(TABLES / "modules.tsv"):
        files = frozenset(path.relative_to(ROOT).as_posix() for path in ROOT.glob(pattern))
        found.append(Module(name, files, tuple(programs.split())))
    return sorted(found, key=lambda module: sum((ROOT / file).stat().st_size for file in module.files))


def accepted() -> set[str]:
    """Names of mutants that no test can notice, each with its reason in the table."""
    return {row[0] for row in rows(TABLES / "accepted.tsv")}

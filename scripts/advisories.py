#!/usr/bin/env python3
"""Fail when a crate in a Cargo.lock has a known vulnerability.

advisories.py                  by scripts/advisories.tsv, a copy of what concerns our crates, with its date
advisories.py --database DIR   by a checkout of RustSec's advisory-db
advisories.py --pin DIR        write the copy again, from such a checkout

Where the database itself can be fetched, `cargo deny check advisories` asks it. What deny.toml ignores,
with a reason, is ignored here, too.
"""

import argparse
import pathlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parent.parent
COPY = ROOT / "scripts" / "advisories.tsv"
LOCKS = ("Cargo.lock", "fuzz/Cargo.lock", "python/Cargo.lock")

Version = tuple[int, int, int]


class Advisory(NamedTuple):
    crate: str
    id: str
    """Ranges of versions without the fault, patched or never affected, separated by "|"."""
    fine: str


def version(text: str) -> tuple[Version, str]:
    """The numbers and the name of a pre-release, which is "" for a release."""
    text, _, pre = text.strip().split("+")[0].partition("-")
    numbers = [int(part) for part in text.split(".")] + [0, 0]
    return (numbers[0], numbers[1], numbers[2]), pre


def order(text: str) -> tuple[Version, bool, str]:
    numbers, pre = version(text)
    return numbers, pre == "", pre


def next_incompatible(numbers: Version) -> Version:
    major, minor, patch = numbers
    if major:
        return major + 1, 0, 0
    return (0, minor + 1, 0) if minor else (0, 0, patch + 1)


def satisfies(have: str, requirement: str) -> bool:
    """Whether a version is in a range as Cargo writes it, such as ">= 0.11.6, < 0.12.0"."""
    for part in requirement.split(","):
        match = re.fullmatch(r"\s*(>=|<=|>|<|=|\^|~)?\s*([0-9][^\s]*)\s*", part)
        if match is None:
            raise ValueError(f"not a range of versions: {requirement!r}")
        operator, bound = match[1] or "^", match[2]
        mine, its = order(have), order(bound)
        upper = next_incompatible(its[0])
        if operator == "~":
            upper = (its[0][0], its[0][1] + 1, 0)
        holds = {
            ">=": mine >= its,
            "<=": mine <= its,
            ">": mine > its,
            "<": mine < its,
            "=": mine == its,
            "^": mine >= its and mine[0] < upper,
            "~": mine >= its and mine[0] < upper,
        }
        if not holds[operator]:
            return False
    return True


def locked() -> dict[str, set[str]]:
    """The versions of each crate."""
    found: dict[str, set[str]] = {}
    for lock in LOCKS:
        for package in tomllib.loads((ROOT / lock).read_text())["package"]:
            if "source" in package:
                found.setdefault(package["name"], set()).add(package["version"])
    return found


def database(directory: pathlib.Path, crates: dict[str, set[str]]) -> Iterator[Advisory]:
    """The advisories for these crates."""
    for crate in sorted(crates):
        for file in sorted((directory / "crates" / crate).glob("*.md")):
            front = file.read_text().split("```toml\n", 1)[1].split("\n```", 1)[0]
            entry = tomllib.loads(front)
            advisory, versions = entry["advisory"], entry["versions"]
            # an "unmaintained" is no vulnerability; a dependency is looked at when it is updated
            if "withdrawn" in advisory or advisory.get("informational") in ("unmaintained", "notice"):
                continue
            fine = [*versions.get("patched", []), *versions.get("unaffected", [])]
            yield Advisory(crate, advisory["id"], " | ".join(fine))


def pinned() -> tuple[str, set[str], list[Advisory]]:
    """The date of the copy, the crates that it was made for, and its advisories."""
    date, crates, advisories = "", set(), []
    for line in COPY.read_text().splitlines():
        if line.startswith("# date: "):
            date = line.removeprefix("# date: ")
        elif line.startswith("# crates: "):
            crates = set(line.removeprefix("# crates: ").split())
        elif line and not line.startswith("#"):
            advisories.append(Advisory(*line.split("\t")))
    return date, crates, advisories


def pin(directory: pathlib.Path, crates: dict[str, set[str]]) -> None:
    log = ["git", "-C", str(directory), "log", "-1", "--format=%cs %H"]
    when = subprocess.run(log, check=True, capture_output=True, text=True).stdout.strip()
    with COPY.open("w") as copy:
        copy.write("# RustSec's advisories for the crates in our lock files: crate, id, versions without the fault.\n")
        copy.write(f"# date: {when}\n# crates: {' '.join(sorted(crates))}\n")
        for advisory in database(directory, crates):
            copy.write("\t".join(advisory) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--database", type=pathlib.Path, metavar="DIR")
    parser.add_argument("--pin", type=pathlib.Path, metavar="DIR")
    options = parser.parse_args()
    crates = locked()
    if options.pin:
        pin(options.pin, crates)
    if options.database:
        source, advisories = str(options.database), list(database(options.database, crates))
    else:
        date, known, advisories = pinned()
        source = f"the copy of {date.split()[0]}"
        unknown = sorted(set(crates) - known)
        if unknown:
            print(f"advisories: {source} does not know {', '.join(unknown)}", file=sys.stderr)
    deny = tomllib.loads((ROOT / "deny.toml").read_text())
    ignored = {entry["id"] for entry in deny["advisories"]["ignore"]}
    found = 0
    for advisory in advisories:
        for have in sorted(crates.get(advisory.crate, ())):
            fine = any(satisfies(have, part) for part in advisory.fine.split("|") if part.strip())
            if not fine and advisory.id not in ignored:
                print(f"advisories: {advisory.crate} {have} has {advisory.id}, by {source}", file=sys.stderr)
                found += 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

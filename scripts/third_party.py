#!/usr/bin/env python3
"""Print the licences of the crates that are linked into vfioboot and vfiorun, with their texts."""

import json
import pathlib
import re
import subprocess

LICENCE = re.compile(r"(?i)^(licen[cs]e|copying|notice|unlicense)")
FEATURES = ("cli", "vfiorun")


def output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def linked() -> set[tuple[str, str]]:
    """Name and version of each crate that a program is linked with."""
    found: set[tuple[str, str]] = set()
    for feature in FEATURES:
        tree = output(
            "cargo", "tree", "--locked", "--quiet", "--package", "vfioboot", "--no-default-features",
            "--features", feature, "--edges", "normal,no-proc-macro", "--prefix", "none", "--target", "all",
            "--format", "{p}",
        )  # fmt: skip
        for line in tree.splitlines():
            name, version = line.split()[:2]
            found.add((name, version.removeprefix("v")))
    return found


def main() -> None:
    wanted = linked()
    metadata = json.loads(output("cargo", "metadata", "--locked", "--quiet", "--format-version", "1"))
    texts: dict[str, str] = {}
    print("vfioboot and vfiorun contain these crates, under these licences.")
    for package in sorted(metadata["packages"], key=lambda package: (package["name"], package["version"])):
        if (package["name"], package["version"]) not in wanted or package["source"] is None:
            continue
        print(f"\n{'=' * 80}\n{package['name']} {package['version']}: {package['license']}")
        print(", ".join(package["authors"]) or "(no authors are named)")
        directory = pathlib.Path(package["manifest_path"]).parent
        for file in sorted(directory.iterdir()):
            if not (file.is_file() and LICENCE.match(file.name)):
                continue
            text = file.read_text(errors="replace").strip()
            # most texts of the Apache licence are the same
            first = texts.setdefault(" ".join(text.split()), package["name"])
            is_first = first == package["name"]
            print(f"\n--- {file.name}" + (f"\n\n{text}" if is_first else f": as of {first}"))


if __name__ == "__main__":
    main()

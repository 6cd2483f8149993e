"""The copy of the checkout that has all mutants in it, and how it is compiled."""

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from mutants.modules import ROOT, TABLES, Mutant

MARK = re.compile(rb"/\*(?:([0-9,]+)<|>)\*/")


class Copy:
    """A copy at a place that stays, so that little is compiled again."""

    def __init__(self, place: Path, files: list[str]) -> None:
        self.tree = place / "tree"
        self.target = place / "target"
        self.tool = place / "tool" / "debug" / "vfioboot-mutants"
        self.files = files
        self.mutants: list[Mutant] = []
        self.dropped_file = place / "dropped"
        self.kept_file = place / "dropped.json"
        """What did not compile before, by the digest of the file."""
        self.dropped: set[str] = set()

    def update(self) -> None:
        """Bring the copy to what the checkout has, with all mutants."""
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, check=True, capture_output=True, text=True,
        ).stdout.split("\0")  # fmt: skip
        names = {name for name in listed if name and (ROOT / name).exists()}
        for name in names - set(self.files):
            put(self.tree / name, changed(name, (ROOT / name).read_bytes()), (ROOT / name).stat().st_mode)
        ours = names | {"src/mutant.rs"}
        for path in self.tree.rglob("*"):
            if path.is_file() and path.relative_to(self.tree).as_posix() not in ours:
                path.unlink()
        kept = json.loads(self.kept_file.read_text()) if self.kept_file.exists() else {}
        self.dropped = {name for file in self.files for name in kept.get(digest(file), ())}
        self.rewrite()
        switch = (TABLES / "switch.rs").read_text()
        last = switch.replace("const LAST: usize = 0;", f"const LAST: usize = {len(self.mutants)};")
        put(self.tree / "src/mutant.rs", last.encode())

    def rewrite(self) -> None:
        """Write the files with all mutants that are not dropped."""
        self.dropped_file.write_text("".join(f"{name}\n" for name in sorted(self.dropped)))
        for file in self.files:
            (self.tree / file).parent.mkdir(parents=True, exist_ok=True)
        output = subprocess.run(
            [self.tool, ROOT, self.tree, self.dropped_file, *self.files], check=True, capture_output=True, text=True
        ).stdout
        lines = (line.split("\t") for line in output.splitlines())
        self.mutants = [Mutant(int(number), state, file, int(line), name) for number, state, file, line, name in lines]

    def programs(self, names: list[str]) -> dict[str, Path]:
        """Compile the test programs, and the programs that they start, without the mutants that do not compile."""
        while errors := [message for message in self.build(names) if is_error(message)]:
            numbers: set[int] = set()
            for error in errors:
                numbers |= self.numbers(error["message"])
            traced = {mutant.name for mutant in self.mutants if mutant.number in numbers}
            if not traced - self.dropped:
                rendered = "".join(str(error["message"]["rendered"]) for error in errors)
                sys.exit(f"{rendered}error: mutants: these errors belong to no mutant")
            self.dropped |= traced
            print(f"mutants: {len(self.dropped)} do not compile", file=sys.stderr)
            self.rewrite()
            self.keep()
        found = {}
        for message in self.build(names):
            if message["reason"] == "compiler-artifact" and message["profile"]["test"] and message["executable"]:
                kind = message["target"]["kind"][0]
                found["lib" if kind == "lib" else message["target"]["name"]] = Path(message["executable"])
        if missing := set(names) - set(found):
            sys.exit(f"error: mutants: cargo built no test program {', '.join(sorted(missing))}")
        return found

    def keep(self) -> None:
        """Remember what does not compile, for the next time."""
        kept = {digest(file): [name for name in self.dropped if name.startswith(f"{file}: ")] for file in self.files}
        self.kept_file.write_text(json.dumps(kept))

    def build(self, names: list[str]) -> list[dict[str, Any]]:
        """What cargo says of these test programs."""
        selection = [word for name in names for word in (["--lib"] if name == "lib" else ["--test", name])]
        words = ["cargo", "test", "--no-run", "--quiet", "--locked", "--all-features", "--message-format=json"]
        environment = {**os.environ, "CARGO_TARGET_DIR": str(self.target)}
        output = subprocess.run(
            [*words, *selection], cwd=self.tree, env=environment, stdout=subprocess.PIPE, check=False
        ).stdout
        return [json.loads(line) for line in output.splitlines()]

    def numbers(self, message: dict[str, Any]) -> set[int]:
        """The mutants that an error is in."""
        spans = sorted(message["spans"], key=lambda span: not span["is_primary"])
        for span in spans:
            if (text := self.text(span)) is not None and (inside := around(text, span["byte_start"])):
                return inside
        for span in spans:
            if (text := self.text(span)) is not None and (near := on_line(text, span["line_start"])):
                return near
        return set()

    def text(self, span: dict[str, Any]) -> bytes | None:
        name = span["file_name"]
        return (self.tree / name).read_bytes() if name in self.files else None


def digest(file: str) -> str:
    return hashlib.sha256((ROOT / file).read_bytes()).hexdigest()


def is_error(message: dict[str, Any]) -> bool:
    """Whether it is of a kind that ends the compilation, and says where."""
    return bool(
        message["reason"] == "compiler-message"
        and message["message"]["level"] == "error"
        and message["message"]["spans"]
    )


def around(text: bytes, at: int) -> set[int]:
    """The numbers of the innermost marks around a place."""
    stack: list[bytes] = []
    for mark in MARK.finditer(text, 0, at):
        if mark[1]:
            stack.append(mark[1])
        else:
            stack.pop()
    return {int(number) for number in stack[-1].split(b",")} if stack else set()


def on_line(text: bytes, line: int) -> set[int]:
    marks = MARK.findall(text.split(b"\n")[line - 1])
    return {int(number) for numbers in marks if numbers for number in numbers.split(b",")}


def changed(name: str, content: bytes) -> bytes:
    """The files that name the switch, in the library and in the build script, which share code."""
    if name == "src/lib.rs":
        return b"#![allow(warnings)]\n" + content + b"\nmod mutant;\n"
    if name == "build.rs":
        return b"#![allow(warnings)]\n" + content + b'\n#[path = "src/mutant.rs"]\nmod mutant;\n'
    return content


def put(path: Path, content: bytes, mode: int | None = None) -> None:
    """Write a file, unless it is there: what stays as it is is not compiled again."""
    if not path.is_file() or path.read_bytes() != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    if mode is not None and path.stat().st_mode != mode:
        path.chmod(mode)

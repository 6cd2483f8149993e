"""The examples: each block of shell runs with the files that it names, or is at least checked.

What follows the fence says what a block is:

| ```sh | runs, in a directory with the files of the page's set |
| ```sh,exit-1 | the same; commands in it may end with 1 (2 never) |
| ```sh,device | needs a device, a network or other programs: shellcheck and the names of options |
| ```console | commands after `$ `, and what they print; `…` is the rest of a line, or whole lines |
| ```console,board | a session on the tutorial's board: the command that starts it, and commands after `board# ` |
| ```toml,file=NAME | any language: the file of that name, for the blocks behind it |
| ```toml | parses; with the class `guest` it is a guest file that vfiorun takes |

A directive on a line of its own, `<!-- with: NAME -->`, takes another set of docs/book/fixtures.toml, in
a new directory. Blocks that follow see what those before them wrote.
"""

import gzip
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from book.pages import BOOK, ROOT, Block, Page

SETS = BOOK / "fixtures.toml"
NO_SET = "none"
BOARD = "board# "
_SECONDS = 300
# The statuses of a block's commands are looked at by a trap: `set -e` would end at the first verdict.
_PROLOGUE = """\
set -uo pipefail
trap 's=$?; case " {allowed} " in *" $s "*) ;; *) echo "line $((LINENO - 2)) ended with $s" >&2; exit 99 ;; esac' ERR
"""
_OPTION = re.compile(r"(?<![\w-])(--[a-z][\w-]*|-[a-zA-Z])(?![\w-])")
_PROGRAMS = ("vfioboot", "vfiorun")


@dataclass(frozen=True)
class Programs:
    """The directory with the programs, which examples find on PATH."""

    directory: Path

    def path(self, name: str) -> Path:
        """The program of that name."""
        return self.directory / name


class Runner:
    """Runs the blocks of a page, in one directory for each set."""

    def __init__(self, programs: Programs) -> None:
        self._programs = programs
        self._sets = tomllib.loads(SETS.read_text(encoding="utf-8"))

    def problems(self, page: Page) -> Iterator[str]:
        """What is wrong with the examples of a page."""
        if not any(_runs(block) for block in page.blocks):
            return
        with tempfile.TemporaryDirectory(prefix="vfioboot-book.") as scratch:
            place = self._prepare(NO_SET, Path(scratch))
            for block in page.blocks:
                if block.directive and block.words[0] == "with":
                    place = self._prepare(block.words[1], Path(scratch))
                elif name := _file(block):
                    (place / name).write_text(block.text, encoding="utf-8")
                elif _runs(block):
                    for line, problem in self._run(block, place):
                        yield f"{page.name}:{line}: {problem}"

    def _prepare(self, name: str, scratch: Path) -> Path:
        place = scratch / f"{len(list(scratch.iterdir()))}-{name}"
        place.mkdir()
        if name == NO_SET:
            return place
        for target, source in self._sets[name].items():
            file = place / target
            file.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(source, dict):
                done = self._shell(source["run"], place, (0,))
                if done.returncode != 0:
                    raise RuntimeError(f"{SETS}: {name}: {target} could not be made:\n{done.stdout}")
            elif source.endswith(".gz") and not target.endswith(".gz"):
                file.write_bytes(gzip.decompress((ROOT / source).read_bytes()))
            else:
                shutil.copyfile(ROOT / source, file)
        return place

    def _run(self, block: Block, place: Path) -> Iterator[tuple[int, str]]:
        if block.language == "console":
            yield from self._board(block, place) if "board" in block.words else self._console(block, place)
            return
        done = self._shell(block.text, place, (0, *_statuses(block)))
        if done.returncode not in (0, *_statuses(block)):
            yield block.line, f"the example fails:\n{_indent(done.stdout[-2000:])}"

    def _console(self, block: Block, place: Path) -> Iterator[tuple[int, str]]:
        for line, command, expected in steps(block):
            printed = self._shell(command, place, (0, 1, 3)).stdout.splitlines()
            if not matches(expected, printed):
                yield line, f"`{command}` prints something else:\n{_indent(chr(10).join(printed))}"

    def _board(self, block: Block, place: Path) -> Iterator[tuple[int, str]]:
        start, *_ = steps(block)
        wanted = list(steps(block, BOARD))
        (place / "play").write_text("".join(f"{command}\n" for _, command, _ in wanted), encoding="utf-8")
        done = self._shell(f"{start[1]} --play play", place, (0,))
        transcript = Block(0, (), done.stdout.replace("\r", ""))
        printed = {command: output for _, command, output in steps(transcript, BOARD)}
        for line, command, expected in wanted:
            if command not in printed:
                yield line, f"the board did not come to `{command}`:\n{_indent(transcript.text[-2000:])}"
                return
            if not matches(expected, printed[command]):
                yield line, f"`{command}` prints something else:\n{_indent(chr(10).join(printed[command]))}"

    def _shell(self, text: str, place: Path, allowed: Sequence[int]) -> "subprocess.CompletedProcess[str]":
        environment = {
            "PATH": f"{self._programs.directory}:{os.environ['PATH']}",
            "HOME": str(place),
            # kernels and tools are built once, not in every scratch directory
            "VFIOBOOT_CACHE": os.environ["VFIOBOOT_CACHE"],
            "TMPDIR": str(place.parent),
            "LC_ALL": "C.UTF-8",
            "NO_COLOR": "1",
            "COLUMNS": "100",
            "ROOT": str(ROOT),
        }
        prologue = _PROLOGUE.replace("{allowed}", " ".join(map(str, allowed)))
        return subprocess.run(
            ["bash", "-c", prologue + text], cwd=place, env=environment, text=True, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=_SECONDS,
        )  # fmt: skip


def _runs(block: Block) -> bool:
    return not block.directive and block.language in ("sh", "console") and "device" not in block.words


def _file(block: Block) -> str | None:
    return next((word.removeprefix("file=") for word in block.words if word.startswith("file=")), None)


def _statuses(block: Block) -> tuple[int, ...]:
    return tuple(int(word.removeprefix("exit-")) for word in block.words if word.startswith("exit-"))


def steps(block: Block, prompt: str = "$ ") -> Iterator[tuple[int, str, list[str]]]:
    """The commands after a prompt with their lines, and what each prints."""
    command: list[str] = []
    start, output = block.line, list[str]()
    for number, line in enumerate(block.text.splitlines(), block.line):
        if line.startswith(prompt):
            if command:
                yield start, "\n".join(command), output
            start, command, output = number, [line.removeprefix(prompt)], []
        elif command and not output and command[-1].endswith("\\"):
            command.append(line)
        else:
            output.append(line)
    if command:
        yield start, "\n".join(command), output


def matches(expected: Sequence[str], printed: Sequence[str]) -> bool:
    """Whether lines are as expected; `…` alone stands for any lines, at a line's end for its rest."""
    if not expected:
        return not printed
    first, rest = expected[0], expected[1:]
    if first.strip() == "…":
        return any(matches(rest, printed[skip:]) for skip in range(len(printed) + 1))
    if not printed:
        return False
    start, more, _ = first.partition("…")
    fits = printed[0].startswith(start) if more else printed[0].rstrip() == first.rstrip()
    return fits and matches(rest, printed[1:])


def static_problems(pages: Sequence[Page], programs: Programs) -> Iterator[str]:
    """What can be said without running a block: shellcheck, TOML, and options that do not exist."""
    scripts = []
    for page in pages:
        for block in page.blocks:
            if block.directive:
                continue
            if block.language == "sh":
                scripts.append((page, block))
            elif block.language == "toml":
                yield from (f"{page.name}:{block.line}: {problem}" for problem in _toml(block, programs))
            if block.language in ("sh", "console"):
                for line, command in _commands(block):
                    yield from (f"{page.name}:{line}: {problem}" for problem in _unknown_options(command, programs))
        for line, code in page.inline():
            if code.startswith(tuple(f"{program} " for program in _PROGRAMS)):
                yield from (f"{page.name}:{line}: {problem}" for problem in _unknown_options(code, programs))
    yield from _shellcheck(scripts)


def _toml(block: Block, programs: Programs) -> Iterator[str]:
    """What is wrong with a block of TOML."""
    try:
        tomllib.loads(block.text)
    except tomllib.TOMLDecodeError as error:
        yield str(error)
        return
    if "guest" not in block.words:
        return
    with tempfile.TemporaryDirectory(prefix="vfioboot-book.") as scratch:
        file = Path(scratch) / "guest.toml"
        file.write_text(block.text, encoding="utf-8")
        # an empty system lacks everything (1); a file that is wrong is an error (2)
        done = subprocess.run(
            [programs.path("vfiorun"), f"--sysroot={scratch}", "run", file, "--dry-run"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode not in (0, 1):
            yield done.stderr.strip()


def _commands(block: Block) -> Iterator[tuple[int, str]]:
    """The commands of a block, with continued lines joined."""
    joined, start = "", 0
    for number, line in enumerate(block.text.splitlines(), block.line):
        start = start if joined else number
        joined += line.removeprefix("$ ").removeprefix(BOARD)
        if joined.endswith("\\"):
            joined = joined[:-1]
            continue
        yield start, joined
        joined = ""


def _unknown_options(command: str, programs: Programs) -> Iterator[str]:
    """The options in a command of ours that its help does not know."""
    for part in re.split(r"\s*(?:\||&&|;|\$\()\s*", command.split(" # ", maxsplit=1)[0]):
        try:
            words = shlex.split(part, comments=True)
        except ValueError:
            words = part.split()
        while words and ("=" in words[0] or words[0] in ("sudo", "time", "if", "!", "then")):
            words = words[1:]
        if not words or words[0] not in _PROGRAMS or any(word.startswith("--sysroot") for word in words[1:2]):
            continue
        known, text = _help(programs, words[0], *_verbs(words))
        if not known:
            yield f"{words[0]} has no command {words[1]}"
            continue
        for word in words[1:]:
            option = word.split("=")[0]
            if _OPTION.fullmatch(option) and not re.search(rf"(?<![\w-]){re.escape(option)}(?![\w-])", text):
                yield f"`{' '.join(words[:2])}` has no option {option}"


def _verbs(words: Sequence[str]) -> tuple[str, ...]:
    plain = [word for word in words[1:] if not word.startswith("-")]
    if plain[:1] == ["ramdisk"] and len(plain) > 2:
        return ("ramdisk", "IMAGE", plain[2])
    if plain[:1] == ["guest"] and len(plain) > 1:
        return ("guest", plain[1])
    return tuple(plain[:1])


@cache
def _help(programs: Programs, program: str, *verbs: str) -> tuple[bool, str]:
    done = subprocess.run([str(programs.path(program)), *verbs, "--help"], capture_output=True, text=True, check=False)
    return done.returncode == 0, done.stdout


def _shellcheck(scripts: Sequence[tuple[Page, Block]]) -> Iterator[str]:
    """One run for all blocks. Names of variables may come from an earlier block (SC2154), and `cd` may fail."""
    with tempfile.TemporaryDirectory(prefix="vfioboot-book.") as scratch:
        files = {}
        for number, (page, block) in enumerate(scripts):
            file = Path(scratch) / f"{number}.sh"
            file.write_text(block.text, encoding="utf-8")
            files[str(file)] = (page, block)
        if not files:
            return
        done = subprocess.run(
            ["shellcheck", "--norc", "--shell=bash", "--format=gcc", "--exclude=SC2154,SC2164", *files],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        for line in done.stdout.splitlines():
            name, row, _, text = line.split(":", 3)
            page, block = files[name]
            yield f"{page.name}:{block.line + int(row) - 1}:{text}"


def _indent(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())

"""The pages of the command line, from what `--help` of both programs prints."""

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_SECTION = re.compile(r"^(?P<name>\S.*):$")
_USAGE = re.compile(r"^Usage: (?P<usage>.*)$")
_ENTRY = re.compile(r"^ {2,6}(?P<name>(?:-|<|\[).*?)(?: {2,}(?P<text>\S.*))?$")
_COMMAND = re.compile(r"^ {2}(?P<name>[a-z][\w-]*) {2,}(?P<text>\S.*)$")
_VALUE = re.compile(r"^- (?P<name>[^:\s]+): +(?P<text>.*)$")
_DEFAULT = re.compile(r"\[default: (?P<value>[^\]]*)\]$")


@dataclass
class Entry:
    """An option, an argument or a command, with the lines of its text."""

    name: str
    lines: list[str] = field(default_factory=list)


@dataclass
class Section:
    """What stands under a heading of the help."""

    name: str
    entries: list[Entry] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    """Text that is no entry."""


@dataclass
class Help:
    """The help of a command, and that of its subcommands."""

    command: tuple[str, ...]
    about: list[str]
    usage: str
    sections: list[Section]

    def subcommands(self) -> list[Entry]:
        """The entries of its list of commands, without `help`."""
        return [
            entry
            for section in self.sections
            if section.name == "Commands"
            for entry in section.entries
            if entry.name != "help"
        ]


def ask(program: Path, command: tuple[str, ...]) -> Help:
    """Ask a command for its help."""
    words = [str(program), *_with_positionals(command[1:]), "--help"]
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1"}
    done = subprocess.run(words, capture_output=True, text=True, check=True, env=environment)
    return _parse(command, done.stdout)


def _with_positionals(words: tuple[str, ...]) -> list[str]:
    # the image comes before the verb
    return ["ramdisk", "IMAGE", *words[1:]] if words[:1] == ("ramdisk",) and len(words) > 1 else list(words)


def _parse(command: tuple[str, ...], text: str) -> Help:
    parsed = Help(command, [], "", [])
    for line in text.splitlines():
        if match := _USAGE.match(line):
            parsed.usage = match["usage"]
        elif not parsed.usage:
            parsed.about.append(line)
        elif match := _SECTION.match(line):
            parsed.sections.append(Section(match["name"]))
        elif parsed.sections:
            _into(parsed.sections[-1], line)
        elif line.strip():
            # the usage goes on in further lines
            parsed.usage += "\n" + line.strip()
    return parsed


def _into(section: Section, line: str) -> None:
    pattern = _COMMAND if section.name == "Commands" else _ENTRY
    if match := pattern.match(line):
        section.entries.append(Entry(match["name"], [match["text"]] if match["text"] else []))
    elif section.entries:
        section.entries[-1].lines.append(line.strip())
    else:
        section.lines.append(line)


def pages(program: Path) -> Iterator[tuple[str, str, str]]:
    """The pages of a program: path in the book, title, text."""
    yield from _pages(program, (program.name.partition("-")[0],))


def _pages(program: Path, command: tuple[str, ...]) -> Iterator[tuple[str, str, str]]:
    parsed = ask(program, command)
    yield page_of(command), " ".join(command), "\n".join(_page(parsed)).rstrip() + "\n"
    for entry in parsed.subcommands():
        yield from _pages(program, (*command, entry.name))


def page_of(command: tuple[str, ...]) -> str:
    """The page of a command, below the book's source."""
    return f"reference/{command[0]}/{'-'.join(command[1:]) or 'index'}.md"


def _page(parsed: Help) -> Iterator[str]:
    yield f"# {' '.join(parsed.command)}"
    yield ""
    yield "<!-- written by `make book` from --help -->"
    yield ""
    yield from _paragraphs(parsed.about)
    yield "```text"
    yield from parsed.usage.splitlines()
    yield "```"
    yield ""
    for section in parsed.sections:
        yield f"## {section.name}"
        yield ""
        if section.lines and not section.entries:
            yield from _plain(section.lines)
        for entry in section.entries:
            if section.name == "Commands" and entry.name != "help":
                yield from _command(parsed.command, entry)
            elif section.name != "Commands":
                yield f"- `{entry.name}`"
                yield ""
                yield from _text(entry.lines)
        yield ""


def _command(above: tuple[str, ...], entry: Entry) -> Iterator[str]:
    target = Path(page_of((*above, entry.name))).name
    yield f"- [{entry.name}]({target}): {_escape(' '.join(entry.lines))}"


def _plain(lines: list[str]) -> Iterator[str]:
    """Examples, as they are."""
    yield "```text"
    yield from "\n".join(lines).strip("\n").splitlines()
    yield "```"


def _text(lines: list[str]) -> Iterator[str]:
    """The text of an entry, below its list item."""
    values: list[str] = []
    prose: list[str] = []
    for line in lines:
        if line == "Possible values:":
            continue
        if match := _VALUE.match(line):
            values.append(f"  - `{match['name']}`: {_escape(match['text'])}")
        elif values and line and not line.startswith("["):
            values[-1] += " " + _escape(line)
        elif values and line:
            values.append("")
            values.append("  " + _escape(line))
        elif not values:
            prose.append(line)
    for line in _paragraphs(prose):
        yield f"  {line}" if line else ""
    yield from values
    if values:
        yield ""


def _paragraphs(lines: list[str]) -> Iterator[str]:
    """Lines joined to paragraphs."""
    for paragraph in "\n".join(lines).strip("\n").split("\n\n"):
        if paragraph.strip():
            yield _escape(" ".join(paragraph.split()))
            yield ""


def _escape(text: str) -> str:
    text = _DEFAULT.sub(lambda match: f"Default: {_quoted(match['value'])}", text)
    parts = re.split(r"(`[^`]*`)", text)
    return "".join(part if part.startswith("`") else re.sub(r"([<*\[\]|])", r"\\\1", part) for part in parts)


def _quoted(value: str) -> str:
    return value + "." if " " in value else f"`{value}`."

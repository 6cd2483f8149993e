"""Pages of Markdown, as far as the checks need them: headings, links, and fenced blocks with their place."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BOOK = ROOT / "docs" / "book"
SOURCE = BOOK / "src"
SUMMARY = SOURCE / "SUMMARY.md"

_FENCE = re.compile(r"^(?P<indent> *)(?P<fence>```+)(?P<info>[^`]*)$")
_DIRECTIVE = re.compile(r"^<!-- (?P<key>[a-z]+): (?P<value>.*) -->$")
_HEADING = re.compile(r"^#{1,6} +(?P<text>.*?) *$")
_CODE = re.compile(r"(`+)(.+?)\1")
_LINK = re.compile(r"\]\((?P<target>[^()\s]+)\)")


@dataclass(frozen=True)
class Block:
    """A fenced block, or a directive between blocks: `<!-- with: SET -->`."""

    line: int
    """Of its first line of text, from 1."""
    words: tuple[str, ...]
    """What follows the fence: the language and the classes. Of a directive its key and value."""
    text: str
    directive: bool = False

    @property
    def language(self) -> str:
        """The language, or "" where there is none."""
        return self.words[0] if self.words else ""


@dataclass(frozen=True)
class Page:
    """A file of Markdown."""

    path: Path
    text: str = field(repr=False)

    @property
    def name(self) -> str:
        """Its path in the repository."""
        return str(self.path.relative_to(ROOT))

    @cached_property
    def _split(self) -> tuple[list[Block], list[tuple[int, str]]]:
        """The blocks, and the lines outside them."""
        blocks: list[Block] = []
        prose: list[tuple[int, str]] = []
        opened: tuple[int, str, tuple[str, ...]] | None = None
        inside: list[str] = []
        for number, line in enumerate(self.text.splitlines(), 1):
            fence = _FENCE.match(line)
            if opened is not None:
                start, mark, words = opened
                if fence and fence["fence"].startswith(mark) and not fence["info"].strip():
                    blocks.append(Block(start, words, "".join(inside)))
                    opened, inside = None, []
                else:
                    inside.append(line + "\n")
            elif fence:
                words = tuple(word for word in re.split(r"[,\s]+", fence["info"].strip()) if word)
                opened = (number + 1, fence["fence"], words)
            elif directive := _DIRECTIVE.match(line):
                blocks.append(Block(number, (directive["key"], directive["value"]), "", directive=True))
            else:
                prose.append((number, line))
        if opened is not None:
            raise ValueError(f"{self.name}:{opened[0] - 1}: this block has no end")
        return blocks, prose

    @property
    def blocks(self) -> list[Block]:
        """Its fenced blocks and directives, in order."""
        return self._split[0]

    def links(self) -> Iterator[tuple[int, str]]:
        """The targets of its links, with their lines."""
        for number, line in self._split[1]:
            for match in _LINK.finditer(_CODE.sub("", line)):
                yield number, match["target"]

    def inline(self) -> Iterator[tuple[int, str]]:
        """Code within sentences."""
        for number, line in self._split[1]:
            for match in _CODE.finditer(line):
                yield number, match[2]

    @cached_property
    def anchors(self) -> set[str]:
        """The anchors that mdBook and GitHub give its headings."""
        found: set[str] = set()
        for _, line in self._split[1]:
            if heading := _HEADING.match(line):
                found.add(anchor(heading["text"]))
        return found


def anchor(heading: str) -> str:
    """The anchor of a heading."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def read(path: Path) -> Page:
    """The page in a file."""
    return Page(path, path.read_text(encoding="utf-8"))


def all_pages() -> list[Page]:
    """Every page of the book, and the files that people read beside it."""
    beside = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "fixtures/README.md")]
    return [read(path) for path in [*sorted(SOURCE.rglob("*.md")), *(path for path in beside if path.exists())]]

"""Links: every target is there, every page is in the summary, and the summary names no page that is not."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from book.pages import BOOK, ROOT, SOURCE, SUMMARY, Page, read

_REPOSITORY = re.compile(r"^repository = \"(.*)\"$", re.MULTILINE)


def repository() -> str:
    """The address of the repository, which Cargo.toml has."""
    found = _REPOSITORY.search((ROOT / "Cargo.toml").read_text(encoding="utf-8"))
    if found is None:
        raise ValueError("Cargo.toml: no repository")
    return found[1]


def problems(pages: list[Page]) -> Iterator[str]:
    """What is wrong with the links of these pages."""
    known = {page.path: page for page in pages}
    own = re.compile(rf"^{re.escape(repository())}/(?:blob|tree)/main/(?P<path>[^#]*)(?:#.*)?$")
    for page in pages:
        for line, target in page.links():
            if wrong := _wrong(page, target, known, own):
                yield f"{page.name}:{line}: {target}: {wrong}"
    yield from _summary(known)


def _wrong(page: Page, target: str, known: dict[Path, Page], own: re.Pattern[str]) -> str | None:
    if match := own.match(target):
        return None if (ROOT / unquote(match["path"])).exists() else "is not in the repository"
    if re.match(r"^[a-z]+:", target):
        return None
    name, _, fragment = target.partition("#")
    path = (page.path.parent / unquote(name)).resolve() if name else page.path
    if not path.exists():
        return "is not there"
    if page.path.is_relative_to(SOURCE) and not path.is_relative_to(SOURCE):
        return f"leaves the book: link to {repository()}/blob/main/…"
    if fragment and path.suffix == ".md":
        other = known.get(path) or read(path)
        if fragment not in other.anchors:
            return "has no such heading"
    return None


def _summary(known: dict[Path, Page]) -> Iterator[str]:
    summary = known[SUMMARY]
    listed = [(SOURCE / target).resolve() for _, target in summary.links()]
    for path in sorted(set(SOURCE.rglob("*.md")) - {SUMMARY} - set(listed)):
        yield f"{path.relative_to(ROOT)}: is not in {SUMMARY.relative_to(BOOK)}"
    for path in listed:
        if listed.count(path) > 1:
            yield f"{summary.name}: {path.relative_to(SOURCE)} is there twice"

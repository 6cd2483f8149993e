"""The page of exit statuses, from src/cli/manual.toml."""

import tomllib
from collections.abc import Iterator

from book.pages import ROOT

PAGE = "reference/exit-statuses.md"
TITLE = "Exit statuses"
_MANUAL = ROOT / "src" / "cli" / "manual.toml"


def text() -> str:
    """The whole page."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    pages = tomllib.loads(_MANUAL.read_text(encoding="utf-8"))
    yield f"# {TITLE}"
    yield ""
    yield "<!-- written by `make book` from src/cli/manual.toml -->"
    for program in (name for name in pages if " " not in name):
        yield ""
        yield f"## {program}"
        yield ""
        yield "| | 0 | 1 | 2 | 3 |"
        yield "|---|---|---|---|---|"
        for name, page in pages.items():
            if name.startswith(f"{program} ") and "exit" in page:
                yield _row(f"`{name}`", page["exit"])
        yield _row("the other commands", pages[program]["exit"])
    yield ""
    yield "`check` ends with the worst of all inputs, and still reports the others. A pipe that is closed early"
    yield "(as with `| head`) is not a failure."


def _row(name: str, statuses: list[str]) -> str:
    meanings = dict(status.split(" ", maxsplit=1) for status in statuses)
    cells = [meanings.get(str(number), "").replace("|", "\\|") for number in range(4)]
    return f"| {' | '.join([name, *cells])} |".replace("|  |", "| |").replace("|  |", "| |")

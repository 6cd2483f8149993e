"""The generated pages and their lists in the summary: written, or compared with what is there."""

import re
from collections.abc import Iterator
from pathlib import Path

from book import command_line, exit_statuses, rules
from book.examples import Programs
from book.pages import ROOT, SOURCE, SUMMARY

# the parts of the summary that list generated pages
_PARTS = ("vfioboot", "vfiorun", "Rules")


def _everything(programs: Programs) -> dict[str, list[tuple[str, str, str]]]:
    return {
        "vfioboot": list(command_line.pages(programs.path("vfioboot"))),
        "vfiorun": list(command_line.pages(programs.path("vfiorun"))),
        "Rules": list(rules.pages()),
    }


def _files(programs: Programs) -> dict[Path, str]:
    """All generated files with their text."""
    parts = _everything(programs)
    files = {SOURCE / path: text for part in parts.values() for path, _, text in part}
    summary = SUMMARY.read_text(encoding="utf-8")
    for name in _PARTS:
        summary = _with_list(summary, name, [(title, path) for path, title, _ in parts[name]])
    files[SUMMARY] = summary
    files[SOURCE / exit_statuses.PAGE] = exit_statuses.text()
    return files


def _with_list(summary: str, part: str, pages: list[tuple[str, str]]) -> str:
    """The summary with another list of pages below the heading of a part."""
    listed = "".join(f"{'  ' if number else ''}- [{title}]({path})\n" for number, (title, path) in enumerate(pages))
    match = re.search(rf"^# {part}\n\n(?P<list>.*?)(?=\n# |\Z)", summary, re.DOTALL | re.MULTILINE)
    if match is None:
        raise ValueError(f'{SUMMARY.relative_to(ROOT)}: expected a part "# {part}"')
    return summary[: match.start("list")] + listed + summary[match.end("list") :]


def _stale(files: dict[Path, str]) -> Iterator[Path]:
    """Files in the folders of generated pages that are generated no longer."""
    single = {SUMMARY, SOURCE / exit_statuses.PAGE}
    folders = {path.parent for path in files if path not in single}
    for folder in sorted(folders):
        if folder.exists():
            yield from sorted(set(folder.glob("*.md")) - set(files))


def write(programs: Programs) -> None:
    """Write what has changed."""
    files = _files(programs)
    for path in _stale(files):
        path.unlink()
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def problems(programs: Programs) -> Iterator[str]:
    """The generated pages that are not what the programs and rules say now."""
    files = _files(programs)
    for path in _stale(files):
        yield f"{path.relative_to(ROOT)}: is generated no longer"
    for path, text in files.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            yield f"{path.relative_to(ROOT)}: is not current: `make book` writes it"

"""The pictures of the documentation: `pictures.py VFIOBOOT OUT`.

recording.svg: check, patch, boot-test and undo of the sample image, as the programs print it (an animated
terminal); regions.svg: where the bytes of the patched sample are; timeline.svg: what its boot does, and when;
tree.svg: which image to give; where Chromium is installed report.png, a report of the audit as it shows it.
"""

import html
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import browser

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "fixtures" / "sample-boot.img"
COLUMNS = 100
ROWS = 30
CELL = (8.4, 18)
TYPING = 0.04
PAUSE = 1.6

# what a person types, and how many lines of the output are shown
COMMANDS = (
    ("vfioboot check boot.img", 12),
    ("vfioboot patch boot.img --device 1b36:0010 -o patched.img", 14),
    ("vfioboot boot-test patched.img", 14),
    ("vfioboot undo patched.img -o original.img && cmp original.img boot.img", 4),
)
# the window for the report
REPORT = (1000, 700)
CONFIG = ROOT / "fixtures" / "configs" / "lab-6.1-arm64.config"
# SGR colours of the programs
COLOURS = {"31": "#ff7b72", "32": "#3fb950", "33": "#d29922", "36": "#39c5cf", "2": "#8b949e"}


@dataclass
class Line:
    """A line of the screen, and when it comes, in seconds."""

    at: float
    spans: list[tuple[str, str]]
    """Style and text."""


def main() -> None:
    """Write all pictures."""
    vfioboot, out = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="vfioboot-pictures.") as scratch:
        place = Path(scratch)
        (place / "boot.img").write_bytes(SAMPLE.read_bytes())
        lines = list(_session(vfioboot, place))
        (out / "recording.svg").write_text(_recording(lines), encoding="utf-8")
        _run(vfioboot, place, "vfioboot info patched.img --svg regions.svg")
        report = json.loads(_run(vfioboot, place, "vfioboot boot-test patched.img --json"))
        (out / "timeline.svg").write_text(_timeline(report["patched"]["lines"]), encoding="utf-8")
        (out / "regions.svg").write_bytes((place / "regions.svg").read_bytes())
        if chromium := browser.program():
            _report(vfioboot, place)
            with browser.page(chromium) as page:
                page.open(place / "report.html", *REPORT)
                page.screenshot(out / "report.png")
    (out / "tree.svg").write_text(_tree(), encoding="utf-8")


def _run(vfioboot: Path, place: Path, command: str) -> str:
    path = f"{vfioboot.parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "CLICOLOR_FORCE": "1", "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        ["bash", "-c", command], cwd=place, env=environment, text=True, check=False,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    if done.returncode != 0:
        raise RuntimeError(f"{command}: {done.stdout}")
    return done.stdout


def _report(vfioboot: Path, place: Path) -> None:
    """A report of an image and two configs, one of which fails."""
    lines = CONFIG.read_text(encoding="utf-8").splitlines(keepends=True)
    (place / "lab.config").write_text("".join(lines), encoding="utf-8")
    missing = ("CONFIG_VFIO_PCI", "CONFIG_ARM_SMMU_V3")
    (place / "vendor.config").write_text(
        "".join(line for line in lines if not line.startswith(missing)), encoding="utf-8"
    )
    _run(vfioboot, place, "vfioboot check boot.img lab.config vendor.config --format html -o report.html || [ $? = 1 ]")


def _session(vfioboot: Path, place: Path) -> Iterator[Line]:
    at = 0.5
    for command, most in COMMANDS:
        at += len(command) * TYPING
        yield Line(at, [("#3fb950", "$ "), ("", command)])
        at += 0.4
        printed = _run(vfioboot, place, command).splitlines()
        # the end says what came out
        shown = printed if len(printed) <= most else [*printed[: most - 4], "…", *printed[-3:]]
        for text in shown:
            yield Line(at, list(_spans(text)))
            at += 0.05
        at += PAUSE
    yield Line(at, [("#3fb950", "$ ")])


def _spans(text: str) -> Iterator[tuple[str, str]]:
    """Pieces of a line by style, cut off at the width of the screen."""
    style, column = "", 0
    for piece in re.split(r"(\x1b\[[0-9;]*m)", text):
        if match := re.fullmatch(r"\x1b\[([0-9;]*)m", piece):
            codes = match[1].split(";")
            style = next((COLOURS[code] for code in codes if code in COLOURS), "bold" if "1" in codes else "")
            continue
        if piece and column < COLUMNS:
            fitting = piece[: COLUMNS - column]
            column += len(fitting)
            yield style, fitting


def _recording(lines: list[Line]) -> str:
    width, row = CELL
    end = lines[-1].at + 4
    w, h = COLUMNS * width + 32, ROWS * row + 32
    # the screen scrolls, once it is full
    steps = [(max(0, number + 1 - ROWS) * row, line.at) for number, line in enumerate(lines)]
    frames = "".join(f"{at / end:.2%}{{transform:translateY(-{top}px)}}" for top, at in steps if top > 0)
    shown = "".join(f"#l{n}{{animation-delay:{line.at:.2f}s}}" for n, line in enumerate(lines))
    body = "".join(
        f'<text id="l{n}" x="16" y="{30 + n * row}">{"".join(map(_span, line.spans))}</text>\n'
        for n, line in enumerate(lines)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w:.0f} {h}" role="img" '
        f'aria-label="check, patch, boot-test and undo in a terminal">\n<style>'
        "text{font:14px ui-monospace,SFMono-Regular,Menlo,monospace;fill:#e6edf3;white-space:pre}"
        f"text{{visibility:hidden;animation:show .01s forwards}}{shown}"
        "@keyframes show{to{visibility:visible}}"
        f"#s{{animation:scroll {end:.1f}s step-end forwards}}@keyframes scroll{{0%{{transform:none}}{frames}}}"
        # who wants no motion sees the end
        "@media(prefers-reduced-motion:reduce){text{animation-delay:0s!important}#s{animation-duration:.01s}}"
        f'</style>\n<rect width="100%" height="100%" rx="8" fill="#0d1117"/>\n'
        f'<clipPath id="c"><rect x="0" y="10" width="{w:.0f}" height="{h - 20}"/></clipPath>\n'
        f'<g clip-path="url(#c)"><g id="s">\n{body}</g></g>\n</svg>\n'
    )


def _span(span: tuple[str, str]) -> str:
    style, text = span
    text = html.escape(text)
    if style == "bold":
        return f'<tspan font-weight="700">{text}</tspan>'
    return f'<tspan fill="{style}">{text}</tspan>' if style else text


# What the lines of a boot are, by event.
EVENTS = {"first_program": "the kernel starts {}", "vfioboot": "vfiorun: {}"}


def _timeline(lines: list[dict[str, Any]]) -> str:
    """Each line with its time; the bars end where the boot has come to."""
    end = max(line["seconds"] for line in lines)
    rows = []
    for number, line in enumerate(lines):
        y = 24 + 26 * number
        text = EVENTS.get(line["event"], "{}").format(line["text"])
        text = text if len(text) <= 72 else text[:71] + "…"
        width = 4 + 250 * line["seconds"] / end
        rows.append(
            f'<rect class="{line["event"]}" x="0" y="{y - 13}" width="{width:.1f}" height="18" rx="3"/>'
            f'<text class="t" x="330" y="{y}">{1000 * line["seconds"]:.0f} ms</text>'
            f'<text x="346" y="{y}">{html.escape(text)}</text>'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 900 {26 * len(lines) + 14}" role="img" '
        'aria-label="The boot of a patched image"><style>text{font:14px system-ui,sans-serif;fill:#1f2328}'
        ".t{text-anchor:end;font-variant-numeric:tabular-nums}rect{fill:#8c959f}.vfioboot{fill:#1a7f37}"
        ".first_program{fill:#0969da}@media(prefers-color-scheme:dark){text{fill:#e6edf3}}</style>\n"
        + "\n".join(rows)
        + "\n</svg>\n"
    )


# Question, then what to give when the answer is yes; the last one is for everything else.
QUESTIONS = (
    ("Is there an init_boot partition?", "boot.img, vendor_boot.img and init_boot.img"),
    ("Is there a vendor_boot partition?", "boot.img and vendor_boot.img"),
    ("Is there a boot partition?", "boot.img"),
    ("Is it a board with kernel and initrd files?", "no image: vfiorun service install, on the board"),
)


def _tree() -> str:
    boxes, y = [], 10
    for question, answer in QUESTIONS:
        boxes.append(
            f'<rect class="q" x="10" y="{y}" width="340" height="44" rx="8"/>'
            f'<text x="180" y="{y + 27}">{question}</text>'
            f'<path d="M350 {y + 22}h70"/><text class="l" x="385" y="{y + 16}">yes</text>'
            f'<rect class="a" x="420" y="{y}" width="420" height="44" rx="8"/>'
            f'<text x="630" y="{y + 27}">{answer}</text>'
        )
        if question != QUESTIONS[-1][0]:
            boxes.append(f'<path d="M180 {y + 44}v30"/><text class="l" x="196" y="{y + 63}">no</text>')
        y += 74
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 850 {y - 10}" role="img" '
        'aria-label="Which images to give">\n<style>text{font:14px system-ui,sans-serif;text-anchor:middle;'
        "fill:#1f2328}.l{font-size:12px;fill:#57606a}rect{fill:#ddf4ff;stroke:#0969da}.a{fill:#dafbe1;stroke:#1a7f37}"
        "path{stroke:#57606a;fill:none}@media(prefers-color-scheme:dark){text{fill:#e6edf3}.l{fill:#8b949e}"
        "rect{fill:#0d2d4d}.a{fill:#12331c}}</style>\n" + "\n".join(boxes) + "\n</svg>\n"
    )


if __name__ == "__main__":
    main()

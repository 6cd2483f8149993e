"""Open the pages that people look at in a real browser: `judge_pages.py VFIOBOOT [BOOK]`.

The reports of `check` and `boot-test` and the pages of a built book must fit windows of three widths, show their
pictures and throw nothing. Screenshots are in target/pages/. Without Chromium it says so and tests nothing.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import browser

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "target" / "pages"
WIDTHS = (400, 800, 1400)
CONFIG = ROOT / "fixtures" / "configs" / "lab-6.1-arm64.config"
SAMPLE = ROOT / "fixtures" / "sample-boot.img"
# above this many inputs the report is one table
MANY = 41


def main() -> int:
    """Look at all pages."""
    vfioboot, *book = sys.argv[1:]
    found = browser.program()
    if not found:
        print("judge-pages: skipped, there is no Chromium")
        return 0
    OUT.mkdir(parents=True, exist_ok=True)
    reports = list(_reports(vfioboot))
    pages = reports + [
        page for place in book for page in sorted(Path(place).rglob("*.html")) if page.name != "print.html"
    ]
    problems = 0
    with browser.page(found) as window:
        for page in pages:
            for width in WIDTHS:
                for problem in window.open(page, width):
                    problems += 1
                    print(f"{page} at {width} px: {problem}", file=sys.stderr)
                if page in reports:
                    window.screenshot(OUT / f"{page.stem}-{width}.png")
    print(f"judge-pages: {len(pages)} pages at {len(WIDTHS)} widths, {problems} problems; screenshots in {OUT}")
    return 1 if problems else 0


def _reports(vfioboot: str) -> Iterator[Path]:
    """Reports with something to show: what passes, what fails, many inputs, a boot."""
    good, bad = OUT / "good.config", OUT / "bad.config"
    good.write_bytes(CONFIG.read_bytes())
    lines = CONFIG.read_text(encoding="utf-8").splitlines(keepends=True)
    bad.write_text("".join(line for line in lines if not line.startswith("CONFIG_VFIO")), encoding="utf-8")
    yield _page("check", [vfioboot, "check", str(good), str(bad), str(SAMPLE), "--format", "html", "-o"])
    yield _page("check-many", [vfioboot, "check", *map(str, _copies(bad)), "--format", "html", "-o"])
    patched = OUT / "patched.img"
    patch = [vfioboot, "patch", str(SAMPLE), "--device", "1b36:0010", "-o", str(patched)]
    subprocess.run(patch, check=True, stdout=subprocess.DEVNULL)
    boot = OUT / "boot-test.html"
    # 3: without QEMU nothing is proven, and the page says so
    _run([vfioboot, "boot-test", str(patched), "--report", f"html={boot}"], (0, 3))
    yield boot


def _copies(config: Path) -> Iterator[Path]:
    place = OUT / "many"
    place.mkdir(exist_ok=True)
    for number in range(MANY):
        copy = place / f"{number}.config"
        copy.write_bytes(config.read_bytes())
        yield copy


def _page(name: str, command: list[str]) -> Path:
    out = OUT / f"{name}.html"
    _run([*command, str(out)], (0, 1, 3))
    return out


def _run(command: list[str], statuses: tuple[int, ...]) -> None:
    done = subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
    if done.returncode not in statuses:
        raise RuntimeError(f"{command} ended with {done.returncode}")


if __name__ == "__main__":
    sys.exit(main())

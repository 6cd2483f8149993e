#!/usr/bin/env python3
"""Print sources.list lines for the lab's own apt roots: apt_sources.py packages|sources.

The mirrors are those that this machine's apt already uses, so that no mirror is named here and a
local mirror is honoured. The suite is fixed: the lab's kernel, compiler and tools are those of
one Debian release, whatever release the machine itself runs.
"""

import re
import sys
from pathlib import Path

APT = Path("/etc/apt")
SUITE = "bookworm"
# Source packages are built here, so that they may be newer.
SOURCES = "trixie"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
RELEASES = "buster|bullseye|bookworm|trixie|forky|stable|testing|sid|unstable"


def configured() -> list[tuple[str, str]]:
    """(URI, suite) of every Debian archive that apt is configured to use."""
    rows: list[tuple[str, str]] = []
    for file in sorted(APT.glob("sources.list.d/*.sources")):
        text = file.read_text(encoding="utf-8", errors="replace")
        for block in re.split(r"\n\s*\n", text):
            fields = dict(re.findall(r"^([A-Za-z-]+):[ \t]*(.*)$", block, re.MULTILINE))
            if fields.get("Enabled", "yes").lower() in ("no", "false"):
                continue
            for uri in fields.get("URIs", "").split():
                rows += [(uri, suite) for suite in fields.get("Suites", "").split()]
    for file in [APT / "sources.list", *sorted(APT.glob("sources.list.d/*.list"))]:
        try:
            text = file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        rows += re.findall(r"^deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+(\S+)\s+.*\bmain\b", text, re.MULTILINE)
    return [(uri, suite) for uri, suite in rows if re.match(rf"(?:{RELEASES})\b", suite)]


def main() -> int:
    rows = configured()
    archive = next((uri for uri, suite in rows if "security" not in suite), None)
    security = next((uri for uri, suite in rows if "security" in suite), None)
    if archive is None:
        print("error: apt on this machine is not configured for a Debian archive", file=sys.stderr)
        return 1
    if sys.argv[1:] == ["sources"]:
        print(f"deb-src [signed-by={KEYRING}] {archive} {SOURCES} main")
        return 0
    wanted = [(archive, SUITE), (archive, f"{SUITE}-updates"), (archive, f"{SUITE}-backports")]
    if security is not None:
        wanted.append((security, f"{SUITE}-security"))
    for uri, suite in wanted:
        print(f"deb [signed-by={KEYRING}] {uri} {suite} main")
    return 0


if __name__ == "__main__":
    sys.exit(main())

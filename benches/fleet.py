"""Many configs for one run of `check`, and hostile files among them."""

import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SECONDS_EACH = 0.005
"""Aim: CPU time of a config."""
MIB_AT_REST, MIB_A_WORKER = 64, 16
"""Aim: resident memory of a run, however many inputs it has."""
HOSTILE_SECONDS = 3.0
"""What a file of 200 MB in one line and a bomb may add: they are hashed, and the bomb costs its limit."""
SPEEDUP = 1.8
"""Aim: how many times as fast two workers are on an idle machine."""


def make(place: Path, count: int) -> Path:
    """A directory of configs of real kernels."""
    place.mkdir()
    configs = sorted((ROOT / "fixtures/configs").glob("*.config"))
    for number, config in enumerate(configs):
        (place / f"{number:05}.config").write_bytes(config.read_bytes())
    for number in range(len(configs), count):
        (place / f"{number:05}.config").hardlink_to(place / f"{number % len(configs):05}.config")
    return place


def add_hostile(place: Path, bomb: bytes) -> Path:
    """200 MB of one line, which begins like a config, and a bomb."""
    with (place / "00010-line.config").open("wb") as file:
        file.write(b"CONFIG_X=y\nCONFIG_Y=")
        for _ in range(200):
            file.write(b"x" * 1_000_000)
    (place / "00020-bomb.config").write_bytes(bomb)
    return place


def wall(run: Callable[[], object]) -> float:
    """Seconds that pass."""
    before = time.monotonic()
    run()
    return time.monotonic() - before

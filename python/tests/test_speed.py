"""The speed of the package on one core, with the program of a release."""

from __future__ import annotations

import time

import vfioboot
from conftest import FIXTURES

# rows of findings a second
AIM = 10_000


def test_rows_a_second() -> None:
    configs = {path.name: path.read_bytes() for path in sorted(FIXTURES.glob("configs/*.config"))}
    sets = [{f"{number}-{name}": data} for number in range(40) for name, data in configs.items()]
    start = time.process_time()
    rows = len(vfioboot.rows(vfioboot.check_each(sets)))
    speed = rows / (time.process_time() - start)
    print(f"{speed:,.0f} rows a second")
    assert speed >= AIM

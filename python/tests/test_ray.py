"""`vfioboot.ray`: a local Ray with two workers, each row compared with the command line's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import FIXTURES, Json, readable, rows_of

ray = pytest.importorskip("ray")

from vfioboot.ray import SCHEMA, check_files  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield
    ray.shutdown()


def table(dataset: Any) -> pa.Table:
    tables = [ray.get(block) for block in dataset.to_arrow_refs()]
    return pa.concat_tables([SCHEMA.empty_table(), *(own.cast(SCHEMA) for own in tables if len(own))])


def in_order(rows: list[Json]) -> list[Json]:
    return sorted(rows, key=lambda own: (own["input"], own["rule"] or ""))


def test_each_row_is_that_of_the_command_line(check_json: Callable[..., Json]) -> None:
    paths = [str(path) for path in readable()]
    assert len(paths) > 20
    found = table(check_files(paths, batch_size=4)).to_pylist()
    assert {own["file"] for own in found} == set(paths)
    found = [{name: value for name, value in own.items() if not name.startswith("file")} for own in found]
    expected = [row for path in paths for row in rows_of(check_json(path))]
    assert in_order(found) == in_order(expected)


def test_directories_patterns_sets_and_fsspec(tmp_path: Path) -> None:
    configs = FIXTURES / "configs"
    count = len(list(configs.iterdir()))
    assert len({own["file"] for own in table(check_files(configs)).to_pylist()}) == count
    some = [str(path) for path in sorted(configs.glob("lab-*.config"))]
    assert 0 < len(some) < count
    found = table(check_files([str(configs / "lab-*.config")])).to_pylist()
    assert sorted({own["file"] for own in found}) == some
    images = FIXTURES / "images"
    (one,) = {
        own["file"] for own in table(check_files([[images / "boot-v4.img", images / "vendor_boot-v4.img"]])).to_pylist()
    }
    assert one == str(images / "boot-v4.img")
    missing = table(check_files([str(tmp_path / "missing")])).to_pylist()
    assert [(own["outcome"], own["file_sha256"]) for own in missing] == [("error", None)]
    assert "FileNotFoundError" in missing[0]["error"]
    (local,) = {own["file"] for own in table(check_files([f"file://{configs}/lab-6.1-arm64.config"])).to_pylist()}
    assert local.startswith("file://")


def test_a_run_goes_on_after_an_earlier_one(tmp_path: Path) -> None:
    paths = [str(path) for path in sorted(FIXTURES.glob("configs/*.config"))]
    assert len(paths) > 3
    done = tmp_path / "findings"
    check_files(paths[:2], resume=done).write_parquet(str(done))
    rest = check_files(paths, resume=done)
    assert {own["file"] for own in table(rest).to_pylist()} == set(paths[2:])
    rest.write_parquet(str(done))
    assert len(table(check_files(paths, resume=done))) == 0
    assert {own["file"] for own in pq.read_table(done).to_pylist()} == set(paths)
    # other options are another run
    assert len(table(check_files(paths[:1], resume=done, cmdline="quiet"))) > 0

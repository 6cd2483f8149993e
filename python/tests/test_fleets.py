"""The how-to about fleets: its Python runs, and its queries give what the command line counts."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import FIXTURES, ROOT, Json

ray = pytest.importorskip("ray")
duckdb = pytest.importorskip("duckdb")

PAGE = ROOT / "docs" / "book" / "src" / "how-to" / "fleets.md"
BLOCK = re.compile(r"^```(python|sql)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(autouse=True)
def place(tmp_path: Path) -> Iterator[Path]:
    before = Path.cwd()
    (tmp_path / "configs").mkdir()
    for path in FIXTURES.glob("configs/*.config"):
        shutil.copy(path, tmp_path / "configs")
    (tmp_path / "configs" / "empty.config").touch()
    shutil.copy(FIXTURES / "sample-boot.img", tmp_path / "boot.img")
    os.chdir(tmp_path)
    yield tmp_path
    os.chdir(before)
    ray.shutdown()


def test_the_page(check_json: Callable[..., Json], monkeypatch: pytest.MonkeyPatch) -> None:
    start = ray.init
    monkeypatch.setattr(ray, "init", lambda: start(num_cpus=2, include_dashboard=False, log_to_driver=False))
    names: dict[str, Any] = {}
    answers = []
    for language, text in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        if language == "python":
            exec(compile(text, str(PAGE), "exec"), names)
        else:
            answers.append(duckdb.sql(text).fetchall())
    outcomes, failing, one, errors = answers
    inputs = check_json("configs", "configs/empty.config")["inputs"]
    verdicts = [own["verdict"] for own in inputs]
    assert dict(outcomes) == {verdict: verdicts.count(verdict) for verdict in set(verdicts)}
    failed = [f for own in inputs for f in own.get("findings", []) if f["verdict"] == "fail" and f["decides"]]
    assert {rule: count for rule, count, _ in failing} == {
        rule: sum(f["id"] == rule for f in failed) for rule in {f["id"] for f in failed}
    }
    by_input = {own["input"]: sum(f in failed for f in own.get("findings", [])) for own in inputs}
    assert [row[0] for row in one] == sorted(name for name, count in by_input.items() if count == 1)
    assert [row[0] for row in errors] == ["configs/empty.config"]
    # the second run adds nothing
    before = sorted(Path("findings").iterdir())
    assert names["vfioboot"].ray.check_files("configs", resume="findings").count() == 0
    assert sorted(Path("findings").iterdir()) == before

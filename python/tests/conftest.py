"""What the tests share: the repository's fixtures, and the program vfioboot."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "fixtures"

Json = dict[str, Any]


def readable() -> list[Path]:
    """Fixtures of every kind: configs, boot images, and a README that is neither."""
    found = [*FIXTURES.glob("configs/*"), *FIXTURES.glob("images/*.img")]
    return sorted(path for path in found if path.is_file())


@pytest.fixture
def program() -> str:
    return os.environ["VFIOBOOT"]


@pytest.fixture
def check_json(program: str) -> Callable[..., Json]:
    """Run `vfioboot check --format json`."""

    def run(*words: str, cwd: Path | None = None) -> Json:
        done = subprocess.run(
            [program, "check", "--format", "json", *words], capture_output=True, check=False, text=True, cwd=cwd
        )
        document: Json = json.loads(done.stdout)
        return document

    return run


def rows_of(document: Json) -> list[Json]:
    """The rows that the document of the command line stands for."""
    rows = []
    for own in document["inputs"]:
        head = {
            "input": own["input"],
            "sha256": own.get("sha256"),
            "size": own.get("size"),
            "outcome": own["verdict"],
            "error": own.get("error"),
            "description": own.get("description"),
            "release": own.get("release"),
            "arch": own.get("arch"),
            "version": document["version"],
            "profile": document["profile"],
            "fail_on": document["fail_on"],
            "options": json.dumps(document.get("given", {}), separators=(",", ":")),
        }
        nothing = dict.fromkeys(["rule", "level", "verdict", "decides", "reason", "source", "source_name"])
        if "findings" not in own:
            rows.append({**head, **nothing})
        for finding in own.get("findings", []):
            provenance = finding["provenance"]
            rows.append(
                {
                    **head,
                    "rule": finding["id"],
                    "level": finding["level"],
                    "verdict": finding["verdict"],
                    "decides": finding["decides"],
                    "reason": finding["reason"],
                    "source": provenance["source"],
                    "source_name": provenance.get("of", provenance.get("path")),
                }
            )
    return rows

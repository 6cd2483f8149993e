"""`vfioboot.check` and `check_each`: reports, rows, errors."""

from __future__ import annotations

import pickle
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

import vfioboot
from conftest import FIXTURES, Json, readable, rows_of


def config(name: str = "fixture") -> bytes:
    """A small config that is not a whole one."""
    return f"# Linux/arm64 6.1.9 Kernel Configuration\nCONFIG_ARM64=y\n# {name}\n# CONFIG_KVM is not set\n".encode()


def test_every_row_is_that_of_the_command_line(check_json: Callable[..., Json]) -> None:
    paths = readable()
    assert len(paths) > 10
    for path in paths:
        name = str(path)
        reports = vfioboot.check_each([{name: path.read_bytes()}])
        table = pa.table(vfioboot.rows(reports))
        assert table.schema == vfioboot.SCHEMA
        assert table.to_pylist() == rows_of(check_json(name)), name


def test_options_are_those_of_the_command_line(check_json: Callable[..., Json], tmp_path: Path) -> None:
    image = FIXTURES / "sample-boot.img"
    (tmp_path / "config").write_bytes(config())
    words = [str(image), "--profile", "hardened", "--cmdline", "kvm-arm.mode=none", "--fail-on", "recommended"]
    for given in [None, config()]:
        reports = vfioboot.check_each(
            [{str(image): image.read_bytes()}],
            profile="hardened",
            config=given,
            cmdline="kvm-arm.mode=none",
            fail_on="recommended",
        )
        if given is not None:
            words += ["--config", "config"]
        expected = rows_of(check_json(*words, cwd=tmp_path))
        assert pa.table(vfioboot.rows(reports)).to_pylist() == expected


def test_a_report_says_what_the_rules_say() -> None:
    report = vfioboot.check({"a.config": config()})
    assert (report.outcome, report.exit_status, report.arch) == ("fail", 1, "arm64")
    assert not report.complete
    assert report["VB-KVM-001"].verdict == "fail"
    assert report["VB-KVM-001"].decides
    with pytest.raises(KeyError):
        report["VB-NOTHING-001"]
    assert "VB-KVM-001" in report.render("sarif")
    assert "FAIL" in str(report)
    with pytest.raises(ValueError, match="expected one of text"):
        report.render("nothing")


def test_the_images_of_a_device_are_one_report(check_json: Callable[..., Json]) -> None:
    names = [str(FIXTURES / "images" / name) for name in ("boot-v4.img", "vendor_boot-v4.img")]
    images = {name: Path(name).read_bytes() for name in names if Path(name).exists()}
    assert len(images) == 2
    report = vfioboot.check(images)
    (expected,) = check_json(*images)["inputs"]
    assert report.outcome == expected["verdict"]
    assert [finding.reason for finding in report.findings] == [own["reason"] for own in expected["findings"]]


def test_errors_are_typed() -> None:
    def kind(error: type[vfioboot.Error], data: bytes) -> str:
        with pytest.raises(error) as raised:
            vfioboot.check({"file": data})
        assert isinstance(raised.value, vfioboot.Error)
        copy = pickle.loads(pickle.dumps(raised.value))
        assert (copy.kind, str(copy)) == (raised.value.kind, str(raised.value))
        return raised.value.kind

    assert kind(vfioboot.FileError, b"") == "foreign"
    assert kind(vfioboot.FileError, b"hello\n" * 100) == "foreign"
    assert (
        kind(vfioboot.ArchitectureError, b"# Linux/s390 6.1.0 Kernel Configuration\nCONFIG_S390=y\n") == "architecture"
    )
    assert kind(vfioboot.ImageError, b"ANDROID!" + bytes(100)) == "image"
    vendor_boot = (FIXTURES / "images" / "vendor_boot-v4.img").read_bytes()
    assert kind(vfioboot.KernelError, vendor_boot) == "without_kernel"
    with pytest.raises(vfioboot.ProfileError):
        vfioboot.check({"a.config": config()}, profile="nothing")
    with pytest.raises(vfioboot.ConfigError):
        vfioboot.check({"a.config": config()}, config=config())
    with pytest.raises(vfioboot.ModulesError):
        vfioboot.check({"a.config": config()}, modules={"a.txt": b"no module"})
    with pytest.raises(ValueError, match="arch"):
        vfioboot.check({"a.config": config()}, arch="pdp11")


def test_what_cannot_be_checked_has_a_report_among_others() -> None:
    good, bad = vfioboot.check_each([{"a.config": config()}, {"b": b"nothing\n" * 20}])
    assert (good.outcome, good.error) == ("fail", None)
    assert (bad.outcome, bad.exit_status) == ("error", 2)
    assert isinstance(bad.error, vfioboot.FileError)
    assert len(pa.table(bad)) == 1


def test_a_profile_of_ones_own(tmp_path: Path) -> None:
    text = 'title = "Mine"\nextends = "passthrough"\nkeep = ["VB-KVM-"]\n'
    (tmp_path / "mine.toml").write_text(text)
    report = vfioboot.check({"a.config": config()}, profile=tmp_path / "mine.toml")
    rules = {finding.rule for finding in report.findings}
    assert rules
    assert all(rule.startswith("VB-KVM-") for rule in rules)
    profile = pickle.loads(pickle.dumps(vfioboot.read_profile(tmp_path / "mine.toml")))
    assert {rule["id"] for rule in vfioboot.rules(profile)} == rules


def test_other_threads_run_meanwhile() -> None:
    image = (FIXTURES / "sample-boot.img").read_bytes()
    ticks = 0
    ended = threading.Event()

    def work() -> None:
        for _ in range(8):
            vfioboot.check({"boot.img": image})
        ended.set()

    worker = threading.Thread(target=work)
    worker.start()
    while not ended.is_set():
        time.sleep(0.001)
        ticks += 1
    worker.join()
    # with the lock held for a whole check there would be about one for each
    assert ticks > 12


def test_the_version_is_that_of_the_program(program: str) -> None:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    assert said.split()[1] == vfioboot.__version__

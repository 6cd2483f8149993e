"""`vfioboot.BootImage`."""

from __future__ import annotations

import gzip
import json
import subprocess
from pathlib import Path

import pytest

import vfioboot
from conftest import FIXTURES

IMAGES = sorted(FIXTURES.glob("images/*.img"))


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.name)
def test_an_image_is_what_info_says(path: Path, program: str) -> None:
    image = vfioboot.BootImage(path.read_bytes(), path.name)
    said = subprocess.run([program, "info", "--json", str(path)], capture_output=True, text=True, check=True)
    info = json.loads(said.stdout)
    info = info.get("images", [info])[0]
    assert image.kind == info["kind"]
    sections = {own["name"]: own for own in info["sections"]}
    for name, section in image.sections.items():
        assert image.section(name) == path.read_bytes()[section.offset : section.offset + section.size]
        assert section.offset == sections[name]["offset"]
    if image.header is not None:
        fields = info["header"]["fields"]
        numbers = {name: value for name, value in image.header.items() if isinstance(value, int)}
        assert numbers == {name: fields[name] for name in numbers}
        assert image.cmdline == info["header"]["cmdline"]


def test_the_ramdisk_is_listed_as_the_kernel_unpacks_it(program: str) -> None:
    path = FIXTURES / "sample-boot.img"
    image = vfioboot.BootImage(path.read_bytes())
    said = subprocess.run([program, "ramdisk", str(path), "ls", "--json"], capture_output=True, text=True, check=True)
    expected = json.loads(said.stdout)["entries"]
    (entries,) = image.ramdisks().values()
    assert [(own.path.decode(), own.type, own.size, own.segment) for own in entries] == [
        (own["name"], own["type"], own["size"], own["segment"]) for own in expected
    ]
    assert [f"{own.mode:04o}" for own in entries] == [own["mode"] for own in expected]


def test_the_config_is_the_embedded_one(program: str) -> None:
    path = FIXTURES / "sample-boot.img"
    said = subprocess.run([program, "config", str(path)], capture_output=True, check=False, text=True)
    config = vfioboot.BootImage(path.read_bytes()).config()
    assert config == (said.stdout if said.returncode == 0 else None)


def test_the_only_image_in_a_container() -> None:
    path = FIXTURES / "sample-boot.img"
    packed = vfioboot.BootImage(gzip.compress(path.read_bytes()), "boot.img.gz")
    assert packed.sections.keys() == vfioboot.BootImage(path.read_bytes()).sections.keys()


def test_errors_name_what_is_wrong() -> None:
    with pytest.raises(vfioboot.ImageError, match="is not a boot image"):
        vfioboot.BootImage(b"hello world" * 100)
    image = vfioboot.BootImage((FIXTURES / "sample-boot.img").read_bytes())
    with pytest.raises(KeyError):
        image.section("nothing")

#!/usr/bin/env python3
"""Validate the output of every `--json` with docs/schema, by an independent validator (the package jsonschema).

A schema for users is open: new fields may come. Here each object is closed first, so that a field which
no schema describes is found.
"""

import argparse
import gzip
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from referencing import Registry, Resource

ROOT = Path(__file__).resolve().parents[1]
SCHEMAS = ROOT / "docs" / "schema"
FIXTURES = ROOT / "fixtures"
KEY = FIXTURES / "avb" / "testkey_rsa4096.pem"
DEVICE = ["--device", "1b36:0010"]
PATCH = [*DEVICE, "--json", "--anyway", "--dry-run"]


@dataclass(frozen=True)
class Case:
    """A command whose output a schema describes."""

    schema: str
    command: Sequence[str | Path]
    statuses: tuple[int, ...] = (0,)


def closed(schema: Any) -> Any:
    """The schema with every object closed."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    copy = {name: closed(item) for name, item in schema.items()}
    if "properties" in schema and "additionalProperties" not in schema:
        copy["additionalProperties"] = False
    return copy


def validators() -> dict[str, Draft202012Validator]:
    """A validator for each file of docs/schema, by name."""
    found = {}
    for path in SCHEMAS.glob("*.schema.json"):
        schema = json.loads(path.read_text(encoding="utf-8"))
        Draft202012Validator.check_schema(schema)
        # a line of jsonl is put together from two schemas, of which each knows only its own fields
        found[path.name] = schema if path.name.startswith("check.") else closed(schema)
    registry: Registry[Any] = Registry().with_resources(
        (name, Resource.from_contents(schema)) for name, schema in found.items()
    )
    return {
        name.removesuffix(".schema.json"): Draft202012Validator(schema, registry=registry)
        for name, schema in found.items()
    }


def images(place: Path) -> list[Path]:
    """All fixtures that are images; those that are compressed are unpacked into `place`."""
    found = [FIXTURES / "sample-boot.img"]
    for folder in ("images", "vendor", "beside"):
        found += sorted((FIXTURES / folder).glob("*.img"))
    for packed in sorted((FIXTURES / "avb").glob("*.img.gz")):
        image = place / packed.name.removesuffix(".gz")
        image.write_bytes(gzip.decompress(packed.read_bytes()))
        found.append(image)
    return found


def tree(place: Path) -> Path:
    """A system with two disks and a bridge, of which one has no driver."""
    devices = place / "sys/bus/pci/devices"
    for address, ids, kind, group in (
        ("0000:00:01.0", ("1b36", "000c"), "060400", None),
        ("0000:00:02.0", ("1b36", "0010"), "010802", 0),
        ("0000:00:03.0", ("1b36", "0010"), "010802", 1),
    ):
        device = devices / address
        device.mkdir(parents=True)
        for name, text in (("vendor", ids[0]), ("device", ids[1]), ("class", kind)):
            (device / name).write_text(f"0x{text}\n")
        (device / "driver_override").write_text("(null)\n")
        if group is not None:
            members = place / f"sys/kernel/iommu_groups/{group}"
            (members / "devices").mkdir(parents=True)
            (members / "type").write_text("DMA\n")
            (members / "devices" / address).symlink_to(f"../../../../bus/pci/devices/{address}")
            (device / "iommu_group").symlink_to(f"../../../../kernel/iommu_groups/{group}")
    for name, value in (("sriov_totalvfs", 7), ("sriov_numvfs", 0), ("sriov_drivers_autoprobe", 1)):
        (place / f"sys/bus/pci/devices/0000:00:02.0/{name}").write_text(f"{value}\n")
    driver = place / "sys/bus/pci/drivers/nvme"
    driver.mkdir(parents=True)
    (devices / "0000:00:02.0" / "driver").symlink_to("../../drivers/nvme")
    (place / "sys/bus/pci/drivers/vfio-pci").mkdir()
    (place / "run/systemd/system").mkdir(parents=True)
    (place / "proc").mkdir()
    (place / "proc/cmdline").write_text("console=ttyAMA0\n")
    return place


def on_the_desktop(program: Path, place: Path) -> Iterator[Case]:
    """The cases of vfioboot."""
    every = images(place)
    images_of_set = [FIXTURES / "images" / f"{name}.img" for name in ("boot-v4", "vendor_boot-v4", "init_boot-v4")]
    for image in every:
        yield Case("info", [program, "info", image, "--json"])
        yield Case("verify", [program, "verify", image, "--json"], (0, 1))
        yield Case("cmdline", [program, "cmdline", image, "--effective", "--json"], (0, 2))
        yield Case("ramdisk", [program, "ramdisk", image, "ls", "--json"], (0, 2))
        yield Case("patch", [program, "patch", image, *PATCH], (0, 1, 2))
    for container in sorted((FIXTURES / "ota").iterdir()):
        yield Case("extract", [program, "extract", container, "--list", "--json"], (0, 2))
    yield Case("info", [program, "info", *images_of_set, "--json"])
    yield Case("cmdline", [program, "cmdline", *images_of_set, "--effective", "--json"])
    sample = every[0]
    for options in (["--hook", "init"], ["--iommu", "strict"], ["--avb", "strip"]):
        yield Case("patch", [program, "patch", sample, *PATCH, *options])
    yield Case("patch", [program, "patch", sample, "--vbmeta", place / "vbmeta-boot.img", *PATCH,
                         "--avb", "resign", "--key", KEY])  # fmt: skip
    patched = place / "patched.img"
    yield Case("patch", [program, "patch", sample, *DEVICE, "--json", "-o", patched])
    yield Case("info", [program, "info", patched, "--json"])
    # the kernel of a fixture does not run: undecided
    yield Case("boot-test", [program, "boot-test", patched, "--json"], (0, 3))
    for style in ("json", "jsonl"):
        yield Case("check", [program, "check", sample, *images_of_set, "--format", style], (0, 1, 3))


def supervisor(state: Path) -> None:
    """A stand-in for the supervisor of a guest "g": says yes to everything."""
    place = state / "guests/g"
    place.mkdir(parents=True)
    for directory in (state, state / "guests", place):
        directory.chmod(0o700)
    start = int(Path("/proc/self/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[19])
    process = {"pid": os.getpid(), "start_time": start}
    record = {
        "format": 1,
        "name": "g",
        "file": "g.toml",
        "supervisor": process,
        "qemu": None,
        "since": 1,
        "devices": [],
    }
    (place / "guest.json").write_text(json.dumps(record), encoding="ascii")
    (place / "guest.json").chmod(0o600)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(place / "vfiorun.sock"))
    listener.listen()

    def serve() -> None:
        while True:
            connection, _ = listener.accept()
            with connection, connection.makefile("rwb", buffering=0) as lines:
                lines.readline()
                lines.write(b'{"event": "VFIORUN_STEP", "data": {"text": "a step"}}\n{"return": "done"}\n')

    threading.Thread(target=serve, daemon=True).start()


def on_the_device(program: Path, place: Path) -> Iterator[Case]:
    """The cases of vfiorun, on a tree that stands for a system, and on this system."""
    here = f"--sysroot={tree(place / 'tree')}"
    guest = place / "guest.toml"
    guest.write_text('devices = ["0000:00:02.0"]\n')
    yield Case("vfiorun-devices", [program, here, "devices", "--json"])
    yield Case("vfiorun-devices", [program, f"--sysroot={place / 'empty'}", "devices", "--json"], (1,))
    yield Case("vfiorun-bind", [program, here, "bind", "0000:00:02.0", "--dry-run", "--json"], (0, 1))
    yield Case("vfiorun-release", [program, here, "release", "0000:00:02.0", "--dry-run", "--json"], (0, 1))
    yield Case("vfiorun-recover", [program, here, "recover", "--dry-run", "--json"])
    yield Case("vfiorun-status", [program, here, "status", "--json"])
    yield Case("vfiorun-service-status", [program, here, "service", "status", "--json"], (1,))
    yield Case("vfiorun-guest-check", [program, here, "guest", "check", guest, "--json"], (1,))
    yield Case("vfiorun-doctor", [program, here, "doctor", "--json"], (0, 1))
    yield Case("vfiorun-doctor", [program, here, "doctor", "0000:00:02.0", "--json"], (0, 1))
    yield Case("vfiorun-run", [program, here, "run", guest, "--dry-run", "--json"], (0, 1))
    yield Case("vfiorun-vf", [program, here, "vf", "0000:00:02.0", "--count", "2", "--dry-run", "--json"])
    supervisor(place / "state")
    running = f"--state={place / 'state'}"
    yield Case("vfiorun-monitor", [program, running, "monitor", "g", "query-status", "--json"])
    yield Case("vfiorun-attach", [program, running, "attach", "g", "0000:00:02.0", "--json"])
    yield Case("vfiorun-attach", [program, running, "detach", "g", "0000:00:02.0", "--json"])
    yield Case("vfiorun-status", [program, running, "status", "--json"])
    yield Case("vfiorun-doctor", [program, "doctor", "--json"], (0, 1))
    yield Case("vfiorun-devices", [program, "devices", "--json"], (0, 1))


def judge(case: Case, validator: Draft202012Validator, place: Path) -> Iterator[str]:
    """What is wrong with the output of a case; a refusal (2) has none."""
    environment = {**os.environ, "NO_COLOR": "1"}
    done = subprocess.run(
        [str(word) for word in case.command], cwd=place, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode not in case.statuses:
        yield f"ended with {done.returncode}: {done.stderr.strip()[-300:]}"
    elif done.returncode != 2:
        documents = done.stdout.splitlines() if "jsonl" in case.command else [done.stdout]
        for document in documents:
            for error in validator.iter_errors(json.loads(document)):
                yield f"{error.json_path}: {error.message[:300]}"


def main() -> int:
    """Run the cases of both programs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("vfioboot", type=Path)
    parser.add_argument("vfiorun", type=Path)
    arguments = parser.parse_args()
    judges = validators()
    wrong, count = 0, 0
    with tempfile.TemporaryDirectory(prefix="vfioboot-schemas.") as scratch:
        place = Path(scratch)
        cases = [
            *on_the_desktop(arguments.vfioboot.resolve(), place),
            *on_the_device(arguments.vfiorun.resolve(), place),
        ]
        for case in cases:
            count += 1
            for problem in judge(case, judges[case.schema], place):
                wrong += 1
                print(f"{case.schema}: {' '.join(str(word) for word in case.command[1:])}: {problem}", file=sys.stderr)
        unused = set(judges) - {case.schema for case in cases} - {"flow", "vbmeta"}
        if unused:
            wrong += 1
            print(f"no case has the schema {', '.join(sorted(unused))}", file=sys.stderr)
    print(f"schemas: {count} outputs, {wrong} problems")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

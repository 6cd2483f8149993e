"""play.py BASE STEPS FILES LOG: the steps in a copy of the root BASE that has FILES in /root; see play.sh.

A step is a command for bash: `run`, or `readme` for the command of the README that begins so, as it is written
there. It runs in /root, or below it `in` a directory. `status` is how it may end (0 where it is not said), `says`
what it prints somewhere; `until` is where it has shown enough, and is ended. `needs` names what is there first:
"qemu" is installed by apt, and "rust" is the toolchain of this machine, as rustup leaves it. Runs in mount and
process namespaces of its own.
"""

import argparse
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

README = Path(__file__).parents[2] / "README.md"
SECONDS = 900
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
LINKS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}
APT_QEMU = "apt-get update -qq && apt-get install -qq -y --no-install-recommends qemu-system-arm"


@dataclass
class Done:
    """A step that has been played."""

    command: str
    status: int | None
    """None where it had shown enough."""
    printed: str
    seconds: float


def main() -> int:
    """Play all steps, write what they print, and report those that went another way."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--skip", action="append", default=[])
    for name in ("base", "steps", "files", "log"):
        parser.add_argument(name, type=Path)
    given = parser.parse_args()
    steps = [
        step
        for step in tomllib.loads(given.steps.read_text(encoding="utf-8"))["step"]
        if step.get("needs") not in given.skip
    ]
    failed, text, there = 0, [], set[str]()
    with _root(given.base) as root:
        shutil.copytree(given.files, root / "root", dirs_exist_ok=True, symlinks=True)
        for step in steps:
            if (needs := step.get("needs")) and needs not in there:
                there.add(needs)
                _prepare(root, needs)
            done = _play(root, step)
            problem = _problem(step, done)
            failed += problem is not None
            text.append(f"$ {done.command}\n{done.printed}[{_end(done)}, {done.seconds:.1f} s]\n")
            if problem:
                text.append(f"!!! {problem}\n")
                print(f"{given.log.stem}: `{done.command}`: {problem}\n{done.printed[-600:]}", file=sys.stderr)
    given.log.write_text("\n".join(text), encoding="utf-8")
    print(f"newcomers {given.log.stem}: {len(steps)} steps, {failed} went another way; what they printed: {given.log}")
    return 1 if failed else 0


@contextmanager
def _root(base: Path) -> Iterator[Path]:
    """The root with a layer in memory above it, with /proc, /sys and the devices that programs expect."""
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    scratch = Path(tempfile.mkdtemp(prefix="vfioboot-newcomers."))
    try:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12g", "newcomers", scratch], check=True)
        root = scratch / "root"
        _layer(base, root, scratch / "layer")
        subprocess.run(["mount", "-t", "proc", "proc", root / "proc"], check=True)
        subprocess.run(["mount", "-t", "sysfs", "-o", "ro", "sysfs", root / "sys"], check=True)
        subprocess.run(["mount", "-t", "tmpfs", "dev", root / "dev"], check=True)
        for name in DEVICES:
            there = Path("/dev", name).stat()
            os.mknod(root / "dev" / name, stat.S_IFCHR | 0o666, there.st_rdev)
            (root / "dev" / name).chmod(0o666)
        for name, target in LINKS.items():
            (root / "dev" / name).symlink_to(target)
        (root / "etc/resolv.conf").write_bytes(Path("/etc/resolv.conf").read_bytes())
        yield root
    finally:
        # never removed file by file: it has mounts
        subprocess.run(["umount", "--recursive", "--lazy", scratch], check=False)
        scratch.rmdir()


def _layer(base: Path, place: Path, scratch: Path) -> None:
    """What is in `base`, in `place`; changes go to `scratch`."""
    for directory in (place, scratch / "upper", scratch / "work"):
        directory.mkdir(parents=True)
    layers = f"lowerdir={base},upperdir={scratch}/upper,workdir={scratch}/work"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, place], check=True)


def _prepare(root: Path, needs: str) -> None:
    if needs == "qemu":
        done = _run(root / "root", root, APT_QEMU, None)
        if done.status != 0:
            raise RuntimeError(f"{APT_QEMU}: {done.printed}")
    elif needs == "rust":
        for variable, name in (("RUSTUP_HOME", ".rustup"), ("CARGO_HOME", ".cargo")):
            home = Path(os.environ.get(variable) or Path.home() / name)
            _layer(home, root / "root" / name, root.parent / name)
    else:
        raise ValueError(f"nothing is known of {needs}")


def _play(root: Path, step: dict[str, Any]) -> Done:
    command = step.get("run") or _readme(step["readme"])
    return _run(root / "root" / step.get("in", ""), root, command, step.get("until"))


def _readme(start: str) -> str:
    """The command of the README that begins so."""
    blocks = re.findall(r"^```sh\S*\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    found: list[str] = [line for block in blocks for line in block.splitlines() if line.startswith(start)]
    if len(found) != 1:
        raise ValueError(f"{len(found)} commands of the README begin with {start}")
    return found[0]


def _run(place: Path, root: Path, command: str, until: str | None) -> Done:
    environment = {
        "PATH": "/root:/root/.cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "LC_ALL": "C.UTF-8",
        "DEBIAN_FRONTEND": "noninteractive",
    }
    started = time.monotonic()
    script = f"cd /{place.relative_to(root)} && {command}"
    process = subprocess.Popen(
        ["chroot", root, "/bin/bash", "-c", script], env=environment, text=True, errors="replace",
        start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    printed: list[str] = []
    enough = False

    def stop() -> None:
        os.killpg(process.pid, signal.SIGKILL)

    timer = threading.Timer(SECONDS, stop)
    timer.start()
    assert process.stdout
    for line in process.stdout:
        printed.append(line)
        if until and until in line:
            enough = True
            stop()
            break
    status = process.wait()
    timer.cancel()
    return Done(command, None if enough else status, "".join(printed), time.monotonic() - started)


def _end(done: Done) -> str:
    return "enough" if done.status is None else str(done.status)


def _problem(step: dict[str, Any], done: Done) -> str | None:
    """How the step went another way, or None."""
    statuses = [None] if "until" in step else step.get("status", [0])
    if done.status not in statuses:
        return f"ended with {done.status}, expected {statuses}"
    if (says := step.get("says", "")) not in done.printed:
        return f'does not say "{says}"'
    return "panics" if "panicked" in done.printed else None


if __name__ == "__main__":
    sys.exit(main())

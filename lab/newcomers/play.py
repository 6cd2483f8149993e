"""play.py BASE ARCHIVE IMAGE LOG: the steps of steps.toml in a copy of the root BASE; see play.sh.

Runs in mount and process namespaces of its own.
"""

import os
import stat
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STEPS = Path(__file__).with_name("steps.toml")
SECONDS = 300
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")


def main() -> int:
    """Play all steps, write what they print, and report those that went another way."""
    base, archive, image, log = map(Path, sys.argv[1:])
    steps = tomllib.loads(STEPS.read_text(encoding="utf-8"))["step"]
    with _root(base) as root:
        place = root / "root"
        subprocess.run(["tar", "-C", place, "--strip-components=1", "-xf", archive], check=True)
        (place / "boot.img").write_bytes(image.read_bytes())
        failed, text = 0, []
        with_qemu = False
        for step in steps:
            if step.get("qemu") and not with_qemu:
                with_qemu = True
                _run(root, "apt-get update -qq && apt-get install -qq -y --no-install-recommends qemu-system-arm")
            done = _run(root, step["run"])
            problem = _problem(step, done)
            failed += problem is not None
            text.append(f"$ {step['run']}\n{done.stdout}[{done.returncode}]\n")
            if problem:
                text.append(f"!!! {problem}\n")
                print(f"{log.stem}: `{step['run']}`: {problem}\n{done.stdout[-600:]}", file=sys.stderr)
    log.write_text("\n".join(text), encoding="utf-8")
    print(f"newcomers {log.stem}: {len(steps)} steps, {failed} went another way; what they printed is in {log}")
    return 1 if failed else 0


@contextmanager
def _root(base: Path) -> Iterator[Path]:
    """The root with a layer in memory above it, with /proc, /sys and the devices that programs expect."""
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    scratch = Path(tempfile.mkdtemp(prefix="vfioboot-newcomers."))
    try:
        subprocess.run(["mount", "-t", "tmpfs", "newcomers", scratch], check=True)
        for name in ("upper", "work", "root"):
            (scratch / name).mkdir()
        root = scratch / "root"
        layers = f"lowerdir={base},upperdir={scratch}/upper,workdir={scratch}/work"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, root], check=True)
        subprocess.run(["mount", "-t", "proc", "proc", root / "proc"], check=True)
        subprocess.run(["mount", "-t", "sysfs", "-o", "ro", "sysfs", root / "sys"], check=True)
        subprocess.run(["mount", "-t", "tmpfs", "dev", root / "dev"], check=True)
        for name in DEVICES:
            there = Path("/dev", name).stat()
            os.mknod(root / "dev" / name, stat.S_IFCHR | 0o666, there.st_rdev)
            (root / "dev" / name).chmod(0o666)
        (root / "etc/resolv.conf").write_bytes(Path("/etc/resolv.conf").read_bytes())
        yield root
    finally:
        # never removed file by file: it has mounts
        subprocess.run(["umount", "--recursive", "--lazy", scratch], check=False)
        scratch.rmdir()


def _run(root: Path, command: str) -> "subprocess.CompletedProcess[str]":
    environment = {
        "PATH": "/root:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "LC_ALL": "C.UTF-8",
        "DEBIAN_FRONTEND": "noninteractive",
    }
    return subprocess.run(
        ["chroot", root, "/bin/bash", "-c", f"cd /root && {command}"],
        env=environment, text=True, errors="replace", check=False, timeout=SECONDS,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def _problem(step: dict[str, object], done: "subprocess.CompletedProcess[str]") -> str | None:
    """How the step went another way, or None."""
    statuses = step.get("status", [0])
    assert isinstance(statuses, list)
    if done.returncode not in statuses:
        return f"ended with {done.returncode}, expected {statuses}"
    says = str(step.get("says", ""))
    if says not in done.stdout:
        return f'does not say "{says}"'
    return "panics" if "panicked" in done.stdout else None


if __name__ == "__main__":
    sys.exit(main())

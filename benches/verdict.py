"""The time to the verdict of `boot-test`, which boots twice, against one boot of the same files by QEMU alone."""

import shutil
import statistics
import subprocess
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT / "fixtures/sample-boot.img"
DEVICE = "1b36:0010"
RATIO = 2.5
"""Aim: at most this multiple."""
LAST = b"next program: "
"""What the runtime says last in a patched image."""


def ratio(vfioboot: Path, work: Path, rounds: int) -> float | None:
    """How many times as long the verdict takes; None without QEMU."""
    boards = tomllib.loads((ROOT / "src/boottest/boards.toml").read_text())
    board = next(board for board in boards["board"] if board["arch"] == "arm64")
    if shutil.which(board["qemu"]) is None:
        return None
    image, kept = work / "sample.img", work / "kept"
    subprocess.run([vfioboot, "patch", SAMPLE, "--device", DEVICE, "-o", image], stdout=subprocess.DEVNULL, check=True)
    verdict = [str(vfioboot), "boot-test", str(image)]
    subprocess.run([*verdict, "--keep", kept], stdout=subprocess.DEVNULL, check=True)
    bare = alone(boards, board, kept / "patched", work)
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(until(verdict, b"proven: "))
        theirs.append(until(bare, LAST))
    return statistics.median(ours) / statistics.median(theirs)


def alone(boards: dict[str, list[str]], board: dict[str, str], files: Path, work: Path) -> list[str]:
    """QEMU's command for these files, with the first of the stand-in devices and as long a log."""
    disk = work / "disk"
    disk.write_bytes(bytes(1 << 20))
    words = (files / "cmdline").read_text(encoding="utf-8").strip()
    return [
        board["qemu"], *board["machine"], *board["iommu"], *boards["always"], *boards["clock"], "-m", "512M",
        "-drive", f"if=none,id=disk,format=raw,file={disk}", "-device", "nvme,serial=alone,drive=disk",
        "-kernel", str(files / "kernel"), "-initrd", str(files / "initrd"),
        "-append", f"{board['console']} ignore_loglevel {words}",
    ]  # fmt: skip


def until(command: list[str], text: bytes) -> float:
    """Seconds until the program says this."""
    start = time.monotonic()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        found = any(text in line for line in process.stdout)
        seconds = time.monotonic() - start
        process.kill()
    if not found:
        raise RuntimeError(f"{command[0]} ends without {text.decode()!r}")
    return seconds

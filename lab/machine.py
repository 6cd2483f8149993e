"""The emulated device: an arm64 board with an SMMUv3, EL2 and a few PCI devices behind it.

It boots a kernel, an initramfs and a command line, and reads the verdict from the serial log. It
knows nothing of the cases that use it.
"""

import dataclasses
import os
import re
import shutil
import subprocess
import threading
import time
from pathlib import Path

QEMU = "qemu-system-aarch64"

# cortex-a76 and not max: QEMU 7.2 emulates the latter five times slower.
_BOARD = [
    "-machine", "virt,virtualization=on,gic-version=3,its=on,iommu=smmuv3",
    "-accel", "tcg,thread=multi", "-cpu", "cortex-a76", "-smp", "1", "-m", "512M",
    "-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-monitor", "none",
    "-no-reboot",
]  # fmt: skip

# What the board's own loader says to every kernel: a panic ends the run at once.
_CMDLINE = "quiet panic=-1"
_WITH_CONSOLE = "console=ttyAMA0"
# As on most phones: no driver is the console, opening /dev/console fails, and PID 1 starts with no
# open files. (The node alone says nothing: every kernel has one in its built-in initramfs.) The
# early console, which is no tty, still shows a panic.
_WITHOUT_CONSOLE = "console=none earlycon=pl011,0x9000000 keep_bootcon"

_FACT = re.compile(r"^LAB (\S+) ?(.*)$")


@dataclasses.dataclass(frozen=True)
class Device:
    """A PCI device of the board."""

    address: str
    id: str
    driver: str
    """The driver that a kernel binds it to when nobody interferes."""


DISK = Device("0000:00:02.0", "1b36:0010", "nvme")
EDU = Device("0000:00:03.0", "1234:11e8", "none")
SECOND_DISK = Device("0000:00:04.0", "1b36:0010", "nvme")
DEVICES = (DISK, EDU, SECOND_DISK)


def _device_arguments(scratch: Path) -> list[str]:
    arguments: list[str] = []
    for device in DEVICES:
        slot = int(device.address[8:10], 16)
        if device.id == EDU.id:
            arguments += ["-device", f"edu,addr={slot:x}"]
            continue
        disk = scratch / f"disk{slot}.img"
        with open(disk, "wb") as file:
            file.truncate(1 << 20)
        arguments += ["-drive", f"if=none,id=disk{slot},format=raw,file={disk}"]
        arguments += ["-device", f"nvme,serial=LAB{slot},drive=disk{slot},addr={slot:x}"]
    return arguments


@dataclasses.dataclass
class Run:
    """What came out of one boot."""

    log: str
    seconds: float
    timed_out: bool
    facts: dict[str, list[str]]

    @property
    def reached_init(self) -> bool:
        """The stand-in /init ran to its end."""
        return "end" in self.facts

    def one(self, key: str) -> str:
        """The only fact of that name, or nothing."""
        values = self.facts.get(key, [])
        return values[0] if len(values) == 1 else ""

    def driver(self, device: Device) -> str:
        """The driver that had `device` when /init looked first; "absent" when it was not there."""
        for line in self.facts.get("pci", []):
            fields = line.split()
            if fields[0] == device.address:
                return fields[2]
        return "absent"

    def why_not(self) -> str:
        """In a word, why /init did not run to its end."""
        if panic := re.search(r"Kernel panic - .*", self.log):
            return panic.group(0).strip()
        return "no answer before the time limit" if self.timed_out else "the machine stopped early"


def _read_facts(log: str) -> dict[str, list[str]]:
    facts: dict[str, list[str]] = {}
    for line in log.splitlines():
        if match := _FACT.match(line.rstrip("\r")):
            facts.setdefault(match.group(1), []).append(match.group(2))
    return facts


def boot(kernel: Path, initrd: Path, cmdline: str, *, console: bool, scratch: Path, timeout: float) -> Run:
    """Boot and wait for the end; `scratch` holds the disks and keeps the log as serial.log."""
    program = shutil.which(QEMU)
    if program is None:
        raise FileNotFoundError(f"{QEMU} is not installed: make setup")
    command = [program, *_BOARD, *_device_arguments(scratch)]
    words = f"{_WITH_CONSOLE if console else _WITHOUT_CONSOLE} {_CMDLINE} {cmdline}".strip()
    command += ["-kernel", str(kernel), "-initrd", str(initrd), "-append", words]
    started = time.monotonic()
    log_file = scratch / "serial.log"
    with open(log_file, "wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        timer = threading.Timer(timeout, process.kill)
        timer.start()
        try:
            process.wait()
        finally:
            timed_out = not timer.is_alive()
            timer.cancel()
            if process.poll() is None:
                process.kill()
                process.wait()
    text = log_file.read_bytes().decode(errors="replace")
    return Run(text, time.monotonic() - started, timed_out, _read_facts(text))


def cpu_seconds() -> float:
    """CPU time of this program and of everything it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system

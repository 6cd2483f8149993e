"""The emulated device: an arm64 board, by default with an SMMUv3, EL2 and a few PCI devices.

It boots a kernel, an initramfs and a command line, plugs in what is to come later, and reads the
verdict from the serial log. It knows nothing of the cases that use it. Another board is in pc.py.
"""

import dataclasses
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import boards
import qmp

# Parameters of the board's loader for every kernel: a panic ends the run immediately.
_CMDLINE = "quiet panic=-1"

# Seconds between two reads of the serial log.
_LOOK_EVERY = 0.05

_FACT = re.compile(r"^LAB (\S+) ?(.*)$")


@dataclasses.dataclass(frozen=True)
class Device:
    """A PCI device of the board."""

    address: str
    id: str
    driver: str
    """The driver that a kernel binds it to by default."""
    model: str
    """Its name in QEMU, with its options."""
    drive: str = ""
    """The raw image of a disk in the directory of the run; created with 1 MiB of zeros if missing."""
    readonly: bool = False

    def arguments(self, scratch: Path) -> list[str]:
        """QEMU's arguments for it."""
        slot, function = self.address[8:].split(".")
        name = f"{int(slot, 16):x}.{function}"
        device = f"{self.model},addr={name}"
        if not self.drive:
            return ["-device", device]
        image = scratch / self.drive
        if not image.exists():
            with image.open("wb") as file:
                file.truncate(1 << 20)
        drive = f"if=none,id=drive{name},format=raw,file={image}"
        if self.readonly:
            drive += ",readonly=on"
        return ["-drive", drive, "-device", f"{device},drive=drive{name}"]


def _stand_in(address: str, device_id: str, driver: str) -> Device:
    """A device that the library describes; its number is its slot."""
    slot = int(address[8:10], 16)
    model, disk = boards.stand_in(device_id, slot)
    return Device(address, device_id, driver, model, f"disk{slot}.img" if disk else "")


NVME = "1b36:0010"
DISK = _stand_in("0000:00:02.0", NVME, "nvme")
EDU = _stand_in("0000:00:03.0", "1234:11e8", "none")
SECOND_DISK = _stand_in("0000:00:04.0", NVME, "nvme")
DEVICES = (DISK, EDU, SECOND_DISK)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Board:
    """The properties of all boards, and the devices of one."""

    arch: ClassVar[str]
    """The architecture of its kernels; the library describes its board."""

    devices: tuple[Device, ...] = DEVICES
    memory: str = "512M"
    processors: int = 1
    console: bool = True
    measured: bool = False
    """Its clock counts instructions, 500 million per second, so that a busy host does not affect
    measurements."""
    extra: tuple[str, ...] = ()
    """More arguments of QEMU."""
    newer: Path | None = None
    """A QEMU other than the system's."""

    @property
    def qemu(self) -> str:
        """The program that emulates it."""
        return str(self.newer or boards.board(self.arch)["qemu"])

    @property
    def words(self) -> str:
        """Kernel parameters for the log.

        Without a console, opening /dev/console fails, and PID 1 starts with no open files, as on most phones.
        (The node alone says nothing: every kernel has one in its built-in initramfs.) An early console, which
        is not a tty, still shows a panic.
        """
        table = boards.board(self.arch)
        words = str(table["console"])
        if not self.console:
            words = " ".join(["console=none", table["early"], "keep_bootcon", *words.split()[1:]])
        return words

    def board(self) -> list[str]:
        """QEMU's arguments for the board without its devices."""
        raise NotImplementedError

    def arguments(self, scratch: Path) -> list[str]:
        """All arguments of QEMU; `scratch` contains the disks."""
        clock = boards.CLOCK if self.measured else ["-accel", "tcg,thread=multi"]
        size = ["-smp", str(self.processors), "-m", self.memory]
        devices = [word for device in self.devices for word in device.arguments(scratch)]
        return [*self.board(), *clock, *boards.ALWAYS, *size, *devices, *self.extra]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Machine(Board):
    """The arm64 board."""

    arch: ClassVar[str] = "arm64"

    virtualization: bool = True
    """Whether the CPU has EL2, which KVM needs."""
    gic_version: int = 3
    """Version 3 has an ITS, which isolates the interrupts of devices; version 2 has not."""
    smmu: bool = True

    def board(self) -> list[str]:
        table = boards.board(self.arch)
        words = [*table["machine"], *(table["iommu"] if self.smmu else [])]
        # of two values of a property the last one counts
        if not self.virtualization:
            words += ["-machine", "virtualization=off"]
        if self.gic_version != 3:
            words += ["-machine", f"gic-version={self.gic_version},its=off"]
        return words


@dataclasses.dataclass(frozen=True)
class Plug:
    """A device that is plugged in while the machine runs, or another command of QMP."""

    when: str
    """The text in the serial log after which it is plugged in."""
    device: Mapping[str, object]
    """Its properties: the arguments of the command."""
    command: str = "device_add"


@dataclasses.dataclass
class Run:
    """The result of one boot."""

    log: str
    seconds: float
    timed_out: bool
    facts: dict[str, list[str]]

    @property
    def reached_init(self) -> bool:
        """Whether the stand-in /init completed."""
        return "end" in self.facts

    def one(self, key: str) -> str:
        """The only fact of that name, or None."""
        values = self.facts.get(key, [])
        return values[0] if len(values) == 1 else ""

    def driver(self, device: Device) -> str:
        """The driver of `device` when /init started; "absent" if there was no such device."""
        for line in self.facts.get("pci", []):
            fields = line.split()
            if fields[0] == device.address:
                return fields[2]
        return "absent"

    def why_not(self) -> str:
        """The reason why /init did not complete, in short."""
        if panic := re.search(r"Kernel panic - .*", self.log):
            return panic.group(0).strip()
        return "no answer before the time limit" if self.timed_out else "the machine stopped early"


def read_facts(log: str) -> Iterator[tuple[str, str]]:
    """The lines "LAB key value" of a log, in order."""
    for line in log.splitlines():
        if match := _FACT.match(line.rstrip("\r")):
            yield match.group(1), match.group(2)


@dataclasses.dataclass(frozen=True)
class Running:
    """A machine that is running."""

    process: subprocess.Popen[bytes]
    channel: qmp.Channel
    log: Path

    def says(self, text: str) -> bool:
        """Wait for a text in its serial log; false if the machine ends without it."""
        while text.encode() not in self.log.read_bytes():
            if self.process.poll() is not None:
                return False
            time.sleep(_LOOK_EVERY)
        return True

    def plug_in(self, plugs: Sequence[Plug]) -> None:
        """Plug in each device when its text appears, one after the other."""
        for plug in plugs:
            if not self.says(plug.when):
                return
            self.channel.execute(plug.command, plug.device)


def command_line(machine: Board, cmdline: str) -> str:
    """The kernel parameters of the board's loader, and others."""
    return f"{machine.words} {_CMDLINE} {cmdline}".strip()


def boot(
    machine: Board,
    kernel: Path,
    initrd: Path,
    cmdline: str,
    *,
    scratch: Path,
    timeout: float,
    log: str = "serial.log",
    plugs: Sequence[Plug] = (),
) -> Run:
    """Boot a kernel and wait for the end. `scratch` and the others are those of `start`."""
    loading = ["-kernel", str(kernel), "-initrd", str(initrd), "-append", command_line(machine, cmdline)]
    return start(machine, loading, lambda running: running.plug_in(plugs), scratch=scratch, timeout=timeout, log=log)


def program(machine: Board) -> str:
    """QEMU's program for the board. Raises `FileNotFoundError`."""
    found = shutil.which(machine.qemu)
    if found is None:
        raise FileNotFoundError(f"{machine.qemu} is not installed: make setup")
    return found


def start(
    machine: Board,
    loading: Sequence[str],
    meanwhile: Callable[[Running], None],
    *,
    scratch: Path,
    timeout: float,
    log: str = "serial.log",
) -> Run:
    """Start the machine, do something `meanwhile`, and wait for its end. `loading` are QEMU's arguments for what
    it starts with; `scratch` contains the disks and the serial log, and is QEMU's working directory."""
    command = [program(machine), *machine.arguments(scratch), *loading]
    started = time.monotonic()
    log_file = scratch / log
    with log_file.open("wb") as serial, qmp.channel() as channel:
        process = subprocess.Popen(
            [*command, *channel.arguments], cwd=scratch, stdin=subprocess.DEVNULL, stdout=serial,
            stderr=subprocess.STDOUT, pass_fds=channel.pass_fds,
        )  # fmt: skip
        channel.handed_over()
        timer = threading.Timer(timeout, process.kill)
        timer.start()
        try:
            meanwhile(Running(process, channel, log_file))
            process.wait()
        finally:
            timed_out = not timer.is_alive()
            timer.cancel()
            if process.poll() is None:
                process.kill()
                process.wait()
    text = log_file.read_bytes().decode(errors="replace")
    facts: dict[str, list[str]] = {}
    for key, value in read_facts(text):
        facts.setdefault(key, []).append(value)
    return Run(text, time.monotonic() - started, timed_out, facts)


def cpu_seconds() -> float:
    """CPU time of this program and of everything it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system

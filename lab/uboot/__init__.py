"""A second judge: U-Boot takes the images apart, as an Android bootloader, and they are flashed with the program
that people use: family "uboot".

Every case flashes what `patch` wrote with the commands that it printed, and U-Boot boots from the card. Header v3
is left out: U-Boot reads a size after the end of that header.
"""

import dataclasses
import os
import re
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import devicetree
import machine
from family import LAB, Failed, Family, Lab, Verdict, from_script
from images import BOOT, INIT_BOOT, VENDOR_BOOT, Aosp
from machine import Machine, Run, Running
from patching import cases, original, verdict

_BUILD_LOCK = threading.Lock()

# The programs of U-Boot are here when it starts (CONFIG_BOOTCOMMAND).
_SCRIPT = "0x4f000000"
# An image is read to the buffer of fastboot, or behind it; the board's device tree is where QEMU puts it.
_PLACES = {BOOT: "50000000", VENDOR_BOOT: "54000000", INIT_BOOT: "58000000"}
_TREE = "40000000"

# The card is larger than all partitions.
_PARTITION, _CARD = "16M", 64 << 20

_DEVICES = (
    "-device", "sdhci-pci,addr=10", "-drive", "if=none,id=card,format=raw,file=card", "-device", "sd-card,drive=card",
    # not restricted: what is sent back to a forwarded port would be dropped as well
    "-netdev", "user,id=net,ipv6=off,hostfwd=udp:127.0.0.1:0-:5554",
    "-device", "virtio-net-pci,netdev=net,addr=11,romfile=",
)  # fmt: skip
_READY = "Listening for fastboot command"
_FORWARDED = re.compile(r"UDP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)")

_WORD, _SPOILED = b"rdinit=/vfioboot/init", b"rdinit=/vfioboot/none"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case(cases.Case):
    """A set that is flashed and booted. Its kernel has a console."""

    ci: bool = False
    console: bool = True
    tree: bool = True
    """Whether the kernel gets the device tree in the images; otherwise that of the board."""
    trial: bool = False
    """Whether the image is not flashed, but started once."""
    spoiled: bool = False
    """Whether the word on the command line names another program."""
    undone: bool = False
    """Whether the originals are flashed afterwards, as the patch says."""


CASES = (
    Case(name="v0", header=0, tree=False),
    # a trial is offered for a ramdisk of Android
    Case(name="v0/trial", header=0, tree=False, trial=True, init_is_link=True),
    Case(name="v1", header=1, compression="lz4_legacy", tree=False),
    Case(name="v2", header=2, undone=True),
    Case(name="v2/spoiled", header=2, spoiled=True),
    Case(name="v4", header=4, compression="lz4_legacy", in_boot=True),
    Case(name="v4/init_boot", header=4, compression="lz4_legacy", undone=True),
    Case(name="v4/spoiled", header=4, spoiled=True),
)


@dataclasses.dataclass(frozen=True)
class _Phone:
    """The machine with U-Boot and its card."""

    lab: Lab
    parts: Path
    """See build.sh."""
    case: Case
    images: Sequence[str]
    work: Path

    def start(self, commands: Sequence[str], *, first: bool = True) -> Run:
        """Start it, run commands of fastboot, and let it boot, unless the last one does."""
        script = self.work / "script"
        script.write_text("".join(f"{name}={text}\n" for name, text in self._script(first).items()))
        loading = [*_firmware(self.parts), "-device", f"loader,file={script},addr={_SCRIPT},force-raw=on"]

        def flash(running: Running) -> None:
            if not running.says(_READY):
                raise Failed("U-Boot does not come to fastboot")
            usernet = running.channel.execute("human-monitor-command", {"command-line": "info usernet"})
            found = _FORWARDED.search(usernet)
            if found is None:
                raise Failed(f"QEMU forwards no port: {usernet}")
            for command in commands:
                self._fastboot(command, found.group(1))

        board = Machine(extra=_DEVICES)
        log = "first.log" if first else "second.log"
        return machine.start(board, loading, flash, scratch=self.work, timeout=self.lab.timeout, log=log)

    def _script(self, first: bool) -> Mapping[str, str]:
        """The variables of U-Boot."""
        partitions = [f"name={name.removesuffix('.img')},size={_PARTITION}" for name in _PLACES]
        places = [_PLACES[name] for name in (BOOT, VENDOR_BOOT, INIT_BOOT) if name in self.images]
        # with three arguments, U-Boot does not look into the images for a device tree
        tree = "" if self.case.tree else f" {_PLACES[BOOT]} {_TREE}"
        start = f"abootimg addr {' '.join(places)}; bootm {_PLACES[BOOT]}{tree}; poweroff"
        read = [self._read(name) for name in self.images]
        make = "gpt write mmc 0 ${partitions}; " if first else ""
        return {
            "bootargs": machine.command_line(Machine(), ""),
            "ipaddr": "10.0.2.15", "netmask": "255.255.255.0",
            "partitions": ";".join(partitions),
            "lab": f"{make}fastboot udp; {'; '.join(read)}; {start}",
            "fastboot_bootcmd": start,
        }  # fmt: skip

    @staticmethod
    def _read(name: str) -> str:
        partition = name.removesuffix(".img")
        place = f"part start mmc 0 {partition} start; part size mmc 0 {partition} size"
        return f"{place}; mmc read {_PLACES[name]} ${{start}} ${{size}}"

    def _fastboot(self, command: str, port: str) -> None:
        """Run a command as it is printed."""
        path = f"{self.parts}:{self.lab.vfioboot.parent}:{os.environ['PATH']}"
        environment = os.environ | {"PATH": path, "ANDROID_SERIAL": f"udp:127.0.0.1:{port}"}
        done = subprocess.run(
            ["sh", "-c", command], env=environment, cwd=self.work, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=self.lab.timeout, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise Failed(f"{command}: {done.stdout.strip()}")


def _system() -> Path:
    with _BUILD_LOCK:
        (directory,) = from_script(LAB / "uboot" / "build.sh")
    return directory


def _firmware(parts: Path) -> list[str]:
    return ["-bios", str(parts / "u-boot.bin")]


def _spoil(written: Sequence[Path]) -> None:
    """The files in place, so that the same commands flash them."""
    spoiled = 0
    for image in written:
        data = image.read_bytes()
        spoiled += data.count(_WORD)
        image.write_bytes(data.replace(_WORD, _SPOILED))
    if spoiled != 1:
        raise Failed(f"the images have the word {spoiled} times")


def _wrong(case: Case, run: Run) -> Iterator[str]:
    if not case.spoiled:
        yield from verdict.of_boot(case, run)
        if case.header == 4 and not any("androidboot.hardware" in line for line in run.facts.get("bootconfig", [])):
            yield "the kernel has not read the bootconfig"
    elif run.reached_init or "Kernel panic" not in run.log:
        yield f"the kernel does not panic: {run.why_not()}"


def _undone(case: Case, run: Run) -> Iterator[str]:
    yield from verdict.of_boot(dataclasses.replace(case, to_vfio=(), speaks=False), run)
    if run.facts.get("dmesg"):
        yield "the runtime still runs"


def _run(lab: Lab, of_boot: Sequence[Case], work: Path) -> Verdict:
    (case,) = of_boot
    into, out = work / "original", work / "patched"
    into.mkdir()
    parts = _system()
    tree = devicetree.of_board(Machine(), work, _firmware(parts))
    images = original.make(case, Aosp(lab.tools), lab.kernels, lab.tools / "busybox", into, tree=tree)
    devices = [word for device in case.devices for word in ("--device", device)]
    answer = lab.answer("patch", *images.values(), *devices, *case.options, "-d", out)
    commands = answer["commands"]
    if case.spoiled:
        _spoil([Path(path) for path in answer["written"]])
    with (work / "card").open("wb") as card:
        card.truncate(_CARD)
    phone = _Phone(lab, parts, case, tuple(images), work)
    if case.trial and not commands["trial"]:
        raise Failed("the patch offers no trial")
    before = [f"fastboot flash {name.removesuffix('.img')} {path}" for name, path in images.items()]
    after = [commands["trial"]] if case.trial else [*commands["flash"], "fastboot continue"]
    wrong = list(_wrong(case, phone.start([*before, *after])))
    if case.undone:
        run = phone.start([*commands["undo"], "fastboot continue"], first=False)
        wrong += [f"undone: {line}" for line in _undone(case, run)]
    return {case.name: wrong}


FAMILY = Family("uboot", CASES, _run)

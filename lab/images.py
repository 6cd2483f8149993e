"""Boot images with AOSP's own tools: created, unpacked, and assembled like in a bootloader.

AOSP's tools are the judge here: nothing in this file comes from the project under test.
"""

import dataclasses
import struct
import subprocess
import sys
from pathlib import Path

BOOT, VENDOR_BOOT, INIT_BOOT = "boot.img", "vendor_boot.img", "init_boot.img"


class Unreadable(Exception):
    """AOSP's tools do not accept an image."""


@dataclasses.dataclass
class Contents:
    """The contents of a set of images, in the order in which they are passed to the kernel."""

    kernel: bytes = b""
    ramdisks: list[tuple[str, bytes]] = dataclasses.field(default_factory=list)
    cmdline: str = ""
    bootconfig: bytes = b""
    others: dict[str, bytes] = dataclasses.field(default_factory=dict)
    """Everything else in the images: dtb, second stage, recovery_dtbo."""


class Aosp:
    """mkbootimg and unpack_bootimg."""

    def __init__(self, tools: Path) -> None:
        self._tools = tools

    def _run(self, tool: str, arguments: list[str]) -> str:
        # run the script with any python3, not with its #! line
        command = [sys.executable, str(self._tools / tool), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Unreadable(f"{tool} failed: {done.stderr.strip().splitlines()[-1:]}")
        return done.stdout

    def make(self, output: Path, arguments: list[str]) -> None:
        """Create an image; a vendor_boot image if that is its name."""
        option = "--vendor_boot" if output.name.startswith("vendor") else "--output"
        self._run("mkbootimg", [*arguments, option, str(output)])

    def arguments_of(self, image: Path, into: Path) -> list[str]:
        """Unpack `image`; returns the arguments of mkbootimg to recreate it."""
        text = self._run("unpack_bootimg", ["--boot_img", str(image), "--out", str(into), "--format=mkbootimg", "-0"])
        return text.split("\0")[:-1]

    def rebuilds(self, image: Path, scratch: Path, *, shrunk: bool = False) -> bool:
        """Whether mkbootimg creates the same bytes from the contents: padding, sizes and id are correct.

        A file that has `shrunk` keeps its size, with zeros at its end.
        """
        again = scratch / ("vendor_again.img" if image.name.startswith("vendor") else "again.img")
        self.make(again, self.arguments_of(image, scratch / "again"))
        made, whole = again.read_bytes(), image.read_bytes()
        return made + bytes(len(whole) - len(made) if shrunk else 0) == whole

    def take_apart(self, images: dict[str, Path], scratch: Path) -> Contents:
        """The contents of all the images of a device."""
        contents = Contents()
        words: list[str] = []
        # vendor ramdisks come before the generic one, and so does their command line
        for name in (VENDOR_BOOT, BOOT, INIT_BOOT):
            if name not in images:
                continue
            arguments = self.arguments_of(images[name], scratch / name.removesuffix(".img"))
            for option, value in zip(arguments[::2], arguments[1::2], strict=True):
                if option in ("--cmdline", "--vendor_cmdline"):
                    words.append(value)
                elif option in ("--ramdisk", "--vendor_ramdisk", "--vendor_ramdisk_fragment"):
                    if data := Path(value).read_bytes():
                        contents.ramdisks.append((f"{name}/{Path(value).name}", data))
                elif option == "--kernel":
                    contents.kernel = contents.kernel or Path(value).read_bytes()
                elif option == "--vendor_bootconfig":
                    contents.bootconfig = Path(value).read_bytes()
                elif option in ("--dtb", "--second", "--recovery_dtbo", "--recovery_acpio"):
                    contents.others[f"{name}{option}"] = Path(value).read_bytes()
        contents.cmdline = " ".join(word for word in words if word)
        return contents


def initramfs(contents: Contents, more_bootconfig: str = "") -> bytes:
    """The initramfs that a bootloader passes to the kernel: all ramdisks, then the bootconfig and its trailer."""
    memory = b"".join(data for _, data in contents.ramdisks)
    config = contents.bootconfig + more_bootconfig.encode()
    if config:
        config += b"\0" * (-(len(memory) + len(config)) % 4)
        checksum = sum(config) & 0xFFFFFFFF
        memory += config + struct.pack("<II", len(config), checksum) + b"#BOOTCONFIG\n"
    return memory

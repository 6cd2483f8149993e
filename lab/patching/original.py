"""The original images of a case, before the patch."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from compress import compress
from cpio import Archive
from family import LAB
from images import BOOT, INIT_BOOT, VENDOR_BOOT, Aosp

from .cases import Case

STAND_IN = LAB / "guest" / "init"


def _generic_ramdisk(case: Case, busybox: Path) -> bytes:
    """The stand-in system."""
    archive = Archive()
    archive.directory("bin")
    archive.file("bin/busybox", busybox.read_bytes(), 0o755)
    if case.recovery or case.init_is_link:
        for directory in ("system", "system/bin"):
            archive.directory(directory)
    if case.recovery:
        archive.file("system/bin/recovery", b"#!/bin/busybox sh\n", 0o750)
    if case.init_is_link:
        archive.file("system/bin/init", STAND_IN.read_bytes(), 0o750)
        archive.link("init", "/system/bin/init")
    else:
        archive.file("init", STAND_IN.read_bytes(), 0o750)
    archive.file("part-generic", b"")
    return compress(archive.finish(), case.compression)


def _vendor_fragment(case: Case, part: str) -> bytes:
    archive = Archive()
    archive.directory("first_stage_ramdisk")
    archive.file(f"part-{part}", part.encode() * 50)
    return compress(archive.finish(), case.compression)


def expected_parts(case: Case) -> set[str]:
    """Files in / when all ramdisks are unpacked."""
    vendor = {3: {"platform"}, 4: {"platform", "dlkm"}}.get(case.header, set())
    added = {"/part-peer"} if case.rebuilt else set()
    return {"/part-generic", *added, *(f"/part-{part}" for part in vendor)}


def _blob(name: str, size: int) -> bytes:
    """Incompressible bytes that are the same in every run."""
    block = hashlib.sha256(name.encode()).digest()
    return (block * (size // len(block) + 1))[:size]


def make(
    case: Case,
    aosp: Aosp,
    kernels: Mapping[str, Path],
    busybox: Path,
    into: Path,
    *,
    tree: bytes = b"",
    system: bytes = b"",
) -> dict[str, Path]:
    """Create the images with AOSP's mkbootimg; by their usual names. `tree` is the device tree in them, for a
    bootloader that uses it, and `system` a ramdisk in place of the stand-in system."""

    def part(name: str, data: bytes) -> str:
        path = into / name
        path.write_bytes(data)
        return str(path)

    kernel = str(kernels[case.kernel] / ("Image" if case.raw_kernel else "Image.gz"))
    generic = part("generic", system or _generic_ramdisk(case, busybox))
    dtb = part("dtb", tree or _blob("dtb", 5000))
    version = ["--header_version", str(case.header), "--os_version", "13.0.0", "--os_patch_level", "2023-05"]
    images = {BOOT: into / BOOT}
    if case.header <= 2:
        arguments = [*version, "--kernel", kernel, "--ramdisk", generic, "--pagesize", "2048"]
        arguments += ["--cmdline", case.cmdline]
        if case.header >= 1:
            arguments += ["--recovery_dtbo", part("recovery_dtbo", _blob("dtbo", 3000))]
            arguments += ["--second", part("second", _blob("second", 2500))]
        if case.header == 2:
            arguments += ["--dtb", dtb]
        aosp.make(images[BOOT], arguments)
        return images

    vendor = ["--header_version", str(case.header), "--pagesize", "4096", "--dtb", dtb]
    platform = part("platform", _vendor_fragment(case, "platform"))
    images[VENDOR_BOOT] = into / VENDOR_BOOT
    if case.header == 3:
        aosp.make(images[BOOT], [*version, "--kernel", kernel, "--ramdisk", generic])
        aosp.make(images[VENDOR_BOOT], [*vendor, "--vendor_cmdline", case.cmdline, "--vendor_ramdisk", platform])
        return images

    boot = [*version, "--kernel", kernel]
    if case.in_boot:
        boot += ["--ramdisk", generic]
    else:
        images[INIT_BOOT] = into / INIT_BOOT
        aosp.make(images[INIT_BOOT], [*version, "--ramdisk", generic])
    aosp.make(images[BOOT], boot)
    vendor += ["--vendor_cmdline", f"bootconfig {case.cmdline}".strip()]
    vendor += ["--vendor_bootconfig", part("bootconfig", b'androidboot.hardware = "lab"\n')]
    vendor += ["--ramdisk_type", "platform", "--ramdisk_name", ""]
    vendor += ["--vendor_ramdisk_fragment", platform]
    vendor += ["--ramdisk_type", "dlkm", "--ramdisk_name", "dlkm"]
    vendor += ["--vendor_ramdisk_fragment", part("dlkm", _vendor_fragment(case, "dlkm"))]
    aosp.make(images[VENDOR_BOOT], vendor)
    return images

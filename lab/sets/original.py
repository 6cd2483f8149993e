"""The original images of a layout."""

from pathlib import Path

from compress import compress
from cpio import Archive
from family import LAB
from images import BOOT, INIT_BOOT, VENDOR_BOOT, Aosp

from .cases import Layout

STAND_IN = LAB / "guest" / "init"
MAGISK = LAB / "flows" / "guest" / "magiskinit"


def _system(busybox: Path, form: str, *, magisk: bool = False) -> bytes:
    """The stand-in system."""
    archive = Archive()
    archive.directory("bin")
    archive.file("bin/busybox", busybox.read_bytes(), 0o755)
    if magisk:
        for directory in (".backup", "overlay.d", "overlay.d/sbin"):
            archive.directory(directory)
        archive.file("init", MAGISK.read_bytes(), 0o750)
        archive.file(".backup/init", STAND_IN.read_bytes(), 0o750)
        archive.file(".backup/.magisk", b"KEEPVERITY=true\nKEEPFORCEENCRYPT=true\n")
        archive.file("overlay.d/sbin/magisk64.xz", bytes(64))
        archive.file("overlay.d/vfioboot.rc", b"# of another version\n")
    else:
        archive.file("init", STAND_IN.read_bytes(), 0o750)
    archive.file("part-system", b"")
    return compress(archive.finish(), form)


def _other() -> bytes:
    archive = Archive()
    archive.directory("first_stage_ramdisk")
    archive.file("part-other", b"other" * 50)
    return compress(archive.finish(), "gzip")


def make(layout: Layout, aosp: Aosp, kernel: Path, busybox: Path, into: Path) -> dict[str, Path]:
    """Create the images with AOSP's mkbootimg; by their usual names."""

    def part(name: str, data: bytes) -> str:
        path = into / name
        path.write_bytes(data)
        return str(path)

    other = part("other", _other())
    images: dict[str, list[str]] = {}
    if layout is Layout.ONE_RAMDISK:
        ramdisk = part("ramdisk", _system(busybox, "lz4_legacy") + _other())
        images[BOOT] = ["--header_version", "2", "--pagesize", "2048", "--kernel", str(kernel), "--ramdisk", ramdisk]
        images[BOOT] += ["--dtb", part("dtb", bytes(64))]
    else:
        version = ["--header_version", "4"]
        vendor = ["--ramdisk_type", "platform", "--ramdisk_name", ""]
        boot = ["--kernel", str(kernel)]
        if layout in (Layout.GKI, Layout.OVERLAY):
            vendor += ["--vendor_ramdisk_fragment", other]
            system = part("system", _system(busybox, "gzip", magisk=layout is Layout.OVERLAY))
            images[INIT_BOOT] = [*version, "--ramdisk", system]
        else:
            vendor += ["--vendor_ramdisk_fragment", part("system", _system(busybox, "lz4_legacy"))]
            if layout is Layout.FRAGMENTS:
                vendor += ["--ramdisk_type", "dlkm", "--ramdisk_name", "dlkm", "--vendor_ramdisk_fragment", other]
            else:
                boot += ["--ramdisk", other]
        images = {VENDOR_BOOT: [*version, *vendor], BOOT: [*version, *boot], **images}
    for name, arguments in images.items():
        aosp.make(into / name, arguments)
    return {name: into / name for name in images}

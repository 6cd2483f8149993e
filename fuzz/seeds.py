#!/usr/bin/env python3
"""Seeds for the fuzz targets, from the fixtures.

fuzz/seeds.py DIR
"""

import gzip
import struct
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUT = Path(sys.argv[1])

BOOT = """\
version = 1
init = "/init"
deadline_ms = 5000
devices = ["1b36:0010", "0000:00:02.0"]

[[modules]]
path = "/vfioboot/modules/vfio.ko"
params = "a=1"
"""
MANIFEST = """\
format = 1
kind = "boot"
compute_id = true

[header]
cmdline = "console=ttyAMA0"
os_version = "12.0.0"

[[region]]
kind = "header"
size = 1660
file = "header.bin"

[[region]]
kind = "padding"
size = 388
"""
BOOTCONFIG = """\
# all of the grammar
androidboot { hardware = lab; list = one, "two;", # behind
  'three'; deep.er { x = 1; y } } k
a.b = 1
a.b := 2, 3
a.b += 4
"""
RC = """\
import /init.environ.rc
import /init.${ro.hardware}.rc

on early-init && property:ro.boot.x=1 \\
    && property:persist.y=*
    # all of the grammar
    write /sys/bus/pci/drivers_probe "0000:01:00.0\\n"
    exec u:r:vdc:s0 root -- /system/bin/vdc --wait
    trigger my-event

on my-event
    start a

service a /sbin/a -x "b c"
    class main
    user root
    seclabel u:r:su:s0
    socket a stream 0660 root system
    onrestart restart b
    oneshot
"""
GUEST = """\
name = "guest"
devices = ["0000:01:00.0", { device = "1b36:0010", rom = "/rom" }]
on_exit = "keep"
qemu_arguments = ["-global", "a=b"]

[memory]
size = "2G"
hugepages = "auto"

[cpus]
count = 4
cluster = "big"

[[disks]]
path = "/disk.qcow2"
format = "qcow2"

[network]
mode = "user"
forward = ["tcp:2222:22"]
"""
CONFIG = """\
# Linux/arm64 6.1.192 Kernel Configuration
CONFIG_VFIO=y
CONFIG_VFIO_PCI=m
# CONFIG_KVM is not set
CONFIG_CMDLINE="a \\"b\\""
CONFIG_HZ=250
CONFIG_PHYS=0x1000
"""
JOURNAL = """\
{"header":{"format":1,"boot_id":"b","owner":{"pid":1,"start_time":2},"what":"bind 0000:00:02.0"}}
{"step":{"attribute":{"path":"sys/x","value":"y"}}}
{"step":{"directory":{"path":"run/vfiorun"}}}
{"step":{"process":{"pid":3,"start_time":4}}}
{"undone":0}
"kept"
"""
QMP = """\
{"QMP":{"version":{"qemu":{"major":7,"minor":2,"micro":0},"package":""},"capabilities":[]}}
{"return":{"status":"running"}}
{"error":{"class":"GenericError","desc":"no"}}
{"event":"SHUTDOWN","data":{"guest":true,"reason":"guest-shutdown"},"timestamp":{"seconds":1}}
"""
UNDO = (
    '{"format":1,"tool":"vfioboot 0.1.0","images":[{"kind":"boot","size":%d,"sha256":"%s",'
    '"header":"%s","inserted":["ramdisk",%d],"replaced":[],"displaced":[[2048,"00ff"]],'
    '"tail":[{"zeros":8},{"trailing":4},"vbmeta",{"literal":"00"}]}]}\n'
)


# the images of a device, as they are given together
SETS = (
    ("boot-v4", "vendor_boot-v4", "init_boot-v4"),
    ("boot-v4", "init_boot-v4"),
    ("boot-v4", "vendor_boot-v4-fragments"),
    ("boot-v4-ramdisk", "vendor_boot-v4-no-dtb"),
    ("boot-v3", "vendor_boot-v3"),
    ("boot-v2-lz4_legacy",),
    ("boot-v2-gzip-dtbo",),
)
# which bits select what: drawn_options in shared.rs
OPTIONS = (0, 0x0002, 0x0009, 0x0108, 0x0330, 0x0F45)


def put(target: str, name: str, data: bytes) -> None:
    directory = OUT / target
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).write_bytes(data)


def sections(image: bytes) -> tuple[bytes, bytes]:
    """The kernel and the (vendor) ramdisk."""
    if image.startswith(b"VNDRBOOT"):
        (page,) = struct.unpack_from("<I", image, 12)
        (size,) = struct.unpack_from("<I", image, 24)
        start = -(-2128 // page) * page
        return b"", image[start : start + size]
    (version,) = struct.unpack_from("<I", image, 40)
    if version >= 3:
        page, (kernel, ramdisk) = 4096, struct.unpack_from("<II", image, 8)
    else:
        kernel, ramdisk, page = (struct.unpack_from("<I", image, at)[0] for at in (8, 16, 36))
    start = -(-1660 // page) * page
    after = start + -(-kernel // page) * page
    return image[start : start + kernel], image[after : after + ramdisk]


def main() -> None:
    for path in sorted((ROOT / "fixtures/images").glob("*.img")):
        image = path.read_bytes()
        put("image", path.stem, image)
        kernel, ramdisk = sections(image)
        if kernel:
            put("kernel", path.stem, kernel)
        if ramdisk:
            put("ramdisk", path.stem, ramdisk)
            put("image", f"{path.stem}.ramdisk", ramdisk)
    for path in sorted((ROOT / "fixtures/vendor").glob("*.img")):
        put("image", f"vendor-{path.stem}", path.read_bytes())
    for number, names in enumerate(SETS):
        images = [(ROOT / f"fixtures/images/{name}.img").read_bytes() for name in names]
        joined = b"".join(struct.pack("<I", len(image)) + image for image in images)
        for options in OPTIONS:
            put("boot_set", f"{number}-{options:04x}", struct.pack("<H", options) + joined)
    image = (ROOT / "fixtures/images/boot-v2-raw.img").read_bytes()
    (ramdisk,) = struct.unpack_from("<I", image, 16)
    undo = UNDO % (len(image), "00" * 32, image[:1660].hex(), ramdisk)
    put("undo", "record", undo.encode())
    for path in sorted((ROOT / "fixtures/avb").glob("*.img.gz")):
        image = gzip.decompress(path.read_bytes())
        if image.startswith(b"AVB0"):
            put("vbmeta", path.stem, image.rstrip(b"\0"))
        elif image[-64:-60] == b"AVBf":
            at, size = struct.unpack_from(">QQ", image, len(image) - 44)
            put("vbmeta", path.stem, image[at : at + size])
    for path in sorted((ROOT / "fixtures/ota").iterdir()):
        put("ota", path.name, path.read_bytes())
    put("text", "boot.toml", BOOT.encode())
    put("text", "image.toml", MANIFEST.encode())
    put("text", "device", b"0000:00:02.0")
    put("bootconfig", "grammar", BOOTCONFIG.encode())
    put("rc", "grammar", RC.encode())
    put("rc", "windows", RC.replace("\n", "\r\n").encode())
    put("cmdline", "line", b'console=ttyAMA0 a="x y" k=2 -- b')
    put("boot", "boot.toml", BOOT.encode())
    put("guest", "all-keys", (ROOT / "docs/guest.toml").read_bytes())
    put("guest", "lab", (ROOT / "lab/flows/guest/guest.toml").read_bytes())
    put("config", "small", CONFIG.encode())
    for path in sorted((ROOT / "fixtures/configs").glob("*.config")):
        put("config", path.stem, path.read_bytes())
    put("journal", "steps", JOURNAL.encode())
    put("qmp", "messages", QMP.encode())


if __name__ == "__main__":
    main()

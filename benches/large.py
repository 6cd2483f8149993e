"""The /sys and /proc of a large machine, for `vfiorun --sysroot`: 1,000 PCI devices behind 40 root ports,
each in a group of its own, 200 disks that are mounted, 200 network cards and 500 processes.
"""

from pathlib import Path

DEVICES = 1000
DISKS = 200
CARDS = 200
PROCESSES = 500
BEHIND_A_PORT = 25
# driver, vendor, device, class
KINDS = (
    ("nvme", "1b36", "0010", "0x010802"),
    ("ixgbe", "8086", "10fb", "0x020000"),
    ("xhci_hcd", "1b36", "000d", "0x0c0330"),
)


class Tree:
    """Files below a directory."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def file(self, path: str, text: str | bytes) -> None:
        """A file, with its directories."""
        place = self._root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(text.encode() if isinstance(text, str) else text)

    def link(self, path: str, target: str) -> None:
        """A relative link to another path of the tree, which need not be there yet."""
        self.points(path, "../" * path.count("/") + target)

    def points(self, path: str, text: str) -> None:
        """A link with this text."""
        place = self._root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(text)


def _device(tree: Tree, number: int) -> str:
    port, slot = divmod(number, BEHIND_A_PORT)
    bridge = f"sys/devices/pci0000:00/0000:00:{port // 8:02x}.{port % 8}"
    address = f"0000:{port + 1:02x}:{slot:02x}.0"
    place = f"{bridge}/{address}"
    driver, vendor, device, code = KINDS[number * len(KINDS) // DEVICES]
    tree.file(f"{place}/vendor", f"0x{vendor}\n")
    tree.file(f"{place}/device", f"0x{device}\n")
    tree.file(f"{place}/class", f"{code}\n")
    tree.file(f"{place}/driver_override", "(null)\n")
    tree.file(f"{place}/reset_method", "flr bus\n")
    tree.file(f"{place}/power_state", "D0\n")
    tree.file(f"{place}/resource", "0x00000000e0000000 0x00000000e0003fff 0x0000000000040200\n" * 6)
    tree.file(f"{place}/config", bytes.fromhex(f"{vendor[2:]}{vendor[:2]}{device[2:]}{device[:2]}") + bytes(60))
    tree.file(f"{place}/msi_irqs/{100 + number}", "msix\n")
    tree.link(f"{place}/driver", f"sys/bus/pci/drivers/{driver}")
    tree.link(f"{place}/iommu_group", f"sys/kernel/iommu_groups/{number}")
    tree.link(f"sys/kernel/iommu_groups/{number}/devices/{address}", place)
    tree.file(f"sys/kernel/iommu_groups/{number}/type", "DMA\n")
    tree.file(f"sys/kernel/iommu_groups/{number}/reserved_regions", "0x00000000fee00000 0x00000000feefffff msi\n")
    tree.link(f"sys/bus/pci/devices/{address}", place)
    return place


def make(root: Path) -> Path:
    """Make the tree; returns its root."""
    tree = Tree(root)
    for driver in (*(kind[0] for kind in KINDS), "vfio-pci"):
        tree.file(f"sys/bus/pci/drivers/{driver}/uevent", "")
    tree.file("sys/class/iommu/dmar0/intel-iommu/cap", "0\n")
    tree.file("proc/sys/kernel/osrelease", "6.12.0\n")
    tree.file("proc/sys/kernel/arch", "x86_64\n")
    mounts, routes = [], ["Iface Destination Gateway Flags RefCnt Use Metric Mask"]
    interrupts = [f"      {'CPU0 ' * 16}"]
    for number in range(DEVICES):
        place = _device(tree, number)
        interrupts.append(f"{100 + number}: {'5 ' * 16} IR-PCI-MSIX-{place[-12:]} 0-edge x{number}")
        if number < DISKS:
            disk = f"{place}/nvme/nvme{number}/nvme{number}n1"
            for name, at in ((f"nvme{number}n1", disk), (f"nvme{number}n1p1", f"{disk}/nvme{number}n1p1")):
                minor = f"259:{number * 2 + (at != disk)}"
                tree.file(f"{at}/dev", f"{minor}\n")
                tree.link(f"sys/class/block/{name}", at)
                tree.link(f"sys/dev/block/{minor}", at)
            mounts.append(f"{number} 1 259:{number * 2 + 1} / /disk{number} rw - ext4 /dev/nvme{number}n1p1 rw")
        elif DEVICES // 3 < number <= DEVICES // 3 + CARDS:
            net = f"{place}/net/eth{number}"
            tree.file(f"{net}/carrier", "1\n")
            tree.file(f"{net}/ifindex", f"{number}\n")
            tree.file(f"{net}/type", "1\n")
            tree.link(f"{net}/device", place)
            tree.link(f"sys/class/net/eth{number}", net)
            routes.append(f"eth{number} 00{number % 256:02X}000A 00000000 0001 0 0 0 00FFFFFF")
    tree.file("proc/net/route", "\n".join([*routes, "eth400 00000000 0102000A 0003 0 0 100 00000000"]) + "\n")
    tree.file("proc/self/mountinfo", "\n".join(mounts) + "\n")
    tree.file("proc/interrupts", "\n".join(interrupts) + "\n")
    for pid in range(1000, 1000 + PROCESSES):
        tree.file(f"proc/{pid}/comm", "worker\n")
        tree.file(f"proc/{pid}/mountinfo", "\n".join(mounts[:20]) + "\n")
        tree.points(f"proc/{pid}/ns/mnt", f"mnt:[{pid}]")
        for number in range(8):
            tree.points(f"proc/{pid}/fd/{number}", f"/srv/file{number}")
    return root

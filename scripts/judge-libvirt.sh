#!/usr/bin/env bash
# judge-libvirt.sh [VFIORUN]: validate the domain XML of `vfiorun run --libvirt` with libvirt's own
# schema from Debian's libvirt0. Without a network, or on a system other than Debian, it prints a
# message and checks nothing.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"

vfiorun=$(realpath "${1:-$ROOT/dist/vfiorun-$(uname -m)}")
[ -x "$vfiorun" ] || die "$vfiorun is missing: build it with make dist, or give another path"
is_debian || { say "judge-libvirt: skipped, libvirt's schema is taken from Debian"; exit 0; }
final=$CACHE/libvirt-judge/1
lock libvirt-judge
scratch libvirt-judge
if [ ! -d "$final" ]; then
    new=$SCRATCH/new
    mkdir -p "$new"
    if ! {
        (cd "$SCRATCH" && debian apt-get download -qq libvirt0:amd64)
        dpkg -x "$SCRATCH"/libvirt0_*.deb "$SCRATCH/root"
        cp -r "$SCRATCH/root/usr/share/libvirt/schemas" "$new/schemas"
        python3 -m venv "$SCRATCH/venv"
        "$SCRATCH/venv/bin/pip" install -q --target "$new/python" lxml
    } > "$SCRATCH/log" 2>&1; then
        tail -n 3 "$SCRATCH/log" >&2
        say "judge-libvirt: skipped, the schema could not be fetched"
        exit 0
    fi
    publish "$new" "$final"
fi

work=$SCRATCH/work
mkdir "$work"
cd "$work"
cp "$ROOT/docs/guest.toml" example.toml
: > least.toml
# every key that the XML can express
cat > arm64.toml << 'TOML'
devices = ["1b36:0010", { device = "0000:01:00.0", root_port = true, romfile = "/r&<'>.rom" }]
on_reboot = "exit"
qemu = "/usr/bin/qemu-system-aarch64"
qemu_arguments = ["-global", "a=<b>"]
[machine]
arch = "aarch64"
[boot]
firmware = "/code.fd"
firmware_variables = "variables.fd"
[memory]
size = "2G"
hugepages = "hugetlb"
locked = true
[cpus]
count = 4
cluster = [4, 5, 7]
[[disks]]
path = "/a.qcow2"
format = "qcow2"
readonly = true
[[disks]]
path = "/b.img"
format = "raw"
interface = "nvme"
[network]
mode = "tap"
tap = "tap0"
mac = "52:54:00:12:34:56"
[display]
type = "vnc"
socket = "/run/guest.vnc"
TOML
cat > x86_64.toml << 'TOML'
devices = ["0000:00:02.0"]
[machine]
arch = "x86_64"
type = "pc-q35-7.2"
[boot]
kernel = "/vmlinuz"
initrd = "/initrd.img"
cmdline = "root=/dev/vda quiet a=\"<b>\""
[network]
forwards = ["2222:22", "udp:0.0.0.0:5353:53"]
[display]
type = "vnc"
TOML
for guest in *.toml; do "$vfiorun" run "$guest" --libvirt > "${guest%.toml}.xml"; done
PYTHONPATH=$final/python python3 - "$final/schemas/domain.rng" ./*.xml << 'PYTHON'
import sys

from lxml import etree

schema, *domains = sys.argv[1:]
judge = etree.RelaxNG(etree.parse(schema))
wrong = 0
for domain in domains:
    fits = judge.validate(etree.parse(domain))
    print(f"{'ok  ' if fits else 'FAIL'} libvirt {domain}")
    if not fits:
        print("\n".join(f"     {error}" for error in judge.error_log))
    wrong += not fits
sys.exit(bool(wrong))
PYTHON

#!/usr/bin/env bash
# judge-libvirt.sh [VFIORUN]: give the domain XML of `vfiorun run --libvirt` to libvirt: to its schema, and to
# `virsh define` of Debian 12 (9.0) and of Debian 13 (11.x, which Debian 12 has as a backport). Their packages
# are unpacked into the cache and run without a daemon. Without a network, or on a system other than Debian on
# x86_64, it prints a message and checks nothing.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"

vfiorun=$(realpath "${1:-$ROOT/dist/vfiorun-$(uname -m)}")
[ -x "$vfiorun" ] || die "$vfiorun is missing: build it with make dist, or give another path"
if ! is_debian || [ "$(uname -m)" != x86_64 ]; then
    say "judge-libvirt: skipped, libvirt is taken from Debian for x86_64"
    exit 0
fi
final=$CACHE/libvirt-judge/2
suites=(bookworm bookworm-backports)
lock libvirt-judge
scratch libvirt-judge

# fetch SUITE: libvirt of this suite with all libraries that it needs, in the new directory
fetch() {
    local version package wanted=() own=(libvirt0 libvirt-clients libvirt-daemon-driver-qemu)
    local debs=$SCRATCH/debs-$1
    mkdir "$debs"
    version=$(debian apt-cache -t="$1" policy libvirt0:amd64 | sed -n 's/^ *Candidate: //p')
    [ "$1" = bookworm ] || own+=(libvirt-common)
    for package in "${own[@]}"; do wanted+=("$package:amd64=$version"); done
    while read -r package; do wanted+=("$package:amd64"); done < <(
        debian apt-cache -t=bookworm depends --recurse --no-recommends --no-suggests --no-conflicts \
            --no-breaks --no-replaces --no-enhances libvirt0:amd64 libvirt-clients:amd64 \
            libvirt-daemon-driver-qemu:amd64 | grep -E '^(lib|zlib)[^<:]*$' | grep -v '^libvirt' | sort -u
    )
    (cd "$debs" && debian apt-get download -qq "${wanted[@]}")
    for package in "$debs"/*.deb; do dpkg -x "$package" "$SCRATCH/new/$1"; done
    rm -r "$debs" "$SCRATCH/new/$1"/usr/share/{doc,locale}
}

if [ ! -d "$final" ]; then
    mkdir "$SCRATCH/new"
    if ! {
        for suite in "${suites[@]}"; do fetch "$suite"; done
        python3 -m venv "$SCRATCH/venv"
        "$SCRATCH/venv/bin/pip" install -q --target "$SCRATCH/new/python" lxml
    } > "$SCRATCH/log" 2>&1; then
        tail -n 3 "$SCRATCH/log" >&2
        say "judge-libvirt: skipped, libvirt could not be fetched"
        exit 0
    fi
    publish "$SCRATCH/new" "$final"
fi

work=$SCRATCH/work
mkdir "$work"
cd "$work"
cp "$ROOT/docs/guest.toml" example.toml
: > least.toml
# every key that the XML can express
cat > arm64.toml << 'TOML'
devices = ["1b36:0010", { device = "0000:01:00.0", root_port = true, romfile = "./r&<'>.rom" }]
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
PYTHONPATH=$final/python python3 - "$final/bookworm/usr/share/libvirt/schemas/domain.rng" ./*.xml << 'PYTHON'
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

# For root libvirt wants users of its own; in a user namespace we are nobody special.
as=()
[ "$(id -u)" != 0 ] || as=(unshare --user --map-user=1000 --map-group=1000)
"${as[@]}" true || { say "judge-libvirt: virsh is skipped, there are no user namespaces"; exit 0; }

# virsh SUITE COMMAND...: with the driver for QEMU inside of virsh, and the libraries of its package
virsh() {
    local root=$final/$1 place=$work/$1
    local libraries=$root/lib/x86_64-linux-gnu:$root/usr/lib/x86_64-linux-gnu
    mkdir -p "$place"
    shift
    "${as[@]}" env -i HOME="$place" XDG_RUNTIME_DIR="$place" PATH="$PATH" \
        LIBVIRT_DRIVER_DIR="$root/usr/lib/x86_64-linux-gnu/libvirt/connection-driver" \
        "$root/lib64/ld-linux-x86-64.so.2" --library-path "$libraries" \
        "$root/usr/bin/virsh" -c "qemu:///embed?root=$place" "$@"
}

wrong=0
for suite in "${suites[@]}"; do
    version=$(virsh "$suite" --version)
    for domain in *.xml; do
        # KVM is not here, or not of this architecture
        sed "s/^<domain type='kvm'/<domain type='qemu'/" "$domain" > "$domain.define"
        if said=$(virsh "$suite" define "$domain.define" 2>&1); then
            echo "ok   virsh $version define $domain"
        else
            echo "FAIL virsh $version define $domain"
            printf '%s\n' "$said" | sed -n 's/^error: /     /p'
            wrong=1
        fi
    done
done
exit $wrong

#!/usr/bin/env bash
# system.sh [SUITE]: the system of the emulated device; prints its directory. It has system.img, ext4, to be
# mounted read-only: busybox, and Debian's arm64 QEMU with its libraries and the files for a display.
# With a SUITE (bookworm-backports) it is the QEMU of that one.
# The parts that change with the project are on a separate disk (see __init__.py).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/common.sh
. "$here/../../scripts/common.sh"

# Increase this with every change of the steps below.
RECIPE=3
LIBRARIES=lib/aarch64-linux-gnu
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin

release=()
[ $# -eq 0 ] || release=(-o "APT::Default-Release=$1")
version() { debian apt-cache "${release[@]}" show --no-all-versions "$1" | sed -n 's/^Version: //p'; }
qemu=$(version qemu-system-arm:arm64)
data=$(version qemu-system-data)
busybox=$(version busybox-static:arm64)
[[ -n $qemu && -n $data && -n $busybox ]] \
    || die "qemu-system-arm, qemu-system-data or busybox-static is not in Debian's lists"
final=$CACHE/lab-system/$(echo "$RECIPE $qemu $data $busybox" | key)
[ -d "$final" ] || lock lab-system
if [ -d "$final" ]; then
    printf '%s\n' "$final"
    exit 0
fi

say "lab: fetching Debian's arm64 QEMU $qemu (28 MB)"
scratch lab-system
mkdir -p "$SCRATCH"/{debs,root,new,tree}

# Only the libraries that it depends on, and the files for a display from QEMU's other packages. Without
# an architecture apt uses the machine's own.
mapfile -t direct < <(debian apt-cache "${release[@]}" depends --no-recommends --no-suggests --no-conflicts \
    --no-breaks --no-replaces --no-enhances qemu-system-arm:arm64 \
    | sed -nE 's/^ *\|?Depends: (lib[^<>:]*|zlib1g)(:arm64)?$/\1:arm64/p' | sort -u)
# of the module that has usb-host
direct+=(libusb-1.0-0:arm64)
mapfile -t packages < <(debian apt-cache "${release[@]}" depends --recurse --no-recommends --no-suggests \
    --no-conflicts --no-breaks --no-replaces --no-enhances "${direct[@]}" \
    | grep -E '^(lib|zlib).*:arm64$' | sort -u)
(cd "$SCRATCH/debs" && debian apt-get "${release[@]}" download -qq "qemu-system-arm:arm64=$qemu" \
    "qemu-system-common:arm64=$qemu" "qemu-system-data=$data" "busybox-static:arm64=$busybox" \
    "${packages[@]}" >&2)
for deb in "$SCRATCH"/debs/*.deb; do dpkg -x "$deb" "$SCRATCH/root"; done

# Only the files of these packages that the linker loads.
closure() {
    local file needed found
    local -A seen=()
    local queue=("$1")
    while [ ${#queue[@]} -gt 0 ]; do
        file=${queue[0]}
        queue=("${queue[@]:1}")
        for needed in $(readelf -d "$file" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'); do
            [ -z "${seen[$needed]:-}" ] || continue
            seen[$needed]=1
            found=$(find "$SCRATCH/root"/{lib,usr/lib}/aarch64-linux-gnu -name "$needed" | head -n 1)
            [ -n "$found" ] || die "no package has $needed"
            printf '%s\n' "$found"
            queue+=("$found")
        done
    done
}
tree=$SCRATCH/tree
mkdir -p "$tree"/{bin,usr/bin,usr/lib/aarch64-linux-gnu/qemu,usr/share/qemu/keymaps,"$LIBRARIES",data,dev,proc,run,sys,tmp}
cp "$SCRATCH/root/bin/busybox" "$tree/bin/"
ln -s busybox "$tree/bin/sh"
cp "$SCRATCH/root/usr/bin/qemu-system-aarch64" "$tree/usr/bin/"
# modules that it opens; those of the display need only libraries that it needs itself
cp "$SCRATCH"/root/usr/lib/aarch64-linux-gnu/qemu/hw-display-virtio-gpu{,-pci}.so \
    "$tree/usr/lib/aarch64-linux-gnu/qemu/"
cp "$SCRATCH/root/usr/lib/aarch64-linux-gnu/qemu/hw-usb-host.so" "$tree/usr/lib/aarch64-linux-gnu/qemu/"
cp "$SCRATCH/root/usr/share/qemu/keymaps/en-us" "$tree/usr/share/qemu/keymaps/"
while read -r library; do
    cp -L "$library" "$tree/$LIBRARIES/"
done < <(closure "$tree/usr/bin/qemu-system-aarch64"; closure "$tree/usr/lib/aarch64-linux-gnu/qemu/hw-usb-host.so")
ln -s "${LIBRARIES#lib/}/ld-linux-aarch64.so.1" "$tree/lib/ld-linux-aarch64.so.1"
size=$(du -sm "$tree" | cut -f1)
mke2fs -q -t ext4 -O '^has_journal' -E root_owner=0:0 -d "$tree" "$SCRATCH/new/system.img" \
    $((size * 11 / 10 + 8))M >&2
publish "$SCRATCH/new" "$final"
printf '%s\n' "$final"

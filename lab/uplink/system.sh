#!/usr/bin/env bash
# system.sh [ARCH]: what emulates and boots a PC with an igb network card; prints its directory:
#   qemu-system-x86_64  starts QEMU from Debian's backports, whose igb has virtual functions, with its own
#                       libraries and firmware (the stable release's QEMU has no igb)
#   vmlinuz             the generic kernel of Debian: the cloud kernel has no driver for igb
#   modules             lib/modules/RELEASE with the modules of igb, VFIO and virtio, and depmod's lists
# With ARCH aarch64 only qemu-system-aarch64, for a board with such a card.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/../../scripts/common.sh"

RECIPE=1
SUITE=bookworm-backports
# depmod is in /sbin, which is not in every user's PATH
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin

arch=${1:-x86_64}
case $arch in
    x86_64) package='qemu-system-x86' ;;
    aarch64) package='qemu-system-arm' ;;
    *) die "unknown architecture $arch, expected x86_64 or aarch64" ;;
esac
program=qemu-system-$arch
release=(-o "APT::Default-Release=$SUITE")
kernel=$(debian apt-cache search --names-only '^linux-image-6\.1\.0-[0-9]+-amd64-unsigned$' \
    | cut -d' ' -f1 | sort -V | tail -n 1)
[ -n "$kernel" ] || die "no generic kernel for amd64 in Debian's lists"
version=$(debian apt-cache show --no-all-versions "$kernel:amd64" | sed -n 's/^Version: //p')
qemu=$(debian apt-cache "${release[@]}" show --no-all-versions "$package:amd64" | sed -n 's/^Version: //p')
[ -n "$qemu" ] || die "no $package in Debian's lists"
if [ "$arch" = x86_64 ]; then what="$kernel $version"; else what=$package; fi
final=$CACHE/lab-uplink/$(echo "$RECIPE $what $qemu" | key)
lock lab-uplink
if [ -d "$final" ]; then
    printf '%s\n' "$final"
    exit 0
fi

say "lab: fetching $what and QEMU $qemu (130 MB)"
scratch lab-uplink
mkdir -p "$SCRATCH"/{debs,unpacked,root,new/lib,new/share,new/modules/lib}
mapfile -t libraries < <(debian apt-cache "${release[@]}" depends --recurse --no-recommends --no-suggests \
    --no-conflicts --no-breaks --no-replaces --no-enhances "$package:amd64" \
    | grep -E '^(lib|zlib)[^<>:]*(:amd64)?$' | sed 's/:amd64$//' | sort -u)
(cd "$SCRATCH/debs" && debian apt-get "${release[@]}" download -qq "$package:amd64=$qemu" \
    qemu-system-data seabios ipxe-qemu "${libraries[@]/%/:amd64}" >&2)
for deb in "$SCRATCH"/debs/*.deb; do dpkg -x "$deb" "$SCRATCH/unpacked"; done
new=$SCRATCH/new
if [ "$arch" = x86_64 ]; then
    rm "$SCRATCH"/debs/*.deb
    (cd "$SCRATCH/debs" && debian apt-get download -qq "$kernel:amd64=$version" >&2)
    dpkg-deb --fsys-tarfile "$SCRATCH"/debs/*.deb | tar -x -C "$SCRATCH/root" --wildcards \
        './boot/vmlinuz-*' './lib/modules/*/modules.*' '*/drivers/vfio/*' '*/virt/lib/*' '*/drivers/dca/*' \
        '*/ethernet/intel/igb/*' '*/ethernet/intel/igbvf/*' '*/i2c/*' '*/drivers/ptp/*' '*/drivers/pps/*'
    depmod -b "$SCRATCH/root" "$(ls "$SCRATCH/root/lib/modules")"
    cp "$SCRATCH"/root/boot/vmlinuz-* "$new/vmlinuz"
    cp -r "$SCRATCH/root/lib/modules" "$new/modules/lib/"
fi
cp "$SCRATCH/unpacked/usr/bin/$program" "$new/program"
find "$SCRATCH/unpacked" -path '*x86_64-linux-gnu*' -name '*.so*' ! -path '*/qemu/*' -exec cp -L {} "$new/lib/" \; 2> "$SCRATCH/cp.log" \
    || [ -s "$new/lib/libc.so.6" ] || die "$(cat "$SCRATCH/cp.log")"
cp -rL "$SCRATCH"/unpacked/usr/share/{qemu,seabios} "$new/share/" 2> "$SCRATCH/cp.log" || [ -d "$new/share/seabios" ] \
    || die "$(cat "$SCRATCH/cp.log")"
cat > "$new/$program" << 'END'
#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
exec "$here/lib/ld-linux-x86-64.so.2" --library-path "$here/lib" "$here/program" \
    -L "$here/share/qemu" -L "$here/share/seabios" "$@"
END
chmod 755 "$new/$program"
"$new/$program" -machine none -device igb,help > /dev/null || die "QEMU $qemu has no igb"
publish "$new" "$final"
printf '%s\n' "$final"

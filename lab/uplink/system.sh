#!/usr/bin/env bash
# system.sh: what emulates and boots a PC with an igb network card; prints its directory:
#   qemu-system-x86_64  starts QEMU from Debian's backports, whose igb has virtual functions, with its own
#                       libraries and firmware (the stable release's QEMU has no igb)
#   vmlinuz             the generic kernel of Debian: the cloud kernel has no driver for igb
#   modules             lib/modules/RELEASE with the modules of igb, VFIO and virtio, and depmod's lists
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/../../scripts/common.sh"

RECIPE=1
SUITE=bookworm-backports
# depmod is in /sbin, which is not in every user's PATH
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin

release=(-o "APT::Default-Release=$SUITE")
kernel=$(debian apt-cache search --names-only '^linux-image-6\.1\.0-[0-9]+-amd64-unsigned$' \
    | cut -d' ' -f1 | sort -V | tail -n 1)
[ -n "$kernel" ] || die "no generic kernel for amd64 in Debian's lists"
version=$(debian apt-cache show --no-all-versions "$kernel:amd64" | sed -n 's/^Version: //p')
qemu=$(debian apt-cache "${release[@]}" show --no-all-versions qemu-system-x86:amd64 | sed -n 's/^Version: //p')
[ -n "$qemu" ] || die "no qemu-system-x86 in Debian's lists"
final=$CACHE/lab-uplink/$(echo "$RECIPE $kernel $version $qemu" | key)
lock lab-uplink
if [ -d "$final" ]; then
    printf '%s\n' "$final"
    exit 0
fi

say "lab: fetching $kernel and QEMU $qemu (130 MB)"
scratch lab-uplink
mkdir -p "$SCRATCH"/{debs,unpacked,root,new/lib,new/share,new/modules/lib}
mapfile -t libraries < <(debian apt-cache "${release[@]}" depends --recurse --no-recommends --no-suggests \
    --no-conflicts --no-breaks --no-replaces --no-enhances qemu-system-x86:amd64 \
    | grep -E '^(lib|zlib)[^<>:]*(:amd64)?$' | sed 's/:amd64$//' | sort -u)
(cd "$SCRATCH/debs" && debian apt-get "${release[@]}" download -qq "qemu-system-x86:amd64=$qemu" \
    qemu-system-data seabios ipxe-qemu "${libraries[@]/%/:amd64}" >&2)
for deb in "$SCRATCH"/debs/*.deb; do dpkg -x "$deb" "$SCRATCH/unpacked"; done
rm "$SCRATCH"/debs/*.deb
(cd "$SCRATCH/debs" && debian apt-get download -qq "$kernel:amd64=$version" >&2)
dpkg-deb --fsys-tarfile "$SCRATCH"/debs/*.deb | tar -x -C "$SCRATCH/root" --wildcards \
    './boot/vmlinuz-*' './lib/modules/*/modules.*' '*/drivers/vfio/*' '*/virt/lib/*' '*/drivers/dca/*' \
    '*/ethernet/intel/igb/*' '*/ethernet/intel/igbvf/*' '*/i2c/*' '*/drivers/ptp/*' '*/drivers/pps/*'
depmod -b "$SCRATCH/root" "$(ls "$SCRATCH/root/lib/modules")"

new=$SCRATCH/new
cp "$SCRATCH"/root/boot/vmlinuz-* "$new/vmlinuz"
cp -r "$SCRATCH/root/lib/modules" "$new/modules/lib/"
cp "$SCRATCH/unpacked/usr/bin/qemu-system-x86_64" "$new/program"
find "$SCRATCH/unpacked" -path '*x86_64-linux-gnu*' -name '*.so*' ! -path '*/qemu/*' -exec cp -L {} "$new/lib/" \; 2> "$SCRATCH/cp.log" \
    || [ -s "$new/lib/libc.so.6" ] || die "$(cat "$SCRATCH/cp.log")"
cp -rL "$SCRATCH"/unpacked/usr/share/{qemu,seabios} "$new/share/" 2> "$SCRATCH/cp.log" || [ -d "$new/share/seabios" ] \
    || die "$(cat "$SCRATCH/cp.log")"
cat > "$new/qemu-system-x86_64" << 'END'
#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
exec "$here/lib/ld-linux-x86-64.so.2" --library-path "$here/lib" "$here/program" \
    -L "$here/share/qemu" -L "$here/share/seabios" "$@"
END
chmod 755 "$new/qemu-system-x86_64"
"$new/qemu-system-x86_64" -device igb,help > /dev/null || die "QEMU $qemu has no igb"
publish "$new" "$final"
printf '%s\n' "$final"

#!/usr/bin/env bash
# system.sh: the system of the PC, from Debian's amd64 packages; prints its directory:
#   vmlinuz    the cloud kernel, with NVMe and the Intel IOMMU built in
#   modules    lib/modules/RELEASE with the modules of VFIO, virtio, FAT, loop and WireGuard, and depmod's lists
#   busybox    static
#   wireguard  wg and the libraries that it needs
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/../../scripts/common.sh"

RECIPE=4
# depmod is in /sbin, which is not in every user's PATH
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin

kernel=$(debian apt-cache search --names-only '^linux-image-6\.1\.0-[0-9]+-cloud-amd64-unsigned$' \
    | cut -d' ' -f1 | sort -V | tail -n 1)
busybox=$(debian apt-cache show --no-all-versions busybox-static:amd64 | sed -n 's/^Version: //p')
wireguard=$(debian apt-cache show --no-all-versions wireguard-tools:amd64 | sed -n 's/^Version: //p')
libc=$(debian apt-cache show --no-all-versions libc6:amd64 | sed -n 's/^Version: //p')
[[ -n $kernel && -n $busybox && -n $wireguard && -n $libc ]] \
    || die "no cloud kernel for amd64, busybox-static, wireguard-tools or libc6 in Debian's lists"
version=$(debian apt-cache show --no-all-versions "$kernel:amd64" | sed -n 's/^Version: //p')
final=$CACHE/lab-pc/$(echo "$RECIPE $kernel $version $busybox $wireguard $libc" | key)
lock lab-pc
if [ ! -d "$final" ]; then
    say "lab: fetching $kernel (30 MB)"
    scratch lab-pc
    mkdir -p "$SCRATCH"/{debs,root,new}
    (cd "$SCRATCH/debs" && debian apt-get download -qq \
        "$kernel:amd64=$version" "busybox-static:amd64=$busybox" "wireguard-tools:amd64=$wireguard" "libc6:amd64=$libc" >&2)
    for deb in "$SCRATCH"/debs/*.deb; do
        dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$SCRATCH/root" --wildcards \
            './bin/busybox' './usr/bin/wg' '*/ld-linux-x86-64.so.2' '*/libc.so.6' \
            '*/drivers/net/wireguard/*' '*/udp_tunnel.ko' '*/ip6_udp_tunnel.ko' '*/crypto/*' \
            './boot/vmlinuz-*' './lib/modules/*/modules.*' '*/drivers/vfio/*' '*/virt/lib/*' \
            '*/drivers/virtio/*' '*/net/virtio_net.ko' '*/net/net_failover.ko' '*/core/failover.ko' '*/block/loop.ko' \
            '*/fs/fat/*' '*/nls/nls_cp437.ko' '*/nls/nls_ascii.ko' '*/nls/nls_iso8859-1.ko' 2> "$SCRATCH/tar.log" \
            || grep -q 'Not found in archive' "$SCRATCH/tar.log" || die "$(cat "$SCRATCH/tar.log")"
    done
    depmod -b "$SCRATCH/root" "$(ls "$SCRATCH/root/lib/modules")"
    cp "$SCRATCH"/root/boot/vmlinuz-* "$SCRATCH/new/vmlinuz"
    cp "$SCRATCH/root/bin/busybox" "$SCRATCH/new/busybox"
    mkdir -p "$SCRATCH"/new/{modules,wireguard/lib64,wireguard/lib}
    cp "$SCRATCH/root/usr/bin/wg" "$SCRATCH/new/wireguard/"
    find "$SCRATCH/root" -name libc.so.6 -exec cp -L {} "$SCRATCH/new/wireguard/lib/" \;
    find "$SCRATCH/root" -name ld-linux-x86-64.so.2 -type f -exec cp {} "$SCRATCH/new/wireguard/lib64/" \;
    mkdir "$SCRATCH/new/modules/lib"
    cp -r "$SCRATCH/root/lib/modules" "$SCRATCH/new/modules/lib/"
    publish "$SCRATCH/new" "$final"
fi
printf '%s\n' "$final"

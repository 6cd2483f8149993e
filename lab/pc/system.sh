#!/usr/bin/env bash
# system.sh: the system of the PC, from Debian's amd64 packages; prints its directory:
#   vmlinuz    the cloud kernel, with NVMe and the Intel IOMMU built in
#   modules    lib/modules/RELEASE with the modules of VFIO, virtio, FAT and loop, and depmod's lists
#   busybox    static
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/../../scripts/common.sh"

RECIPE=3
# depmod is in /sbin, which is not in every user's PATH
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin

kernel=$(debian apt-cache search --names-only '^linux-image-6\.1\.0-[0-9]+-cloud-amd64-unsigned$' \
    | cut -d' ' -f1 | sort -V | tail -n 1)
busybox=$(debian apt-cache show --no-all-versions busybox-static:amd64 | sed -n 's/^Version: //p')
[[ -n $kernel && -n $busybox ]] || die "no cloud kernel for amd64 or no busybox-static in Debian's lists"
version=$(debian apt-cache show --no-all-versions "$kernel:amd64" | sed -n 's/^Version: //p')
final=$CACHE/lab-pc/$(echo "$RECIPE $kernel $version $busybox" | key)
lock lab-pc
if [ ! -d "$final" ]; then
    say "lab: fetching $kernel (27 MB)"
    scratch lab-pc
    mkdir -p "$SCRATCH"/{debs,root,new}
    (cd "$SCRATCH/debs" && debian apt-get download -qq \
        "$kernel:amd64=$version" "busybox-static:amd64=$busybox" >&2)
    for deb in "$SCRATCH"/debs/*.deb; do
        dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$SCRATCH/root" --wildcards \
            './bin/busybox' './boot/vmlinuz-*' './lib/modules/*/modules.*' '*/drivers/vfio/*' '*/virt/lib/*' \
            '*/drivers/virtio/*' '*/net/virtio_net.ko' '*/net/net_failover.ko' '*/core/failover.ko' '*/block/loop.ko' \
            '*/fs/fat/*' '*/nls/nls_cp437.ko' '*/nls/nls_ascii.ko' '*/nls/nls_iso8859-1.ko' 2> "$SCRATCH/tar.log" \
            || grep -q 'Not found in archive' "$SCRATCH/tar.log" || die "$(cat "$SCRATCH/tar.log")"
    done
    depmod -b "$SCRATCH/root" "$(ls "$SCRATCH/root/lib/modules")"
    cp "$SCRATCH"/root/boot/vmlinuz-* "$SCRATCH/new/vmlinuz"
    cp "$SCRATCH/root/bin/busybox" "$SCRATCH/new/busybox"
    mkdir "$SCRATCH/new/modules"
    cp -r "$SCRATCH/root/lib" "$SCRATCH/new/modules/"
    publish "$SCRATCH/new" "$final"
fi
printf '%s\n' "$final"

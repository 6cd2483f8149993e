#!/usr/bin/env bash
# debian.sh: Debian's own arm64 kernel, which has NVMe and VFIO as modules. Prints its directory, which
# is like that of a variant of build.sh: Image.gz and modules/, with what NVMe and VFIO need.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/../../scripts/common.sh"

RECIPE=1
MODULES=(nvme vfio_iommu_type1 vfio-pci)
# depmod and modprobe are in /sbin, which is not in every user's PATH
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin

package=$(debian apt-cache search --names-only '^linux-image-6\.1\.0-[0-9]+-arm64-unsigned$' \
    | cut -d' ' -f1 | sort -V | tail -n 1)
[ -n "$package" ] || die "no kernel for arm64 in Debian's lists"
version=$(debian apt-cache show --no-all-versions "$package:arm64" | sed -n 's/^Version: //p')
final=$CACHE/kernels/debian-$(echo "$RECIPE $package $version ${MODULES[*]}" | key)
lock debian-kernel
if [ ! -d "$final" ]; then
    say "kernel: fetching $package (60 MB)"
    scratch debian-kernel
    mkdir -p "$SCRATCH"/{root,new,config}
    (cd "$SCRATCH" && debian apt-get download -qq "$package:arm64=$version" >&2)
    dpkg-deb --fsys-tarfile "$SCRATCH"/*.deb | tar -x -C "$SCRATCH/root"
    release=$(ls "$SCRATCH/root/lib/modules")
    depmod -b "$SCRATCH/root" "$release"
    tree=lib/modules/$release
    mkdir -p "$SCRATCH/new/modules/$tree"
    for module in "${MODULES[@]}"; do
        modprobe -C "$SCRATCH/config" -d "$SCRATCH/root" -S "$release" --show-depends "$module"
    done | awk '$1 == "insmod" { print $2 }' | sort -u > "$SCRATCH/needed"
    while read -r file; do
        install -D -m 644 "$file" "$SCRATCH/new/modules/$tree/${file#*"/$release/"}"
    done < "$SCRATCH/needed"
    cp "$SCRATCH/root/$tree"/modules.{order,builtin,builtin.modinfo} "$SCRATCH/new/modules/$tree/"
    depmod -b "$SCRATCH/new/modules" "$release"
    gzip -n -6 -c "$SCRATCH/root/boot/vmlinuz-$release" > "$SCRATCH/new/Image.gz"
    publish "$SCRATCH/new" "$final"
fi
printf '%s\n' "$final"

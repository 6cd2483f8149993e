#!/usr/bin/env bash
# debian.sh [NAME...]: Debian's own kernels, which have NVMe and VFIO as modules. Prints the directory of each;
# without a name, that of 6.1.
#   6.1        arm64, of the stable release        6.12, 6.12-16k  of its backports, the latter with 16K pages
#   amd64      6.1 for PCs                         installer       arm64, what Debian's installer is booted with
#   plug       6.1, with modules for USB, for a card that has virtual functions, and for ext4 and virtio as well
# A directory is like that of a variant of build.sh: Image.gz (for PCs vmlinuz), and modules/ with what NVMe
# and VFIO need. That of the installer also has its initrd.gz.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/../../scripts/common.sh"

RECIPE=1
MODULES=(nvme vfio_iommu_type1 vfio-pci)
PLUG=(xhci_pci usb-storage sd_mod igb igbvf ext4 virtio_pci virtio_blk)
# Without what those need nothing of: depmod reads everything.
EXCLUDE=(kernel/sound drivers/gpu drivers/media drivers/iio)
EXCLUDE_PLUG=(kernel/net kernel/fs drivers/net drivers/usb drivers/scsi)
INSTALLER=debian-installer-12-netboot-arm64
# depmod and modprobe are in /sbin, which is not in every user's PATH
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin

# newest PATTERN: the newest of the packages with such names
newest() { debian apt-cache search --names-only "$1" | cut -d' ' -f1 | sort -V | tail -n 1; }
version_of() { debian apt-cache show --no-all-versions "$1" | sed -n 's/^Version: //p'; }

# kernel PACKAGE ARCH: fetch it, and make SCRATCH/new of it
kernel() {
    local package=$1 arch=$2 root=$SCRATCH/root release tree module file
    say "kernel: fetching $package (60 MB)"
    mkdir -p "$SCRATCH"/{debs,root,new,config}
    (cd "$SCRATCH/debs" && debian apt-get download -qq "$package:$arch=$(version_of "$package:$arch")" >&2)
    dpkg-deb --fsys-tarfile "$SCRATCH"/debs/*.deb | tar -x -C "$root" --wildcards "${EXCLUDE[@]/#/--exclude=*/}"
    release=$(ls "$root/lib/modules")
    depmod -b "$root" "$release"
    tree=lib/modules/$release
    mkdir -p "$SCRATCH/new/modules/$tree"
    for module in "${MODULES[@]}"; do
        modprobe -C "$SCRATCH/config" -d "$root" -S "$release" --show-depends "$module"
    done | awk '$1 == "insmod" { print $2 }' | sort -u > "$SCRATCH/needed"
    while read -r file; do
        install -D -m 644 "$file" "$SCRATCH/new/modules/$tree/${file#*"/$release/"}"
    done < "$SCRATCH/needed"
    cp "$root/$tree"/modules.{order,builtin,builtin.modinfo} "$SCRATCH/new/modules/$tree/"
    depmod -b "$SCRATCH/new/modules" "$release"
    case $arch in
        amd64) cp "$root/boot/vmlinuz-$release" "$SCRATCH/new/vmlinuz" ;;
        *) gzip -n -6 -c "$root/boot/vmlinuz-$release" > "$SCRATCH/new/Image.gz" ;;
    esac
}

# installer: the same with the installer's kernel and initrd; modules are those of the kernel's own package
installer() {
    local images package
    say "kernel: fetching $INSTALLER"
    mkdir -p "$SCRATCH"/{installer,initrd}
    (cd "$SCRATCH/installer" && debian apt-get download -qq "$INSTALLER" >&2)
    dpkg-deb --fsys-tarfile "$SCRATCH"/installer/*.deb | tar -x -C "$SCRATCH/installer" --wildcards '*/text/*'
    images=$(dirname "$(find "$SCRATCH/installer" -name initrd.gz -type f | head -n 1)")
    gzip -dc "$images/initrd.gz" | (cd "$SCRATCH/initrd" && cpio -idm --quiet 'lib/modules/*' 'usr/lib/modules/*')
    package=linux-image-$(find "$SCRATCH/initrd" -path '*/lib/modules/*' -prune -printf '%f\n' | head -n 1)
    [ -n "$(version_of "$package:arm64")" ] || package+=-unsigned
    kernel "$package" arm64
    gzip -n -6 -c "$images/linux" > "$SCRATCH/new/Image.gz"
    cp "$images/initrd.gz" "$SCRATCH/new/"
}

one() {
    local name=$1 arch=arm64 package version final
    case $name in
        6.1 | plug) package=$(newest '^linux-image-6\.1\.0-[0-9]+-arm64-unsigned$') ;;
        6.12) package=$(newest '^linux-image-6\.12\.[0-9.]+\+deb12[0-9.]*-arm64-unsigned$') ;;
        6.12-16k) package=$(newest '^linux-image-6\.12\.[0-9.]+\+deb12[0-9.]*-arm64-16k-unsigned$') ;;
        amd64) arch=amd64 package=$(newest '^linux-image-6\.1\.0-[0-9]+-amd64-unsigned$') ;;
        installer) arch=all package=$INSTALLER ;;
        *) die "unknown kernel $name, expected 6.1, 6.12, 6.12-16k, amd64, installer or plug" ;;
    esac
    [ -n "$package" ] || die "no kernel $name in Debian's lists"
    if [ "$name" = plug ]; then MODULES+=("${PLUG[@]}"); else EXCLUDE+=("${EXCLUDE_PLUG[@]}"); fi
    version=$(version_of "$package$([ "$arch" = all ] || echo ":$arch")")
    final=$CACHE/kernels/debian-$(echo "$RECIPE $package $version ${MODULES[*]}" | key)
    lock "debian-kernel-$name"
    if [ ! -d "$final" ]; then
        scratch debian-kernel
        case $name in
            installer) installer ;;
            *) kernel "$package" "$arch" ;;
        esac
        publish "$SCRATCH/new" "$final"
    fi
    printf '%s\n' "$final"
}

# each in its own process: a scratch directory is removed with it
for name in "${@:-6.1}"; do (one "$name"); done

#!/usr/bin/env bash
# build.sh [VARIANT...]: the lab's arm64 kernels, cross-compiled from Debian's linux-source packages.
# Prints the directory of each variant; builds only those that are not in the cache.
#   good       VFIO built in         bad  no VFIO, no IKCONFIG
#   vfio-m     VFIO as modules       drivers-m  NVMe and the PCI host bridge too
#   newer      Linux 6.12 instead of 6.1: iommufd instead of a VFIO container, and pstore
#   sample     the smallest one that does everything: the kernel of fixtures/sample-boot.img
# The directory of a variant has Image, Image.gz, vmlinuz.efi (EFI zboot), config, System.map and, if
# there are modules, modules/.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/common.sh
. "$here/../../scripts/common.sh"

package_of() { if [ "$1" = newer ]; then echo linux-source-6.12; else echo linux-source-6.1; fi; }
# Increase this with every change of the build below that is not in the fragments.
RECIPE=1

if [ $# -gt 0 ]; then variants=("$@"); else variants=(good vfio-m bad); fi

fragments() {
    case $1 in
        good) printf '%s\n' "$here/base.config" ;;
        sample) printf '%s\n' "$here/sample.config" ;;
        vfio-m | bad | newer) printf '%s\n' "$here/base.config" "$here/$1.config" ;;
        drivers-m) printf '%s\n' "$here/base.config" "$here/vfio-m.config" "$here/$1.config" ;;
        *) die "unknown kernel variant $1, expected good, vfio-m, drivers-m, newer, sample or bad" ;;
    esac
}

version_of() { debian apt-cache show --no-all-versions "$1" | sed -n 's/^Version: //p'; }
declare -A version
for v in "${variants[@]}"; do
    package=$(package_of "$v")
    [ -n "${version[$package]:-}" ] || version[$package]=$(version_of "$package")
    [ -n "${version[$package]}" ] || die "no package $package in Debian's lists"
done

place() {
    local f package
    package=$(package_of "$1")
    mapfile -t f < <(fragments "$1")
    printf '%s/kernels/%s-%s' "$CACHE" "$1" \
        "$({ echo "$RECIPE $package ${version[$package]}"; cat "${f[@]}"; } | key)"
}

missing() {
    local v
    for v in "${variants[@]}"; do [ -e "$(place "$v")/Image" ] || printf '%s\n' "$v"; done
}

for v in "${variants[@]}"; do fragments "$v" > /dev/null; done
mapfile -t todo < <(missing)
if [ ${#todo[@]} -gt 0 ]; then
    # another process may be building them
    lock kernels
    mapfile -t todo < <(missing)
fi

# The source, from the package without installing it. Omitting files that arm64 virt does not need saves
# 0.6 GB; Kconfig files and Makefiles are required.
unpack_source() {
    local package=$1
    [ ! -d "$SCRATCH/$package" ] || return 0
    say "kernel: fetching $package ${version[$package]}"
    (cd "$SCRATCH" && debian apt-get download -qq "$package=${version[$package]}" >&2)
    dpkg-deb --fsys-tarfile "$SCRATCH"/"$package"_*.deb \
        | tar -xO "./usr/src/$package.tar.xz" \
        | tar -xJ -C "$SCRATCH" --wildcards \
            --exclude='*/Documentation/*/*' --exclude='*/tools/testing/*' \
            --exclude='*/drivers/gpu/*.[ch]' --exclude='*/drivers/net/wireless/*.[ch]' \
            --exclude='*/drivers/media/*.[ch]' --exclude='*/drivers/staging/*.[ch]' \
            --exclude='*/sound/*.[ch]'
    rm "$SCRATCH"/"$package"_*.deb
}

build() {
    local v=$1 package dest=$SCRATCH/$1 started=$SECONDS
    package=$(package_of "$v")
    # the objects of the previous variant are kept: the next one rebuilds only what differs
    local src=$SCRATCH/$package obj=$SCRATCH/obj-$package
    local targets=(Image Image.gz) boot=$obj/arch/arm64/boot f
    mapfile -t f < <(fragments "$v")
    mkdir -p "$obj" "$dest"
    (cd "$src" && scripts/kconfig/merge_config.sh -n -O "$obj" "${f[@]}") > "$obj/merge.log" 2>&1 \
        || { cat "$obj/merge.log" >&2; die "the fragments of $v could not be merged"; }
    check_config "${f[@]}" "$obj/.config" || die "the kernel source does not accept the fragments of $v"
    grep -q '^CONFIG_[A-Z0-9_]*=m$' "$obj/.config" && targets+=(modules)
    grep -q '^CONFIG_EFI_ZBOOT=y$' "$obj/.config" && targets+=(vmlinuz.efi)
    make -s -C "$src" O="$obj" -j"$(nproc)" "${compilers[@]}" "${targets[@]}" >&2
    cp "$boot/Image" "$boot/Image.gz" "$obj/System.map" "$dest/"
    [[ " ${targets[*]} " != *" vmlinuz.efi "* ]] || cp "$boot/vmlinuz.efi" "$dest/"
    cp "$obj/.config" "$dest/config"
    if [[ " ${targets[*]} " == *" modules "* ]]; then
        make -s -C "$src" O="$obj" "${compilers[@]}" \
            INSTALL_MOD_PATH="$dest/modules" INSTALL_MOD_STRIP=1 modules_install >&2
        # two links into the build tree, which will be deleted
        rm -f "$dest"/modules/lib/modules/*/{build,source}
    fi
    publish "$dest" "$(place "$v")"
    say "kernel: $v built in $((SECONDS - started)) s"
}

if [ ${#todo[@]} -gt 0 ]; then
    say "kernel: building ${todo[*]} (about 6 minutes on two cores, kept in the cache)"
    # reproducible: nothing of the host, the user, the time or the path gets into an image
    export ARCH=arm64 CROSS_COMPILE=aarch64-linux-gnu- LC_ALL=C
    export KBUILD_BUILD_TIMESTAMP='2024-01-01 00:00:00 UTC' KBUILD_BUILD_VERSION=1
    export KBUILD_BUILD_USER=lab KBUILD_BUILD_HOST=lab
    # depmod is in /sbin, which is not in every user's PATH
    export PATH=$PATH:/usr/sbin:/sbin
    scratch kernel
    compilers=()
    if command -v ccache > /dev/null; then
        export CCACHE_DIR=$CACHE/ccache CCACHE_BASEDIR=$SCRATCH CCACHE_NOHASHDIR=1
        compilers=(CC="ccache ${CROSS_COMPILE}gcc" HOSTCC="ccache gcc")
    fi
    for v in "${todo[@]}"; do
        unpack_source "$(package_of "$v")"
        build "$v"
    done
fi
for v in "${variants[@]}"; do place "$v"; echo; done

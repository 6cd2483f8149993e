#!/usr/bin/env bash
# build.sh [VARIANT...]: the lab's arm64 kernels, cross-compiled from Debian's linux-source package.
# Prints the directory of each variant; builds only those that are not in the cache.
#   good       VFIO built in         bad  no VFIO, no IKCONFIG
#   vfio-m     VFIO as modules       drivers-m  NVMe and the PCI host bridge too
#   pstore     good, with pstore
# The directory of a variant has Image, Image.gz, vmlinuz.efi (EFI zboot), config, System.map and, if
# there are modules, modules/.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/common.sh
. "$here/../../scripts/common.sh"

PACKAGE=linux-source-6.1
# Increase this with every change of the build below that is not in the fragments.
RECIPE=1

if [ $# -gt 0 ]; then variants=("$@"); else variants=(good vfio-m bad); fi

fragments() {
    case $1 in
        good) printf '%s\n' "$here/base.config" ;;
        vfio-m | bad | pstore) printf '%s\n' "$here/base.config" "$here/$1.config" ;;
        drivers-m) printf '%s\n' "$here/base.config" "$here/vfio-m.config" "$here/$1.config" ;;
        *) die "unknown kernel variant $1, expected good, vfio-m, drivers-m, pstore or bad" ;;
    esac
}

version=$(debian apt-cache show --no-all-versions "$PACKAGE" | sed -n 's/^Version: //p')
[ -n "$version" ] || die "no package $PACKAGE in Debian's lists"

place() {
    local f
    mapfile -t f < <(fragments "$1")
    printf '%s/kernels/%s-%s' "$CACHE" "$1" "$({ echo "$RECIPE $PACKAGE $version"; cat "${f[@]}"; } | key)"
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
    say "kernel: fetching $PACKAGE $version"
    (cd "$SCRATCH" && debian apt-get download -qq "$PACKAGE=$version" >&2)
    dpkg-deb --fsys-tarfile "$SCRATCH"/"$PACKAGE"_*.deb \
        | tar -xO "./usr/src/$PACKAGE.tar.xz" \
        | tar -xJ -C "$SCRATCH" --wildcards \
            --exclude='*/Documentation/*/*' --exclude='*/tools/testing/*' \
            --exclude='*/drivers/gpu/*.[ch]' --exclude='*/drivers/net/wireless/*.[ch]' \
            --exclude='*/drivers/media/*.[ch]' --exclude='*/drivers/staging/*.[ch]' \
            --exclude='*/sound/*.[ch]'
    rm "$SCRATCH"/"$PACKAGE"_*.deb
}

# merge_config.sh exits with 0 even if a requested symbol is dropped, so the result is compared here. A
# later fragment overrides an earlier one.
check_config() {
    awk '
        function name(l) { sub(/^# /, "", l); sub(/[= ].*/, "", l); return l }
        !/^(# )?CONFIG_[A-Za-z0-9_]+(=| is not set)/ { next }
        FILENAME == ARGV[ARGC-1] { if (!/^#/) have[name($0)] = $0; next }
        { want[name($0)] = /^#/ ? "" : $0 }
        END { for (n in want) if (have[n] != want[n]) {
                  printf "kernel: %s: wanted \"%s\", got \"%s\"\n", n, want[n], have[n]; bad = 1 }
              exit bad }' "$@" >&2
}

build() {
    local v=$1 src=$SCRATCH/$PACKAGE obj=$SCRATCH/obj dest=$SCRATCH/$1 started=$SECONDS
    local targets=(Image Image.gz vmlinuz.efi) boot=$obj/arch/arm64/boot f
    mapfile -t f < <(fragments "$v")
    mkdir -p "$obj" "$dest"
    # the objects of the previous variant are kept: the next one rebuilds only what differs
    (cd "$src" && scripts/kconfig/merge_config.sh -n -O "$obj" "${f[@]}") > "$obj/merge.log" 2>&1 \
        || { cat "$obj/merge.log" >&2; die "the fragments of $v could not be merged"; }
    check_config "${f[@]}" "$obj/.config" || die "the kernel source does not accept the fragments of $v"
    grep -q '^CONFIG_[A-Z0-9_]*=m$' "$obj/.config" && targets+=(modules)
    make -s -C "$src" O="$obj" -j"$(nproc)" "${compilers[@]}" "${targets[@]}" >&2
    cp "$boot/Image" "$boot/Image.gz" "$boot/vmlinuz.efi" "$obj/System.map" "$dest/"
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
    unpack_source
    for v in "${todo[@]}"; do build "$v"; done
fi
for v in "${variants[@]}"; do place "$v"; echo; done

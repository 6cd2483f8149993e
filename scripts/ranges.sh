#!/usr/bin/env bash
# ranges.sh [ARGUMENT...]: compare the versions, settings and tables of the rules with Debian's kernels:
# the source of each series, the configs of all flavours, and the module trees of arm64 and amd64.
# Arguments are those of ranges.py, such as --git ../linux or --configs DIR.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"

command -v dpkg-deb > /dev/null || die "ranges needs dpkg-deb and the packages of Debian"
lock ranges
scratch ranges

# fetch PACKAGE: download it; prints the file
fetch() {
    mkdir -p "$SCRATCH/deb" && rm -f "$SCRATCH"/deb/*
    (cd "$SCRATCH/deb" && debian apt-get download -qq "$1" >&2)
    echo "$SCRATCH"/deb/*.deb
}

version_of() { debian apt-cache show --no-all-versions "$1" | sed -n 's/^Version: //p'; }
newest() { debian apt-cache search --names-only "$1" | cut -d' ' -f1 | sort -V | tail -n 1; }

arguments=()
for series in $(debian apt-cache search --names-only '^linux-source-[0-9.]+$' | sed 's/^linux-source-\([^ ]*\).*/\1/'); do
    final=$CACHE/ranges/source-$series-$(version_of "linux-source-$series")
    if [ ! -d "$final" ]; then
        say "ranges: fetching the source of Linux $series"
        mkdir -p "$SCRATCH/source"
        dpkg-deb --fsys-tarfile "$(fetch "linux-source-$series")" \
            | tar -xO "./usr/src/linux-source-$series.tar.xz" \
            | tar -xJ -C "$SCRATCH/source" --strip-components=1 --wildcards '*/Kconfig*' '*/Makefile' '*/Kbuild' \
                '*/drivers/iommu/*.c' '*/drivers/pci/*.c' '*/drivers/vfio/*.c' '*/virt/kvm/*.c' '*/init/*.c' \
                '*/arch/arm64/kvm/*.c' '*/arch/x86/kvm/*.c' '*/arch/x86/pci/*.c' '*/arch/x86/kernel/*.c'
        publish "$SCRATCH/source" "$final"
    fi
    arguments+=(--tree "$series=$final")
    final=$CACHE/ranges/config-$series-$(version_of "linux-config-$series")
    if [ ! -d "$final" ]; then
        mkdir -p "$SCRATCH/config"
        dpkg-deb -x "$(fetch "linux-config-$series")" "$SCRATCH/config"
        find "$SCRATCH/config" -name '*.xz' -exec xz -d {} +
        publish "$SCRATCH/config" "$final"
    fi
    arguments+=(--configs "$final")
    for arch in arm64 amd64; do
        name=$(newest "^linux-image-${series//./\\.}\\.[^ ]*[0-9]-${arch}(-unsigned)?\$")
        [ -n "$name" ] || continue
        final=$CACHE/ranges/$name
        if [ ! -d "$final" ]; then
            say "ranges: fetching the modules of $name"
            mkdir -p "$SCRATCH/image"
            file=$(fetch "$name:$arch")
            dpkg-deb -c "$file" | awk '{ print $6 }' | grep '\.ko' > "$SCRATCH/image/modules"
            dpkg-deb --fsys-tarfile "$file" | tar -x -C "$SCRATCH" --wildcards './boot/config-*' '*/modules.builtin'
            find "$SCRATCH/lib" "$SCRATCH/usr" -name modules.builtin -exec cat {} + 2> /dev/null >> "$SCRATCH/image/modules" || true
            mv "$SCRATCH"/boot/config-* "$SCRATCH/image/config"
            publish "$SCRATCH/image" "$final"
        fi
        arguments+=(--image "$final/config=$final/modules")
    done
done
python3 "$ROOT/scripts/ranges.py" "${arguments[@]}" "$@"

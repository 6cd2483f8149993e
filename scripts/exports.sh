#!/usr/bin/env bash
# exports.sh: compare the exported symbols that vfioboot reads from Debian's kernels with the
# Module.symvers of their build: name, CRC, GPL or not, namespace.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
cd "$ROOT"

lock exports
scratch exports
wrong=0
for arch in arm64 amd64; do
    package=$(debian apt-cache search --names-only "^linux-image-6\.1\.0-[0-9]+-$arch-unsigned\$" \
        | cut -d' ' -f1 | sort -V | tail -n 1)
    [ -n "$package" ] || die "Debian's package lists have no kernel for $arch"
    release=${package#linux-image-}
    release=${release%-unsigned}
    dir=$CACHE/exports/$release
    if [ ! -d "$dir" ]; then
        say "exports: fetching $package"
        mkdir -p "$SCRATCH/$arch/new"
        (cd "$SCRATCH/$arch" && debian apt-get download -qq "$package:$arch" "linux-headers-$release:$arch" >&2)
        for deb in "$SCRATCH/$arch"/*.deb; do
            dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$SCRATCH/$arch" --wildcards './boot/vmlinuz-*' 2> /dev/null \
                || dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$SCRATCH/$arch" --wildcards './usr/src/*/Module.symvers'
        done
        mv "$SCRATCH/$arch/boot/vmlinuz-$release" "$SCRATCH/$arch/new/vmlinuz"
        mv "$SCRATCH/$arch"/usr/src/*/Module.symvers "$SCRATCH/$arch/new/"
        publish "$SCRATCH/$arch/new" "$dir"
    fi
    cargo run --quiet --locked -p vfioboot-measure --bin exports -- "$dir/vmlinuz" | sort > "$SCRATCH/got"
    awk -F'\t' '$3 == "vmlinux"' "$dir/Module.symvers" | sort > "$SCRATCH/want"
    different=$(comm -3 "$SCRATCH/want" "$SCRATCH/got" | tee >(head -n 10 >&2) | wc -l)
    printf '%s: %s symbols, %s different\n' "$release" "$(wc -l < "$SCRATCH/want")" "$different"
    [ "$different" = 0 ] || wrong=1
done
exit $wrong

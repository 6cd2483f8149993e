#!/usr/bin/env bash
# evidence.sh: precision and recall of the evidence in symbol tables, for every kernel whose config is
# known: the lab's, those next to the checkout, and Debian's for arm64 and x86_64.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
cd "$ROOT"

# debian_kernel PACKAGE[:ARCH]: the package's kernel and config in the cache; prints KERNEL=CONFIG.
debian_kernel() {
    local dir=$CACHE/evidence/${1%:*}
    if [ ! -d "$dir" ]; then
        rm -rf "$SCRATCH/work" && mkdir -p "$SCRATCH/work/new"
        (cd "$SCRATCH/work" && debian apt-get download -qq "$1" >&2)
        dpkg-deb --fsys-tarfile "$SCRATCH"/work/*.deb |
            tar -x -C "$SCRATCH/work" --wildcards './boot/*'
        mv "$SCRATCH"/work/boot/vmlinuz-* "$SCRATCH/work/new/vmlinuz"
        mv "$SCRATCH"/work/boot/config-* "$SCRATCH/work/new/config"
        publish "$SCRATCH/work/new" "$dir"
    fi
    printf '%s\n' "$dir/vmlinuz=$dir/config"
}

# newest NAME-PATTERN: the newest package of that name.
newest() { debian apt-cache search --names-only "$1" | cut -d' ' -f1 | sort -V | tail -n 1; }

pairs=()
for dir in "$CACHE"/kernels/*/; do
    [ -e "$dir/Image" ] && pairs+=("${dir}Image=${dir}config")
done
for kernel in good vfio-m bad; do
    file=../shared/kernels/$kernel
    [ -e "$file-Image.gz" ] && pairs+=("$file-Image.gz=$file.config")
done
if is_debian; then
    lock evidence
    scratch evidence
    for series in '6\.1\.0' '6\.12\.'; do
        for flavour in cloud-arm64:arm64 arm64:arm64 cloud-amd64; do
            name=$(newest "^linux-image-${series}[^ ]*[0-9]-${flavour%:*}(-unsigned)?\$")
            [ -z "$name" ] || pairs+=("$(debian_kernel "$name${flavour#"${flavour%:*}"}")")
        done
    done
fi
[ ${#pairs[@]} -gt 0 ] || die "found no kernel with a known config"
scripts/release.sh -p vfioboot-measure --bin evidence
target/release/evidence "${pairs[@]}"

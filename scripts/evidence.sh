#!/usr/bin/env bash
# evidence.sh: precision and recall of the evidence in symbol tables, and the verdicts that it gives, for every
# kernel whose config is known: the lab's, those next to the checkout, and Debian's for arm64 and x86_64.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
cd "$ROOT"

# debian_kernel PACKAGE[:ARCH]: the package's kernel, config, and modules that can decide a rule in the cache, the
# last as in lib/modules; prints KERNEL=CONFIG.
debian_kernel() {
    local dir=$CACHE/evidence/3-${1%:*}
    if [ ! -d "$dir" ]; then
        rm -rf "$SCRATCH/work" && mkdir -p "$SCRATCH/work/new"
        (cd "$SCRATCH/work" && debian apt-get download -qq "$1" >&2)
        dpkg-deb --fsys-tarfile "$SCRATCH"/work/*.deb |
            tar -x -C "$SCRATCH/work" --wildcards './boot/*' '*/modules.*' "${MODULES[@]/#/*/}" 2> /dev/null || true
        mv "$SCRATCH"/work/boot/vmlinuz-* "$SCRATCH/work/new/vmlinuz"
        mv "$SCRATCH"/work/boot/config-* "$SCRATCH/work/new/config"
        find "$SCRATCH/work" -type d -path '*/lib/modules/*' -prune -exec mv {} "$SCRATCH/work/new/" \;
        publish "$SCRATCH/work/new" "$dir"
    fi
    printf '%s\n' "$dir/vmlinuz=$dir/config"
}

# newest NAME-PATTERN: the newest package of that name.
newest() { debian apt-cache search --names-only "$1" | cut -d' ' -f1 | sort -V | tail -n 1; }

# the modules of the rules that Debian has as modules, and what they need
MODULES=(vfio'*.ko*' iommufd.ko'*' irqbypass.ko'*' kvm'*.ko*' tun.ko'*' bridge.ko'*' stp.ko'*' llc.ko'*' ipv6.ko'*' \
    iptable_nat.ko'*' ip_tables.ko'*' x_tables.ko'*' nf_'*.ko*' xt_MASQUERADE.ko'*' vhost'*.ko*' tap.ko'*' \
    vsock.ko'*' vmw_vsock'*.ko*' libcrc32c.ko'*' ccp.ko'*' pcie-'*.ko*' pci-'*.ko*' arm_smmu'*.ko*')

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
        for flavour in cloud-arm64:arm64 arm64:arm64 cloud-amd64 amd64; do
            name=$(newest "^linux-image-${series}[^ ]*[0-9]-${flavour%:*}(-unsigned)?\$")
            [ -z "$name" ] || pairs+=("$(debian_kernel "$name${flavour#"${flavour%:*}"}")")
        done
    done
fi
[ ${#pairs[@]} -gt 0 ] || die "found no kernel with a known config"
scripts/release.sh -p vfioboot-measure --bin evidence
target/release/evidence "${pairs[@]}"

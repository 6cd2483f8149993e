#!/usr/bin/env bash
# fragment.sh [VFIOBOOT]: the fragment that `check --fragment` writes for a failing config, merged by
# the kernel's own merge_config.sh and olddefconfig, makes it pass. Kconfig of the kernel's sources
# validates the result; only their configuration program is compiled. Beside the checkout there may be
# real configs (../shared/field/audit): each of them is tried, too.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/common.sh
. "$here/../scripts/common.sh"

vfioboot=${1:-$ROOT/dist/vfioboot}
[ -x "$vfioboot" ] || die "$vfioboot is missing: build it with make dist, or give another path"
SERIES=(6.1 6.12)
RECIPE=2
REAL=$ROOT/../shared/field/audit
export LC_ALL=C
lock kconfig
scratch fragment

# source_of SERIES: the Kconfig files and scripts of Debian's kernel; prints their directory
source_of() {
    local package=linux-source-$1 version final
    version=$(debian apt-cache show --no-all-versions "$package" | sed -n 's/^Version: //p')
    [ -n "$version" ] || die "no package $package in Debian's lists"
    final=$CACHE/kconfig/$(echo "$RECIPE $package $version" | key)
    if [ ! -d "$final" ]; then
        say "fragment: fetching the Kconfig files of $package $version"
        rm -rf "$SCRATCH/fetch"
        mkdir -p "$SCRATCH/fetch/new"
        (cd "$SCRATCH/fetch" && debian apt-get download -qq "$package=$version" >&2)
        dpkg-deb --fsys-tarfile "$SCRATCH/fetch/$package"_*.deb \
            | tar -xO "./usr/src/$package.tar.xz" \
            | tar -xJ -C "$SCRATCH/fetch/new" --strip-components=1 --wildcards \
                '*/Kconfig*' '*/Makefile*' '*/Kbuild*' "$package/scripts" "$package/arch/arm64/tools"
        publish "$SCRATCH/fetch/new" "$final"
    fi
    printf '%s\n' "$final"
}

base=$here/kernel/base.config
passed=0
failed=0
bad() { say "FAIL $*"; failed=$((failed + 1)); }

# for_arch ARCH COMMAND...: with the compiler of this architecture
for_arch() {
    local arch=$1 cross=
    shift
    case $arch in
        arm64) [ "$(uname -m)" = aarch64 ] || cross=aarch64-linux-gnu- ;;
        x86_64) [ "$(uname -m)" = x86_64 ] || cross=x86_64-linux-gnu- ;;
    esac
    ARCH=$arch CROSS_COMPILE=$cross "$@"
}

# built ARCH: a directory for this kernel's configuration program, which is compiled once
built() { mkdir -p "$SCRATCH/$series/built-$1" && printf '%s\n' "$SCRATCH/$series/built-$1"; }

# resolve ARCH CONFIG: let Kconfig resolve the dependencies of a config
resolve() {
    local out
    out=$(built "$1")
    cp "$2" "$out/.config"
    (cd "$tree" && for_arch "$1" make -s O="$out" olddefconfig) && cp "$out/.config" "$2"
}

# hopeless FRAGMENT REST: nothing is left to set, and what is left was said to be not fixed by Kconfig
hopeless() {
    grep -q '^# Not fixed by Kconfig' "$1" && ! grep -q '^CONFIG_' "$2" \
        && diff -q <(grep '^# Not fixed by Kconfig' "$1") <(grep '^# Not fixed by Kconfig' "$2") > /dev/null
}

# judge NAME WORK ARCH [OPTION...]: the config WORK/before/.config fails; with the fragment it passes
judge() {
    local name=$1 work=$2 arch=$3 status=0 line
    shift 3
    "$vfioboot" check "$work/before/.config" "$@" --fragment "$work/fragment" > "$work/before.txt" 2>&1 || status=$?
    case $status in
        1 | 3) ;;
        0) say "ok   $name: it passes as it is"; return ;;
        *) bad "$name: the check of the original config ends with $status"; return ;;
    esac
    cp "$work/before/.config" "$work/base"
    # -m only merges; then Kconfig resolves the dependencies
    mkdir -p "$work/after"
    { (cd "$tree" && for_arch "$arch" scripts/kconfig/merge_config.sh -m -O "$work/after" "$work/base" "$work/fragment") \
        && resolve "$arch" "$work/after/.config"; } > "$work/after/merge.log" 2>&1 \
        || { cat "$work/after/merge.log" >&2; die "the fragment of $name could not be merged"; }
    status=0
    "$vfioboot" check "$work/after/.config" "$@" --fragment "$work/rest" > "$work/after.txt" 2>&1 || status=$?
    if [ "$status" -eq 1 ] && hopeless "$work/fragment" "$work/rest"; then
        say "ok   $name: the fragment says what no setting mends"
        passed=$((passed + 1))
        return
    fi
    if [ "$status" -ne 0 ]; then
        bad "$name: with the fragment it still ends with $status"
        cat "$work/fragment" "$work/after.txt" >&2
        return
    fi
    # Kconfig must have accepted every line of the fragment
    while IFS= read -r line; do
        grep -qxF "$line" "$work/after/.config" && continue
        bad "$name: Kconfig did not accept $line"
        return
    done < <(grep -E '^CONFIG_' "$work/fragment")
    say "ok   $name: $(grep -cE '^(# )?CONFIG_[A-Z0-9_]+(=| is not set)' "$work/fragment") settings"
    passed=$((passed + 1))
}

# try NAME OPTIONS LINE...: the lab's config with these lines changed
try() {
    local name=$series/$1 work=$SCRATCH/$series/$1 out
    local -a options=()
    read -ra options <<< "$2"
    shift 2
    mkdir -p "$work/before"
    printf '%s\n' "$@" > "$work/change"
    out=$(built arm64)
    (cd "$tree" && for_arch arm64 scripts/kconfig/merge_config.sh -n -O "$out" "$base" "$work/change") \
        > "$work/before/merge.log" 2>&1 || { cat "$work/before/merge.log" >&2; die "merge_config.sh failed"; }
    cp "$out/.config" "$work/before/"
    judge "$name" "$work" arm64 "${options[@]}"
}

# real FILE: a whole config of somebody's, brought to this kernel
real() {
    local work=$SCRATCH/$series/real arch
    if grep -qx CONFIG_ARM64=y "$1"; then arch=arm64
    elif grep -qx CONFIG_X86_64=y "$1"; then arch=x86_64
    else return 0; fi
    rm -rf "$work"
    mkdir -p "$work/before"
    cp "$1" "$work/before/.config"
    resolve "$arch" "$work/before/.config" > "$work/before/make.log" 2>&1 \
        || { tail "$work/before/make.log" >&2; die "olddefconfig failed"; }
    judge "$series/$(basename "$1" .config) ($arch)" "$work" "$arch"
}

if [ -e "$REAL/configs.tar.zst" ]; then
    zstd -dcq --long=27 "$REAL/configs.tar.zst" | tar -x -C "$SCRATCH"
fi
for series in "${SERIES[@]}"; do
    tree=$(source_of "$series")
    try no-vfio '' '# CONFIG_VFIO is not set'
    try vfio-modules '' CONFIG_VFIO=m CONFIG_VFIO_PCI=m
    try no-kvm '' '# CONFIG_VIRTUALIZATION is not set'
    try no-iommu '' '# CONFIG_IOMMU_SUPPORT is not set'
    try no-pci '' '# CONFIG_PCI is not set'
    # VFIO depends on IOMMUFD || !IOMMUFD, so that this one makes modules of the others
    [ "$series" = 6.1 ] || try iommufd-module '' CONFIG_IOMMUFD=m CONFIG_VFIO=m CONFIG_VFIO_PCI=m
    # BOOT_CONFIG selects it
    try no-initrd '' '# CONFIG_BOOT_CONFIG is not set' '# CONFIG_BLK_DEV_INITRD is not set'
    # the lab's kernel does not have all recommended symbols
    try recommended '--fail-on recommended' '# CONFIG_HUGETLBFS is not set' '# CONFIG_CPUSETS is not set' \
        '# CONFIG_TRANSPARENT_HUGEPAGE is not set' '# CONFIG_TUN is not set'
    try bare '--fail-on recommended' '# CONFIG_VIRTUALIZATION is not set' '# CONFIG_IOMMU_SUPPORT is not set' \
        '# CONFIG_PCI is not set' '# CONFIG_NET is not set' '# CONFIG_CGROUPS is not set' '# CONFIG_TMPFS is not set'
    if [ -e "$REAL/configs.tsv" ]; then
        while read -r id; do
            real "$SCRATCH/configs/$id.config"
        done < <(awk -F '\t' '$2 == "whole" { print $1 }' "$REAL/configs.tsv")
    fi
done

printf '%s passed, %s failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]

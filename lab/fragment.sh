#!/usr/bin/env bash
# fragment.sh [VFIOBOOT]: the fragment that `check --fragment` writes for a failing config, merged by
# the kernel's own merge_config.sh and olddefconfig, makes it pass. Kconfig of the kernel's source
# validates the result; only its configuration program is compiled.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/common.sh
. "$here/../scripts/common.sh"

vfioboot=${1:-$ROOT/dist/vfioboot}
[ -x "$vfioboot" ] || die "$vfioboot is missing: build it with make dist, or give another path"
PACKAGE=linux-source-6.1
RECIPE=1
export ARCH=arm64 CROSS_COMPILE=aarch64-linux-gnu- LC_ALL=C

version=$(debian apt-cache show --no-all-versions "$PACKAGE" | sed -n 's/^Version: //p')
[ -n "$version" ] || die "no package $PACKAGE in Debian's lists"
final=$CACHE/kconfig/$(echo "$RECIPE $PACKAGE $version" | key)
lock kconfig
scratch fragment
if [ ! -d "$final" ]; then
    say "fragment: fetching the Kconfig files of $PACKAGE $version"
    (cd "$SCRATCH" && debian apt-get download -qq "$PACKAGE=$version" >&2)
    mkdir "$SCRATCH/new"
    dpkg-deb --fsys-tarfile "$SCRATCH"/"$PACKAGE"_*.deb \
        | tar -xO "./usr/src/$PACKAGE.tar.xz" \
        | tar -xJ -C "$SCRATCH/new" --strip-components=1 --wildcards \
            '*/Kconfig*' '*/Makefile*' '*/Kbuild*' "$PACKAGE/scripts" "$PACKAGE/arch/arm64/configs" "$PACKAGE/arch/arm64/tools"
    publish "$SCRATCH/new" "$final"
fi

base=$here/kernel/base.config
passed=0
failed=0

# merge OUT FRAGMENT...: merge fragments like a user
merge() {
    local out=$1
    shift
    mkdir -p "$out"
    (cd "$final" && scripts/kconfig/merge_config.sh -n -O "$out" "$@") > "$out/merge.log" 2>&1 \
        || { cat "$out/merge.log" >&2; die "merge_config.sh failed"; }
}

# try NAME ARGUMENTS LINE...: a lab config with these lines changed fails; with the fragment it passes
try() {
    local name=$1 work=$SCRATCH/$1 status=0
    local -a options=()
    read -ra options <<< "$2"
    shift 2
    mkdir -p "$work"
    printf '%s\n' "$@" > "$work/change"
    merge "$work/before" "$base" "$work/change"
    "$vfioboot" check "$work/before/.config" "${options[@]}" --fragment "$work/fragment" > "$work/before.txt" || status=$?
    case $status in
        1 | 3) ;;
        *) say "FAIL $name: the check of the original config ends with $status"; failed=$((failed + 1)); return ;;
    esac
    cp "$work/before/.config" "$work/base"
    # -m only merges; then Kconfig resolves the dependencies
    mkdir -p "$work/after"
    (cd "$final" && scripts/kconfig/merge_config.sh -m -O "$work/after" "$work/base" "$work/fragment" \
        && make -s O="$work/after" olddefconfig) > "$work/after/merge.log" 2>&1 \
        || { cat "$work/after/merge.log" >&2; die "the fragment of $name could not be merged"; }
    status=0
    "$vfioboot" check "$work/after/.config" "${options[@]}" > "$work/after.txt" || status=$?
    if [ "$status" -ne 0 ]; then
        say "FAIL $name: with the fragment it still ends with $status"
        cat "$work/fragment" "$work/after.txt" >&2
        failed=$((failed + 1))
        return
    fi
    # Kconfig must have accepted every line of the fragment
    local line
    while IFS= read -r line; do
        grep -qxF "$line" "$work/after/.config" && continue
        say "FAIL $name: Kconfig did not accept $line"
        failed=$((failed + 1))
        return
    done < <(grep -E '^CONFIG_' "$work/fragment")
    say "ok   $name: $(grep -cE '^(# )?CONFIG_[A-Z0-9_]+(=| is not set)' "$work/fragment") settings"
    passed=$((passed + 1))
}

try no-vfio '' '# CONFIG_VFIO is not set'
try vfio-modules '' CONFIG_VFIO=m CONFIG_VFIO_PCI=m
try no-kvm '' '# CONFIG_VIRTUALIZATION is not set'
try no-iommu '' '# CONFIG_IOMMU_SUPPORT is not set'
try no-pci '' '# CONFIG_PCI is not set'
# BOOT_CONFIG selects it
try no-initrd '' '# CONFIG_BOOT_CONFIG is not set' '# CONFIG_BLK_DEV_INITRD is not set'
# the lab's kernel does not have all recommended symbols
try recommended '--fail-on recommended' '# CONFIG_HUGETLBFS is not set' '# CONFIG_CPUSETS is not set' \
    '# CONFIG_TRANSPARENT_HUGEPAGE is not set' '# CONFIG_TUN is not set'
try bare '--fail-on recommended' '# CONFIG_VIRTUALIZATION is not set' '# CONFIG_IOMMU_SUPPORT is not set' \
    '# CONFIG_PCI is not set' '# CONFIG_NET is not set' '# CONFIG_CGROUPS is not set' '# CONFIG_TMPFS is not set'

printf '%s passed, %s failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]

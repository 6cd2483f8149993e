#!/usr/bin/env bash
# build.sh: an independent bootloader, and the program that people flash with; prints their directory:
#   u-boot.bin  U-Boot, built for QEMU's arm64 board from the source package: Debian's binaries do not know
#               Android's boot images
#   fastboot    starts Debian's fastboot with its own libraries
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/common.sh
. "$here/../../scripts/common.sh"

RECIPE=1
export LC_ALL=C CROSS_COMPILE=aarch64-linux-gnu- SOURCE_DATE_EPOCH=1704067200

version=$(debian_sources apt-cache showsrc u-boot | sed -n 's/^Version: //p' | sort -V | tail -n 1)
fastboot=$(debian apt-cache show --no-all-versions fastboot:amd64 | sed -n 's/^Version: //p')
[[ -n $version && -n $fastboot ]] || die "no source of u-boot, or no fastboot, in Debian's lists"
final=$CACHE/lab-uboot/$({ echo "$RECIPE $version $fastboot"; cat "$here/uboot.config"; } | key)
lock lab-uboot
if [ -d "$final" ]; then
    printf '%s\n' "$final"
    exit 0
fi
scratch lab-uboot
mkdir -p "$SCRATCH"/{debs,root,source,obj,new/lib}

say "lab: fetching fastboot $fastboot"
mapfile -t packages < <(debian apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts \
    --no-breaks --no-replaces --no-enhances fastboot:amd64 | grep -E '^[a-z]' | sed 's/:amd64$//' | sort -u)
(cd "$SCRATCH/debs" && debian apt-get download -qq "${packages[@]/%/:amd64}" >&2)
for deb in "$SCRATCH"/debs/*.deb; do dpkg -x "$deb" "$SCRATCH/root"; done
find "$SCRATCH/root" -path '*x86_64-linux-gnu*' -name '*.so*' -type f -exec cp {} "$SCRATCH/new/lib/" \;
# programs ask for the names of links
find "$SCRATCH/root" -path '*x86_64-linux-gnu*' -name '*.so*' -type l | while read -r link; do
    file=$SCRATCH/new/lib/$(basename "$(readlink "$link")")
    [ ! -e "$file" ] || ln -sf "$(basename "$file")" "$SCRATCH/new/lib/$(basename "$link")"
done
cp "$SCRATCH/root/usr/lib/android-sdk/platform-tools/fastboot" "$SCRATCH/new/program"
cat > "$SCRATCH/new/fastboot" << 'END'
#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
exec "$here/lib/ld-linux-x86-64.so.2" --library-path "$here/lib" "$here/program" "$@"
END
chmod 755 "$SCRATCH/new/fastboot"
"$SCRATCH/new/fastboot" --version > /dev/null || die "fastboot $fastboot does not start"

say "lab: building U-Boot $version (about 2 minutes of the processor, kept in the cache)"
# as its authors released it: the changes of Debian's package are for other boards
(cd "$SCRATCH" && debian_sources apt-get source -qq --download-only --tar-only "u-boot=$version" >&2)
rm -f "$SCRATCH"/*.asc
tar -xf "$SCRATCH"/u-boot_*.orig.tar.* -C "$SCRATCH/source" --strip-components=1 --exclude='*/doc/*' --exclude='*/test/py/*' \
    2> "$SCRATCH/tar.log" || die "$(cat "$SCRATCH/tar.log")"
compilers=()
if command -v ccache > /dev/null; then
    export CCACHE_DIR=$CACHE/ccache CCACHE_BASEDIR=$SCRATCH CCACHE_NOHASHDIR=1
    compilers=(CC="ccache ${CROSS_COMPILE}gcc" HOSTCC="ccache gcc")
fi
obj=$SCRATCH/obj
{
    make -s -C "$SCRATCH/source" O="$obj" qemu_arm64_defconfig
    (cd "$SCRATCH/source" && scripts/kconfig/merge_config.sh -m -O "$obj" "$obj/.config" "$here/uboot.config")
    make -s -C "$SCRATCH/source" O="$obj" olddefconfig
} > "$SCRATCH/config.log" 2>&1 || die "$(cat "$SCRATCH/config.log")"
check_config "$here/uboot.config" "$obj/.config" || die "U-Boot does not accept uboot.config"
make -s -C "$SCRATCH/source" O="$obj" -j"$(nproc)" "${compilers[@]}" u-boot.bin > "$SCRATCH/make.log" 2>&1 \
    || die "$(tail -n 40 "$SCRATCH/make.log")"
cp "$obj/u-boot.bin" "$SCRATCH/new/"
publish "$SCRATCH/new" "$final"
printf '%s\n' "$final"

#!/usr/bin/env bash
# inputs.sh: what benches/run measures with, made once into the cache; prints its directory.
# The kernel is Debian's for arm64, a raw Image of 33 MB without an embedded config; Image-config
# is the same with its config where CONFIG_IKCONFIG=y would put it. The ramdisk is a tree of 8,400
# small files. The images are made by AOSP's mkbootimg:
#   v2.img  header v2, raw kernel, gzip ramdisk
#   v4.img  header v4, gzip kernel with its config, lz4_legacy ramdisk
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/common.sh
. "$here/../scripts/common.sh"

RECIPE=1

first_dependency() { debian apt-cache depends "$1" | sed -n "s/^ *Depends: \\($2\\).*/\\1/p" | head -n 1; }
version() { debian apt-cache show --no-all-versions "$1" | sed -n 's/^Version: //p'; }

# the package of the ABI at hand, through the one that always names the newest
kernel=$(first_dependency linux-image-arm64:arm64 'linux-image-[^: ]*')
[ -n "$kernel" ] || die "linux-image-arm64 is not in Debian's lists"
headers=${kernel/image/headers}
headers=${headers%-arm64}-common
tools=$("$here/../lab/tools.sh")
final=$CACHE/bench/$({
    echo "$RECIPE ${tools##*/} $kernel $(version "$kernel:arm64") $headers $(version "$headers")"
    cat "$here/inputs.py" "$here/../lab/cpio.py"
} | key)
lock bench
if [ ! -d "$final" ]; then
    say "bench: making its inputs from $kernel and $headers (70 MB to fetch, kept in the cache)"
    scratch bench
    mkdir -p "$SCRATCH"/{debs,root,new}
    (cd "$SCRATCH/debs" && debian apt-get download -qq "$kernel:arm64" "$headers" >&2)
    for deb in "$SCRATCH"/debs/*.deb; do
        # without the modules: 300 MB that nothing here reads
        dpkg-deb --fsys-tarfile "$deb" | tar -x -C "$SCRATCH/root" --exclude='./lib/*'
    done
    PYTHONDONTWRITEBYTECODE=1 python3 "$here/inputs.py" "$SCRATCH/root" "$tools" "$SCRATCH/new"
    publish "$SCRATCH/new" "$final"
fi
printf '%s\n' "$final"

#!/usr/bin/env bash
# kernel-judge.sh: programs that answer with the kernel's own code, for benches/kernel.rs. Built from
# Debian's linux-source package into the cache. Prints their directory.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"

PACKAGE=linux-source-6.1
JUDGES=(bootconfig cmdline initramfs)
own=$ROOT/benches/kernel_judge

version=$(debian apt-cache show --no-all-versions "$PACKAGE" | sed -n 's/^Version: //p')
[ -n "$version" ] || die "no package $PACKAGE in Debian's lists"

lock kernel-judge
# the files that are compiled, and the headers among themselves
source=$CACHE/kernel-judge/source-$version
if [ ! -d "$source" ]; then
    say "kernel-judge: fetching $PACKAGE $version"
    scratch kernel-judge
    mkdir "$SCRATCH/new"
    (cd "$SCRATCH" && debian apt-get download -qq "$PACKAGE=$version" >&2)
    files=(lib/bootconfig.c lib/cmdline.c lib/ctype.c lib/decompress.c lib/decompress_inflate.c lib/decompress_unlz4.c
        'lib/lz4/lz4*' 'lib/zlib_inflate/*' init/initramfs.c kernel/params.c
        include/linux/{bootconfig,ctype,lz4,zutil,zlib,zconf}.h 'include/linux/decompress/*')
    dpkg-deb --fsys-tarfile "$SCRATCH"/"$PACKAGE"_*.deb \
        | tar -xO "./usr/src/$PACKAGE.tar.xz" \
        | tar -xJ -C "$SCRATCH/new" --strip-components=1 --wildcards --no-wildcards-match-slash \
            "${files[@]/#/$PACKAGE/}"
    publish "$SCRATCH/new" "$source"
fi

final=$CACHE/kernel-judge/$({ echo "$version"; cat "$0" "$own"/*.[ch] "$own"/shim/*.[ch] "$own"/shim/*/*.h; } | key)
if [ ! -d "$final" ]; then
    [ -n "$SCRATCH" ] || scratch kernel-judge
    parts=$SCRATCH/parts
    mkdir -p "$parts" "$SCRATCH/bin"
    # of two files, what is about the subject
    sed '/^static int __initdata do_retain_initrd/,$d' "$source/init/initramfs.c" > "$parts/initramfs-part.c"
    sed -n '/^static char dash2underscore/,/^\/\* Lazy bastard/p' "$source/kernel/params.c" \
        | sed '/^static bool param_check_unsafe/,/^}/d; $d' > "$parts/params-part.c"
    # headers that are not in the source are the one shim; libc has two from the kernel itself
    grep -rhoE '^#\s*include <(linux|asm)/[a-z0-9_/]+\.h>' "$source" "$parts" | grep -oE '(linux|asm)/[^>]+' | sort -u \
        | while read -r header; do
            [[ $header =~ ^linux/(errno|types)\.h$ ]] || [ -e "$source/include/$header" ] || [ -e "$own/shim/$header" ] || {
                mkdir -p "$(dirname "$parts/$header")"
                echo '#include "shim.h"' > "$parts/$header"
            }
        done
    include=(-I"$own/shim" -I"$own" -I"$parts" -I"$source/include" -I"$source")
    flags=(-std=gnu11 -D_GNU_SOURCE -include shim.h -O2 -g -w -fno-strict-aliasing -DCONFIG_64BIT -DCONFIG_DECOMPRESS_GZIP -DCONFIG_DECOMPRESS_LZ4)
    unpackers=("$source"/lib/decompress_{inflate,unlz4}.c "$source"/lib/lz4/lz4_decompress.c
        "$source"/lib/zlib_inflate/{inflate,inffast,inftrees}.c)
    for judge in "${JUDGES[@]}"; do
        more=("$own/shim/strings.c")
        [ "$judge" != initramfs ] || more=("${unpackers[@]}")
        cc "${flags[@]}" "${include[@]}" -o "$SCRATCH/bin/$judge" "$own/$judge.c" "${more[@]}" >&2 \
            || die "kernel-judge: $judge cannot be built"
    done
    publish "$SCRATCH/bin" "$final"
fi
printf '%s\n' "$final"

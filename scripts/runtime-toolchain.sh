#!/usr/bin/env bash
# runtime-toolchain.sh: a compiler for static musl programs of both architectures, for a Debian
# machine without rustup's musl targets. It is built once, in the cache; prints its directory.
#
# Debian's rustc-web and the sources of its standard library are unpacked, not installed; cargo then
# builds std from source (-Zbuild-std) and rustup's own rust-lld links it with Debian's musl. The
# directory contains `rustc`, to be used as RUSTC.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"

# Increase this with every change of the steps below.
RECIPE=2
[ "$(uname -m)" = x86_64 ] || die "this toolchain is for x86_64 machines: on others, rustup target add"

version=$(debian apt-cache show --no-all-versions rustc-web | sed -n 's/^Version: //p')
[ -n "$version" ] || die "Debian's package lists have no rustc-web"
final=$CACHE/toolchains/musl-$(echo "$RECIPE $version" | key)
lock toolchain
if [ -x "$final/rustc" ]; then
    printf '%s\n' "$final"
    exit 0
fi

say "toolchain: fetching Debian's rustc $version and musl (140 MB)"
scratch toolchain
mkdir -p "$SCRATCH"/{debs,new,musl}

# The first dependency of package $1 whose name matches $2.
dependency() {
    debian apt-cache show "$1=$version" | sed -n 's/^Depends: //p' | grep -oE "$2" | head -n 1
}
std=$(dependency libstd-rust-web-dev 'libstd-rust-web-[0-9.]+')
llvm=$(dependency "$std" 'libllvm[0-9]+')
# and the libraries that LLVM is linked with, which may not be installed; libc and the C++ runtime
# come with gcc, which is required anyway
mapfile -t libraries < <(debian apt-cache depends --recurse --no-recommends --no-suggests \
    --no-conflicts --no-breaks --no-replaces --no-enhances "$llvm:amd64" \
    | grep -E '^lib' | grep -vE '^(libc6|libgcc-s1|libstdc\+\+6|libllvm)' | sort -u)
(cd "$SCRATCH/debs" && debian apt-get download -qq >&2 \
    rustc-web="$version" libstd-rust-web-dev="$version" "$std=$version" "$llvm" \
    "${libraries[@]}" rust-web-src="$version")
(cd "$SCRATCH/musl" && debian apt-get download -qq >&2 \
    musl-dev:arm64 libgcc-12-dev:arm64 libunwind-14-dev:arm64 \
    musl-dev:amd64 libgcc-12-dev:amd64 libunwind-14-dev:amd64)

root=$SCRATCH/new/root
mkdir "$root"
mv "$SCRATCH"/debs/rust-web-src_*.deb "$SCRATCH/src.deb"
for deb in "$SCRATCH"/debs/*.deb; do dpkg -x "$deb" "$root"; done
# only the standard library of the sources: the rest is 360 MB
dpkg --fsys-tarfile "$SCRATCH/src.deb" \
    | tar -x -C "$root" --wildcards './usr/lib/*' './usr/src/*/library' './usr/src/*/Cargo.*'

# The "self-contained" files of rustup's musl targets: the start files, libc and the unwinder.
for pair in arm64:aarch64 amd64:x86_64; do
    deb_arch=${pair%:*} arch=${pair#*:}
    tree=$SCRATCH/$arch
    for deb in "$SCRATCH"/musl/{musl-dev,libgcc-12-dev,libunwind-14-dev}_*_"$deb_arch".deb; do
        dpkg -x "$deb" "$tree"
    done
    dest=$root/usr/lib/rustlib/$arch-unknown-linux-musl/lib/self-contained
    mkdir -p "$dest"
    cp "$tree/usr/lib/$arch-linux-musl"/{crt1.o,Scrt1.o,rcrt1.o,crti.o,crtn.o,libc.a,libdl.a,libpthread.a} \
        "$tree/usr/lib/gcc/$arch-linux-gnu/12"/{crtbegin.o,crtend.o,crtbeginS.o,crtendS.o} \
        "$tree/usr/lib/llvm-14/lib/libunwind.a" "$dest/"
done

cat > "$SCRATCH/new/rustc" << 'W'
#!/bin/sh
root=$(dirname "$0")/root
LD_LIBRARY_PATH=$root/usr/lib/x86_64-linux-gnu:$root/lib/x86_64-linux-gnu exec "$root/usr/bin/rustc" "$@"
W
chmod +x "$SCRATCH/new/rustc"
"$SCRATCH/new/rustc" -V >&2
publish "$SCRATCH/new" "$final"
printf '%s\n' "$final"

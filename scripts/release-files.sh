#!/usr/bin/env bash
# release-files.sh [--tools]: everything that a release publishes, in target/release-files/: static programs in
# archives, Debian packages, the crate with the runtimes in it, the Python wheel of this machine, a list of
# the parts (SBOM) and the checksums. The same source gives the same bytes, wherever it is built.
# With --tools only: print the directories of the programs that pack, as in PATH.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
# shellcheck source=scripts/static.sh
. "$(dirname "$0")/static.sh"
cd "$ROOT"

DEB_VERSION=3.8.0
CYCLONEDX_VERSION=0.5.9
cargo_deb=$(scripts/cargo-tool.sh cargo-deb "$DEB_VERSION")
cyclonedx=$(scripts/cargo-tool.sh cargo-cyclonedx "$CYCLONEDX_VERSION")
if [ "${1:-}" = --tools ]; then
    printf '%s:%s\n' "${cargo_deb%/*}" "${cyclonedx%/*}"
    exit
fi
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
# Every time in a file is that of the last commit.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
export LC_ALL=C TZ=UTC
umask 022

out=$ROOT/target/release-files
rm -rf "$out"
mkdir -p "$out"
scratch release

static_toolchain
scripts/build-runtime.sh

say "vfioboot: building for ${ARCHES[*]}"
static_build
args+=(--release --bin vfioboot --target-dir target/static)
static_target aarch64
static_target x86_64
# The C of zstd. A compiler for glibc does, with nothing that only glibc has: no checked copies, no helpers
# of libgcc for atomics.
c_flags="-U_FORTIFY_SOURCE -fno-stack-protector -ffile-prefix-map=$ROOT=/vfioboot -ffile-prefix-map=${CARGO_HOME:-$HOME/.cargo}=/cargo"
aarch64_cc=aarch64-linux-gnu-gcc
[ "$(uname -m)" != aarch64 ] || aarch64_cc=cc
x86_64_cc=x86_64-linux-gnu-gcc
command -v "$x86_64_cc" > /dev/null || x86_64_cc=cc
for compiler in "$aarch64_cc" "$x86_64_cc"; do
    command -v "$compiler" > /dev/null || die "$compiler is missing: it compiles zstd's C"
done
environment+=(
    "CC_aarch64_unknown_linux_musl=$aarch64_cc" "CFLAGS_aarch64_unknown_linux_musl=$c_flags -mno-outline-atomics"
    "CC_x86_64_unknown_linux_musl=$x86_64_cc" "CFLAGS_x86_64_unknown_linux_musl=$c_flags"
    "VFIOBOOT_RUNTIME_DIR=$ROOT/dist")
env "${environment[@]}" cargo build "${args[@]}" >&2

# What goes beside the program is the same for every architecture; this machine's program makes it.
host=target/static/$(uname -m)-unknown-linux-musl/release/vfioboot
share=$SCRATCH/share
mkdir -p "$share/completions"
"$host" man "$share/man"
"$host" completions bash > "$share/completions/vfioboot.bash"
"$host" completions zsh > "$share/completions/_vfioboot"
"$host" completions fish > "$share/completions/vfioboot.fish"
python3 scripts/third_party.py > "$share/THIRD-PARTY.txt"

# pack NAME: the directory $SCRATCH/NAME as an archive without a trace of who made it
pack() {
    tar --create --directory="$SCRATCH" --format=ustar --sort=name --owner=0 --group=0 --numeric-owner \
        --mtime="@$SOURCE_DATE_EPOCH" "$1" | gzip -9 --no-name > "$out/$1.tar.gz"
}

for arch in "${ARCHES[@]}"; do
    target=$arch-unknown-linux-musl
    built=target/static/$target/release
    for place in "$ROOT" "${CARGO_HOME:-$HOME/.cargo}"; do
        ! grep -qF "$place/" "$built/vfioboot" || die "$built/vfioboot names $place"
    done
    name=vfioboot-$version-$target
    mkdir "$SCRATCH/$name"
    install -m 755 "$built/vfioboot" "$SCRATCH/$name/vfioboot"
    install -m 755 "dist/vfiorun-$arch" "$SCRATCH/$name/vfiorun"
    install -m 644 README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE "$share/THIRD-PARTY.txt" "$SCRATCH/$name/"
    cp -R "$share/completions" "$share/man" "$SCRATCH/$name/"
    pack "$name"
    install -m 755 "dist/vfiorun-$arch" "$out/vfiorun-$version-$target"
done

say "packages for Debian"
for arch in "${ARCHES[@]}"; do
    built=target/static/$arch-unknown-linux-musl/release
    install -m 755 "dist/vfiorun-$arch" "$built/vfiorun"
    rm -rf "$built/share"
    cp -R "$share" "$built/share"
    # as Debian has them
    gzip -9 --no-name "$built/share/man/"*
    CARGO_TARGET_DIR=target/static "$cargo_deb" --quiet --no-build --no-strip --target "$arch-unknown-linux-musl" \
        --output "$out/" > /dev/null
done

# The crate as it is published: with the runtimes, which a checkout does not have.
say "the crate"
copy=$SCRATCH/copy
mkdir "$copy"
git ls-files -z | xargs -0 cp --parents --target-directory="$copy"
mkdir "$copy/runtimes"
cp dist/vfiorun-aarch64 dist/vfiorun-x86_64 "$copy/runtimes/"
(cd "$copy" && cargo package --quiet --locked --no-verify --package vfioboot --target-dir "$SCRATCH/package" >&2)
cp "$SCRATCH/package/package/vfioboot-$version.crate" "$out/"

say "the Python wheel"
VFIOBOOT_RELEASE=1 python/wheel.sh "$out"

say "the list of parts"
(cd "$copy" && "$cyclonedx" cyclonedx --quiet --format json --spec-version 1.5 --no-default-features --features cli \
    --override-filename vfioboot.cdx >&2)
python3 - "$copy/vfioboot.cdx.json" "$out/vfioboot-$version.cdx.json" << 'P'
import json, pathlib, sys
# what differs from one run to the next
source, target = map(pathlib.Path, sys.argv[1:])
parts = json.loads(source.read_text().replace(f"path+file://{source.parent}", "path+file:///vfioboot"))
parts.pop("serialNumber", None)
parts.get("metadata", {}).pop("timestamp", None)
target.write_text(json.dumps(parts, indent=1, sort_keys=True) + "\n")
P

(cd "$out" && find . -type f -printf '%P\n' | sort | xargs sha256sum) > "$SCRATCH/SHA256SUMS"
mv "$SCRATCH/SHA256SUMS" "$out/"
say "release: $(wc -l < "$out/SHA256SUMS") files in target/release-files"

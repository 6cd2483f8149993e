#!/usr/bin/env bash
# build-runtime.sh [ARCH...]: the on-device program, static: dist/vfiorun-aarch64 and dist/vfiorun-x86_64, or
# one of them.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
# shellcheck source=scripts/static.sh
. "$(dirname "$0")/static.sh"
cd "$ROOT"

# It travels in the ramdisk of 8 MiB partitions. 1 MiB is the aim; CONTRIBUTING.md says what it has more.
declare -A LIMIT=([aarch64]=$((1056 * 1024)) [x86_64]=$((1256 * 1024)))
[ $# = 0 ] || ARCHES=("$@")
static_toolchain

# Nothing to do when no input has changed since programs were made, by this checkout or another one. Which
# files are inputs is what the compiler said in that build: without a change in one of them it reads no
# other one.
lists=$CACHE/runtime/inputs
mkdir -p "$lists"
# inputs LIST: a key of the files in LIST and of what every build depends on
inputs() {
    {
        echo "${toolchain##*/} $(rustc -V)"
        {
            cat "$1"
            find build build.rs kernel-configs Cargo.toml Cargo.lock scripts/build-runtime.sh scripts/static.sh -type f
        } | { xargs sha256sum 2>&1 || true; } # another checkout may have files that this one has not
    } | key
}
mkdir -p dist
exec {build_lock}> dist/.lock
flock "$build_lock"
for list in "$lists"/*; do
    [ -e "$list" ] || continue
    made=$CACHE/runtime/$(inputs "$list")
    has_all() { for arch in "${ARCHES[@]}"; do [ -e "$made/vfiorun-$arch" ] || return; done; }
    has_all || continue
    for arch in "${ARCHES[@]}"; do
        cmp -s "$made/vfiorun-$arch" "dist/vfiorun-$arch" || install -m 755 "$made/vfiorun-$arch" "dist/vfiorun-$arch"
    done
    exit 0
done

static_build
args+=(--profile device --no-default-features --features vfiorun --bin vfiorun --target-dir target/runtime)
# No unwind tables, an eighth of the program: a panic aborts. (With no messages either, by
# -C panic=immediate-abort, another tenth would go; but PID 1 goes on to init from its panic hook.)
# Instructions that several functions repeat are kept once too (outlined), which LLVM does for size on
# aarch64 by itself, and on x86_64 when asked to.
flags+=(-C force-unwind-tables=no)
if [ -n "$toolchain" ]; then
    # std for size and without the parts that print backtraces; nothing prints what is derived for Debug
    # but a panic that an error is unwrapped in
    args+=(-Zbuild-std-features=optimize_for_size)
    flags+=(-Zfmt-debug=shallow)
fi

# All at once: while one is linked, which takes one processor, the other compiles.
say "vfiorun: building for ${ARCHES[*]}"
declare -A OUTLINE=([aarch64]=-machine-outliner-reruns=4 [x86_64]=-enable-machine-outliner=always)
for arch in "${ARCHES[@]}"; do
    static_target "$arch" -C llvm-args="${OUTLINE[$arch]}"
done
env "${environment[@]}" cargo build "${args[@]}" >&2
for arch in "${ARCHES[@]}"; do
    built=target/runtime/$arch-unknown-linux-musl/device/vfiorun
    size=$(stat -c %s "$built")
    if [ "$size" -gt "${LIMIT[$arch]}" ]; then
        # a std that was not built for size is larger, which is not an error
        [ -z "$toolchain" ] || die "vfiorun for $arch has $size bytes, more than ${LIMIT[$arch]}"
        say "vfiorun: for $arch more than ${LIMIT[$arch]} bytes, because std was not built for size"
    fi
    cp "$built" "dist/vfiorun-$arch.new"
    mv "dist/vfiorun-$arch.new" "dist/vfiorun-$arch"
    say "vfiorun: dist/vfiorun-$arch, $size bytes"
done
scratch runtime
# "target: file file …", with absolute paths
for arch in "${ARCHES[@]}"; do
    sed 's/^[^:]*: *//' "target/runtime/$arch-unknown-linux-musl/device/vfiorun.d" | tr ' ' '\n'
done | sed -n "s|^$ROOT/||p" | grep ^src/ | LC_ALL=C sort -u > "$SCRATCH/list"
made=$CACHE/runtime/$(inputs "$SCRATCH/list")
mkdir "$SCRATCH/new"
# one of them may be there already
[ ! -d "$made" ] || cp "$made"/vfiorun-* "$SCRATCH/new/"
for arch in "${ARCHES[@]}"; do
    cp "dist/vfiorun-$arch" "$SCRATCH/new/"
done
publish "$SCRATCH/new" "$made"
mv "$SCRATCH/list" "$lists/$(key < "$SCRATCH/list")"
find "$CACHE/runtime" -mindepth 1 -maxdepth 2 -mtime +30 -not -path "$lists" -delete 2> /dev/null || true

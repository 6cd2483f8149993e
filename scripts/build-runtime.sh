#!/usr/bin/env bash
# build-runtime.sh: the on-device program, static, for both architectures:
# dist/vfiorun-aarch64 and dist/vfiorun-x86_64.
#
# rustup's musl targets are used if installed; otherwise, on Debian, a toolchain is built from
# Debian's packages (runtime-toolchain.sh). The bytes depend on the source and the compiler, not on
# the paths of the checkout or the cache.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
cd "$ROOT"

# It travels in the ramdisk of 8 MiB partitions. 1 MiB is the aim; CONTRIBUTING.md says what x86_64 has more.
declare -A LIMIT=([aarch64]=$((1024 * 1024)) [x86_64]=$((1224 * 1024)))
ARCHES=(aarch64 x86_64)

has_target() { [ -d "$(rustc --print target-libdir --target "$1-unknown-linux-musl" 2> /dev/null)" ]; }

toolchain=
for arch in "${ARCHES[@]}"; do
    has_target "$arch" && continue
    if is_debian && [ "$(uname -m)" = x86_64 ]; then
        toolchain=$("$ROOT/scripts/runtime-toolchain.sh")
        break
    fi
    die "vfiorun needs the Rust targets: rustup target add ${ARCHES[*]/%/-unknown-linux-musl}"
done

# Nothing to do when no input has changed since the programs were made.
inputs() {
    echo "${toolchain##*/} $(rustc -V)"
    find src build build.rs kernel-configs Cargo.toml Cargo.lock scripts/build-runtime.sh -type f -print0 \
        | LC_ALL=C sort -z | xargs -0 sha256sum
}
stamp=dist/.vfiorun.inputs
now=$(inputs | key)
mkdir -p dist
exec {build_lock}> dist/.lock
flock "$build_lock"
if [ "$(cat "$stamp" 2> /dev/null)" = "$now" ] && [ -x dist/vfiorun-aarch64 ] && [ -x dist/vfiorun-x86_64 ]; then
    exit 0
fi
rm -f "$stamp"
# Another checkout, or this one before a change that was taken back, may have made them.
cached=$CACHE/runtime/$now
if [ -d "$cached" ]; then
    cp "$cached"/vfiorun-* dist/
    echo "$now" > "$stamp"
    exit 0
fi

sysroot=$(rustc --print sysroot)
host=$(rustc -vV | sed -n 's/^host: //p')
lld=$sysroot/lib/rustlib/$host/bin/rust-lld
[ -x "$lld" ] || die "rustup's linker is missing: $lld"
cargo_home=${CARGO_HOME:-$HOME/.cargo}
args=(build --quiet --locked --profile device --no-default-features --features vfiorun --bin vfiorun
    --target-dir target/runtime)
# No unwind tables, an eighth of the program: a panic aborts. (With no messages either, by
# -C panic=immediate-abort, another tenth would go; but PID 1 goes on to init from its panic hook.)
# At a fixed address, so that nothing is relocated. Identical functions are kept once. Instructions
# that several functions repeat are kept once too (outlined), which LLVM does for size on aarch64
# by itself, and on x86_64 when asked to.
flags=(-C linker-flavor=ld.lld -C link-self-contained=yes -C force-unwind-tables=no
    -C relocation-model=static -C link-arg=--icf=all
    "--remap-path-prefix=$ROOT=/vfioboot" "--remap-path-prefix=$cargo_home=/cargo")
environment=(-u VFIOBOOT_RUNTIME_DIR -u RUSTFLAGS -u CARGO_BUILD_TARGET -u CARGO_TARGET_DIR)
if [ -n "$toolchain" ]; then
    # std itself is built, for size and without the parts that print backtraces
    args+=('-Zbuild-std=std,panic_abort' -Zbuild-std-features=optimize_for_size)
    # nothing prints what is derived for Debug but a panic that an error is unwrapped in
    flags+=("--remap-path-prefix=$toolchain/root/usr=/rust" -Zfmt-debug=shallow)
    environment+=(RUSTC="$toolchain/rustc" RUSTC_BOOTSTRAP=1)
else
    flags+=("--remap-path-prefix=$sysroot=/rust")
fi

# Both at once: while one is linked, which takes one processor, the other compiles.
say "vfiorun: building for ${ARCHES[*]}"
for arch in "${ARCHES[@]}"; do
    target=$arch-unknown-linux-musl
    upper=${target^^}
    upper=${upper//-/_}
    args+=(--target "$target")
    own=(-C llvm-args=-machine-outliner-reruns=4)
    [ "$arch" != x86_64 ] || own=(-C llvm-args=-enable-machine-outliner=always)
    environment+=("CARGO_TARGET_${upper}_LINKER=$lld" "CARGO_TARGET_${upper}_RUSTFLAGS=${flags[*]} ${own[*]}")
done
env "${environment[@]}" cargo "${args[@]}" >&2
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
mkdir "$SCRATCH/new"
cp dist/vfiorun-aarch64 dist/vfiorun-x86_64 "$SCRATCH/new/"
publish "$SCRATCH/new" "$cached"
find "$CACHE/runtime" -mindepth 1 -maxdepth 1 -mtime +30 -exec rm -rf {} +
echo "$now" > "$stamp"

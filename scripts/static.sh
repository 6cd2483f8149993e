# shellcheck shell=bash
# shellcheck disable=SC2034 # the variables are used by the scripts that source this file
# Sourced by what builds static programs, after common.sh: static_toolchain finds the compiler, and
# static_build gives its environment and arguments. The bytes depend on the source and the compiler, not on
# the paths of the checkout, the cache or the home directory.

ARCHES=(aarch64 x86_64)

has_target() { [ -d "$(rustc --print target-libdir --target "$1-unknown-linux-musl" 2> /dev/null)" ]; }

# Set `toolchain`: empty where rustup has the musl targets; otherwise the directory of one that is built
# from Debian's packages (runtime-toolchain.sh).
static_toolchain() {
    toolchain=
    local arch
    for arch in "${ARCHES[@]}"; do
        has_target "$arch" && continue
        is_debian && [ "$(uname -m)" = x86_64 ] \
            || die "static programs need the Rust targets: rustup target add ${ARCHES[*]/%/-unknown-linux-musl}"
        toolchain=$("$ROOT/scripts/runtime-toolchain.sh")
        return
    done
}

# Set `environment`, `args` and `flags` for `env "${environment[@]}" cargo build "${args[@]}"`; the flags
# are given with static_target.
static_build() {
    local sysroot host
    sysroot=$(rustc --print sysroot)
    host=$(rustc -vV | sed -n 's/^host: //p')
    lld=$sysroot/lib/rustlib/$host/bin/rust-lld
    [ -x "$lld" ] || die "rustup's linker is missing: $lld"
    args=(--locked)
    # who waits at a terminal sees what is compiled
    [ -t 2 ] || args+=(--quiet)
    # At a fixed address, so that nothing is relocated. Identical functions are kept once.
    flags=(-C linker-flavor=ld.lld -C link-self-contained=yes -C relocation-model=static
        -C link-arg=--icf=all "--remap-path-prefix=$ROOT=/vfioboot"
        "--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo")
    environment=(-u VFIOBOOT_RUNTIME_DIR -u RUSTFLAGS -u CARGO_BUILD_TARGET -u CARGO_TARGET_DIR)
    if [ -n "$toolchain" ]; then
        # std itself is built
        args+=('-Zbuild-std=std,panic_abort')
        flags+=("--remap-path-prefix=$toolchain/root/usr=/rust")
        environment+=(RUSTC="$toolchain/rustc" RUSTC_BOOTSTRAP=1)
    else
        flags+=("--remap-path-prefix=$sysroot=/rust")
    fi
}

# static_target ARCH [FLAG...]: build for this architecture, too.
static_target() {
    local target=$1-unknown-linux-musl upper
    upper=${target^^}
    upper=${upper//-/_}
    args+=(--target "$target")
    environment+=("CARGO_TARGET_${upper}_LINKER=$lld" "CARGO_TARGET_${upper}_RUSTFLAGS=${flags[*]} ${*:2}")
}

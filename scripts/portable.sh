#!/usr/bin/env bash
# portable.sh [TARGET...]: does vfioboot compile for other systems? cargo checks it, and builds nothing: no linker and
# no C library of theirs is needed. Where rustup has no standard library for the target, that of runtime-toolchain.sh
# is checked from source.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
cd "$ROOT"

scratch portable
# an empty archive, which is moved to its place
cat > "$SCRATCH/ar" << 'AR'
#!/bin/sh
for word; do
    case $word in
        [-/]out:*) : > "${word#?out:}" ;;
        *.a | *.lib) : > "$word" ;;
    esac
done
AR
chmod 755 "$SCRATCH/ar"

targets=("$@")
[ $# -gt 0 ] || targets=(aarch64-apple-darwin x86_64-apple-darwin x86_64-pc-windows-msvc)
for target in "${targets[@]}"; do
    say "portable: $target"
    args=(check --locked --bin vfioboot --target "$target" --target-dir target/portable)
    [ -t 2 ] || args+=(--quiet)
    # zstd's C is compiled on the system itself
    c=${target//-/_}
    environment=("CC_$c=true" "AR_$c=$SCRATCH/ar" SDKROOT=/no-sdk)
    if [ ! -d "$(rustc --print target-libdir --target "$target")" ]; then
        toolchain=$(scripts/runtime-toolchain.sh)
        environment+=("RUSTC=$toolchain/rustc" RUSTC_BOOTSTRAP=1)
        args+=('-Zbuild-std=std,panic_abort')
    fi
    env "${environment[@]}" RUSTFLAGS='-D warnings' cargo "${args[@]}"
done
say "portable: no errors for ${targets[*]}"

#!/usr/bin/env bash
# cargo-tool.sh NAME VERSION [ARGUMENT...]: print the path of a program from the registry. If it is not
# installed, it is built once, in the cache; the ARGUMENTs are for `cargo install`.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"

name=$1 version=$2
if command -v "$name"; then exit 0; fi
final=$CACHE/$name/$version
program=$final/bin/$name
lock "$name"
if [ ! -x "$program" ]; then
    say "$name: building $version (some minutes, kept in the cache)"
    scratch "$name"
    # it runs for seconds: an optimised build would take longer
    env -u RUSTFLAGS CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off \
        CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_DEBUG=0 \
        cargo install "$name" --quiet --locked --version "$version" "${@:3}" \
        --root "$SCRATCH/new" --target-dir "$SCRATCH/target" >&2
    publish "$SCRATCH/new" "$final"
fi
printf '%s\n' "$program"

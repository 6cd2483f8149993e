#!/usr/bin/env bash
# mdbook.sh [ARGUMENT...]: run mdBook. If it is not installed in this version, it is built in the cache.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"

VERSION=0.5.4

if [ "$(mdbook --version 2> /dev/null)" = "mdbook v$VERSION" ]; then
    program=mdbook
else
    final=$CACHE/mdbook/$VERSION
    program=$final/bin/mdbook
    lock mdbook
    if [ ! -x "$program" ]; then
        say "mdbook: building $VERSION (some minutes, kept in the cache)"
        scratch mdbook
        # it runs for a second: an optimised build would take longer
        env -u RUSTFLAGS CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off \
            CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
            cargo install mdbook --quiet --locked --version "$VERSION" --no-default-features \
            --features search --root "$SCRATCH/new" --target-dir "$SCRATCH/target" >&2
        publish "$SCRATCH/new" "$final"
    fi
fi
[ $# -eq 0 ] || "$program" "$@"

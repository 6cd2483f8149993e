#!/usr/bin/env bash
# cargo-deny.sh [ARGUMENT...]: run cargo-deny. If it is not installed, it is built in the cache.
# Without arguments it is only built.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"

VERSION=0.20.2

if command -v cargo-deny > /dev/null; then
    program=cargo-deny
else
    final=$CACHE/cargo-deny/$VERSION
    program=$final/bin/cargo-deny
    lock cargo-deny
    if [ ! -x "$program" ]; then
        say "cargo-deny: building $VERSION (about 2 minutes, kept in the cache)"
        scratch cargo-deny
        # it runs for a second: an optimised build would take longer
        env -u RUSTFLAGS CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off \
            CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
            cargo install cargo-deny --quiet --locked --version "$VERSION" --no-default-features \
            --root "$SCRATCH/new" --target-dir "$SCRATCH/target" >&2
        publish "$SCRATCH/new" "$final"
    fi
fi
[ $# -eq 0 ] || "$program" "$@"

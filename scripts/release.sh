#!/usr/bin/env bash
# release.sh [ARGUMENT...]: cargo build --release, with what every release build has in common: no path of
# the machine gets into a program. Other flags would build every dependency again.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
cd "$ROOT"

cargo_home=${CARGO_HOME:-$HOME/.cargo}
RUSTFLAGS=$(release_flags) VFIOBOOT_RUNTIME_DIR=$ROOT/dist cargo build --quiet --release --locked "$@"

program=target/release/vfioboot
for place in "$ROOT" "$cargo_home"; do
    ! grep -qF "$place/" "$program" 2> /dev/null || die "$program names $place"
done

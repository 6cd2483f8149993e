#!/usr/bin/env bash
# reproducible.sh: make the release here and again from a clone in another directory, with another home, another
# cargo home and an empty cache, and compare every byte. It takes as long as two cold builds.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
cd "$ROOT"

[ -z "$(git status --porcelain)" ] || die "reproducible.sh compares what is committed: commit first"
scripts/release-files.sh

# Programs that only pack are not built again.
tools=$(scripts/release-files.sh --tools)
scratch reproducible
place=$SCRATCH/some/other/place
git clone --quiet "$ROOT" "$place"
rustup_home=${RUSTUP_HOME:-$HOME/.rustup}
mkdir "$SCRATCH/home"
say "reproducible: again, in $place"
env -u XDG_CACHE_HOME -u VFIOBOOT_CACHE -u CARGO_HOME -u CARGO_TARGET_DIR \
    HOME="$SCRATCH/home" RUSTUP_HOME="$rustup_home" PATH="$tools:$PATH" "$place/scripts/release-files.sh"
diff -u target/release-files/SHA256SUMS "$place/target/release-files/SHA256SUMS" \
    || die "two builds of the same source differ; the second one was in $place"
say "reproducible: $(wc -l < target/release-files/SHA256SUMS) files, the same from two places"

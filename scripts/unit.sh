#!/usr/bin/env bash
# unit.sh [ARGUMENT...]: run the tests of both programs and count them.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
cd "$ROOT"

mkdir -p target
log=target/unit.log
status=0
cargo test --locked --all-features --no-fail-fast "$@" 2>&1 | tee "$log" || status=$?
awk '/^test result:/ { passed += $4; failed += $6 }
     END { printf "%d passed, %d failed\n", passed, failed }' "$log" | tee target/unit.count
exit "$status"

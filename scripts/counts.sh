#!/usr/bin/env bash
# counts.sh: print the number of tests in the last runs of `make unit` and `make e2e`.
set -euo pipefail
cd "$(dirname "$0")/.."
printf 'unit and integration tests: %s\n' "$(cat target/unit.count)"
printf 'end to end: %s\n' "$(cat target/e2e.count)"
awk '{ passed += $1; failed += $3 } END { printf "%d passed, %d failed\n", passed, failed }' \
    target/unit.count target/e2e.count

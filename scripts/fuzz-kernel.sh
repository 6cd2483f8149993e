#!/usr/bin/env bash
# fuzz-kernel.sh [COUNT [SEED [SUBJECT]]]: the library against the kernel's own code, each subject with
# COUNT generated inputs (100,000).
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
cd "$ROOT"

judges=$(scripts/kernel-judge.sh)
# optimised as the tests are: the build is shared with them
cargo run --quiet --locked -p vfioboot-measure --bin kernel -- "$judges" "${@:-100000}"

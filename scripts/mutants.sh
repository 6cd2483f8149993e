#!/usr/bin/env bash
# mutants.sh [ARGUMENT...] [MODULE...]: change the code of modules in small ways, one at a time, and count what
# their tests notice. tests/mutants/modules.tsv has the modules; `mutants.sh --help` lists the ARGUMENTs.
#
# All changes are compiled into one copy of the checkout (tests/mutants), and an environment variable
# switches one on: a mutant costs a run of tests, and no compilation.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
cd "$ROOT"

lock mutants
place=$CACHE/mutants
mkdir -p "$place"
cargo build --quiet --locked --package vfioboot-mutants --target-dir "$place/tool" >&2
PYTHONPATH=scripts PYTHONDONTWRITEBYTECODE=1 python3 -m mutants --place "$place" "$@"

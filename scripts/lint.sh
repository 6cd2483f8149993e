#!/usr/bin/env bash
# lint.sh: everything about the source that can be said without running it.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
cd "$ROOT"

cargo fmt --check
# each program as it is built, and both together for the tests
cargo clippy --quiet --locked --all-targets -- -D warnings
cargo clippy --quiet --locked --all-targets --all-features -- -D warnings
cargo clippy --quiet --locked --no-default-features --features device --lib --bins -- -D warnings
scripts/cargo-deny.sh --log-level error check licenses bans sources >&2
mapfile -t shell < <(git grep -lE '^#!.*\b(ba)?sh$' -- . ':!lab/*guest/*')
shellcheck "${shell[@]}"

mapfile -t python < <(git ls-files '*.py'; git grep -lE '^#!.*\bpython3$' -- . ':!*.py')
PATH=$(scripts/python-tools.sh):$PATH
ruff check --quiet --no-cache "${python[@]}"
ruff format --quiet --no-cache --check "${python[@]}"
mypy --no-error-summary --cache-dir="$CACHE/mypy" "${python[@]}"
python3 -m unittest discover --quiet --start-directory scripts
say "lint: nothing to say"

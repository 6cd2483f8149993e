#!/usr/bin/env bash
# lint.sh: all checks that do not run the programs.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
cd "$ROOT"

cargo fmt --all --check
# all features together, for the tests; then each library and program with its own features
cargo clippy --quiet --locked --workspace --all-targets --all-features -- -D warnings
for features in desktop cli vfiorun; do
    cargo clippy --quiet --locked --no-default-features --features "$features" --lib --bins -- -D warnings
done
# the fuzz targets, without compiling libFuzzer
CUSTOM_LIBFUZZER_PATH=/nowhere/libfuzzer.a cargo check --quiet --locked --manifest-path fuzz/Cargo.toml --target-dir target
# the Python package, with a lock file of its own, too
cargo fmt --manifest-path python/Cargo.toml --check
RUSTDOCFLAGS='-D warnings' cargo doc --quiet --locked --no-deps --all-features --document-private-items
scripts/cargo-deny.sh --log-level error check licenses bans sources >&2
scripts/advisories.py
# the map of src/lib.rs: imports point down, and there are no import cycles
scripts/layers.py
mapfile -t shell < <(git grep -lE '^#!.*\b(ba)?sh$' -- . ':!lab/*guest*')
shellcheck "${shell[@]}"

mapfile -t python < <(git ls-files '*.py'; git grep -lE '^#!.*\bpython3$' -- . ':!*.py')
PATH=$(scripts/python-tools.sh):$PATH
ruff check --quiet --no-cache "${python[@]}"
ruff format --quiet --no-cache --check "${python[@]}"
mypy --no-error-summary --cache-dir="$CACHE/mypy" "${python[@]}"
python3 -m unittest discover --quiet --start-directory scripts
say "lint: no findings"

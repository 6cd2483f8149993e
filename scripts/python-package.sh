#!/usr/bin/env bash
# python-package.sh [PYTEST-ARGUMENT...]: build python/ and test it against dist/vfioboot.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
cd "$ROOT"

export VFIOBOOT=$ROOT/dist/vfioboot PYTHONDONTWRITEBYTECODE=1
[ -x "$VFIOBOOT" ] || die "$VFIOBOOT is missing: make dist builds it"
bin=$(scripts/python-tools.sh scripts/python-package.txt)
cargo build --quiet --locked --manifest-path python/Cargo.toml --target-dir target
site=$ROOT/target/python
mkdir -p "$site/vfioboot"
cp python/lib/vfioboot/* "$site/vfioboot/"
cp target/debug/lib_native.so "$site/vfioboot/_native.abi3.so"
export PYTHONPATH=$site
"$bin/python" -m pytest --quiet -p no:cacheprovider --rootdir=python python/tests "$@"

#!/usr/bin/env bash
# python-package.sh [--wheel] [PYTEST-ARGUMENT...]: build python/ and test it against dist/vfioboot, with a local
# Ray of two workers. With --wheel the wheel is built and installed as people do, and the speed is measured.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
cd "$ROOT"

export VFIOBOOT=$ROOT/dist/vfioboot PYTHONDONTWRITEBYTECODE=1 RAY_USAGE_STATS_ENABLED=0
[ -x "$VFIOBOOT" ] || die "$VFIOBOOT is missing: make dist builds it"
bin=$(scripts/python-tools.sh scripts/python-package.txt)
if [ "${1:-}" = --wheel ]; then
    shift
    scratch python
    python/wheel.sh "$SCRATCH"
    python3 -m venv "$SCRATCH/venv"
    "$SCRATCH/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-index --no-deps \
        "$SCRATCH"/vfioboot-*.whl
    # what is tested is the wheel; the rest comes from the cache
    installed=$("$SCRATCH/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')
    cmp "$SCRATCH/venv/bin/vfioboot" "$VFIOBOOT" || die "the wheel has another program"
    export PYTHONPATH=$installed
else
    cargo build --quiet --locked --manifest-path python/Cargo.toml --target-dir target
    site=$ROOT/target/python
    mkdir -p "$site/vfioboot"
    cp python/lib/vfioboot/* "$site/vfioboot/"
    cp target/debug/lib_native.so "$site/vfioboot/_native.abi3.so"
    export PYTHONPATH=$site
    set -- --ignore=python/tests/test_speed.py "$@"
fi
"$bin/python" -m pytest --quiet -p no:cacheprovider --rootdir=python python/tests "$@"

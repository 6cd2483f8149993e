#!/usr/bin/env bash
# python-tools.sh [FILE]: print the directory of the programs of python-tools.txt, or of another such file, in
# the versions there. They are installed once, in the cache.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"

wanted=${1:-$ROOT/scripts/python-tools.txt}
final=$CACHE/python/$({ python3 --version; cat "$wanted"; } | key)
lock "python-${wanted##*/}"
if [ ! -e "$final/complete" ]; then
    say "python-tools: installing what ${wanted##*/} lists into the cache"
    # not published by a rename: a virtual environment contains its own path
    rm -rf "$final"
    python3 -m venv "$final"
    "$final/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r "$wanted" >&2
    touch "$final/complete"
fi
printf '%s\n' "$final/bin"

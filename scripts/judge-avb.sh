#!/usr/bin/env bash
# judge-avb.sh [VFIOBOOT]: compare `vfioboot verify` and AOSP's avbtool with the table of cases,
# fixtures/avb/cases.tsv. AVBTOOL names avbtool.py, of which there is no package: its source is
# platform/external/avb of AOSP. Without it nothing is checked here; the tests compare with the table.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"

vfioboot=$(realpath "${1:-$ROOT/dist/vfioboot}")
[ -x "$vfioboot" ] || die "$vfioboot is missing: build it with make dist, or give another path"
[ -n "${AVBTOOL:-}" ] || { say "judge-avb: skipped, AVBTOOL does not name avbtool.py"; exit 0; }
exec "$ROOT/scripts/judge_avb.py" "$AVBTOOL" "$vfioboot"

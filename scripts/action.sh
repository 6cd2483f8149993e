#!/usr/bin/env bash
# action.sh: run by action.yml. Its inputs are environment variables, never script text, because a
# pull request may choose file names.
set -euo pipefail

program=${VFIOBOOT:-$RUNNER_TEMP/vfioboot/bin/vfioboot}
words=(--format github --profile "$PROFILE" --fail-on "$FAIL_ON")
[ -z "${BASELINE:-}" ] || words+=(--baseline "$BASELINE")
[ -z "${FRAGMENT:-}" ] || words+=(--fragment "$FRAGMENT")
[ -z "${SARIF:-}" ] || words+=(--report "sarif=$SARIF")
[ -z "${JUNIT:-}" ] || words+=(--report "junit=$JUNIT")
[ -z "${HTML:-}" ] || words+=(--report "html=$HTML")
summary=$(mktemp)
trap 'rm -f "$summary"' EXIT
words+=(--report "markdown=$summary")
while IFS= read -r line; do
    [ -z "$line" ] || words+=("$line")
done <<< "${ARGUMENTS:-}"

files=()
while IFS= read -r pattern; do
    [ -n "$pattern" ] || continue
    # only globbing, no word splitting
    mapfile -t found < <(IFS=; compgen -G "$pattern" || true)
    if [ ${#found[@]} -eq 0 ]; then found=("$pattern"); fi
    files+=("${found[@]}")
done <<< "$PATHS"
[ ${#files[@]} -gt 0 ] || { echo "::error::vfioboot check: the input paths is empty"; exit 2; }

status=0
"$program" check "${words[@]}" -- "${files[@]}" || status=$?
[ ! -s "$summary" ] || [ -z "${GITHUB_STEP_SUMMARY:-}" ] || cat "$summary" >> "$GITHUB_STEP_SUMMARY"
[ -z "${MARKDOWN:-}" ] || cp "$summary" "$MARKDOWN"
[ -z "${GITHUB_OUTPUT:-}" ] || echo "status=$status" >> "$GITHUB_OUTPUT"
if [ "$status" -eq 3 ] && [ "${FAIL_ON_INCONCLUSIVE:-false}" != true ]; then exit 0; fi
exit "$status"

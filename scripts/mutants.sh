#!/usr/bin/env bash
# mutants.sh MODULE [ARGUMENT...]: change the code of a module in small ways, one at a time, and count what
# its tests notice. tests/mutants/modules.tsv has the modules; the ARGUMENTs are cargo-mutants' own, such
# as --shard 0/8 or --re PATTERN for a part. Ends with 1 if a change went unnoticed that
# tests/mutants/accepted.tsv does not name.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
cd "$ROOT"

VERSION=27.1.0
SECONDS_EACH=120
table=tests/mutants/modules.tsv
module=${1:-}
IFS=$'\t' read -r _ files tests < <(grep -P "^\Q$module\E\t" "$table") \
    || die "mutants: no module \"$module\"; there are $(grep -v '^#' "$table" | cut -f1 | paste -sd' ')"

if command -v cargo-mutants > /dev/null; then
    program=cargo-mutants
else
    final=$CACHE/cargo-mutants/$VERSION
    program=$final/bin/cargo-mutants
    lock cargo-mutants
    if [ ! -x "$program" ]; then
        say "cargo-mutants: building $VERSION (about 2 minutes, kept in the cache)"
        scratch cargo-mutants
        env -u RUSTFLAGS CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off \
            CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
            cargo install cargo-mutants --quiet --locked --version "$VERSION" \
            --root "$SCRATCH/new" --target-dir "$SCRATCH/target" >&2
        publish "$SCRATCH/new" "$final"
    fi
fi

# A copy is changed, not the checkout. It stays at its place, so that little is compiled again.
lock mutants
place=$CACHE/mutants
rm -rf "$place/tree"
mkdir -p "$place/tree"
git ls-files -z --cached --others --exclude-standard \
    | tar --create --null --files-from=- | tar --extract --directory="$place/tree"
selection=()
for test in $tests; do
    if [ "$test" = lib ]; then selection+=(--lib); else selection+=(--test "$test"); fi
done
cd "$place/tree"
export CARGO_TARGET_DIR=$place/target
# the programs that tests start are built with them
cargo test --quiet --locked --all-features --no-run "${selection[@]}" >&2
out=$place/out/${module//\//-}
rm -rf "$out"
mkdir -p "$out"
status=0
CARGO_INCREMENTAL=1 "$program" mutants --in-place --baseline skip --timeout "$SECONDS_EACH" --no-shuffle \
    --colors never --all-features --output "$out" --file "$files" "${@:2}" -- "${selection[@]}" \
    || status=$?
# 2: some were missed, 3: some timed out, which is noticed
[[ $status =~ ^[023]$ ]] || die "cargo-mutants ended with $status"

count() { grep -c . "$out/mutants.out/$1.txt" || true; }
# without line and column, which change
names() { sed -E 's/^([^:]+):[0-9]+:[0-9]+: /\1: /' "$1"; }
names "$out/mutants.out/missed.txt" | sort > "$out/missed"
sed '/^#/d' "$ROOT/tests/mutants/accepted.tsv" | cut -f1 | sort -u > "$out/accepted"
accepted=$({ grep -xFf "$out/accepted" "$out/missed" || true; } | wc -l)
missed=$(($(count missed) - accepted))
killed=$(($(count caught) + $(count timeout)))
viable=$((killed + missed + accepted))
printf 'mutants %s: %s viable, %s killed, %s accepted, %s not noticed\n' \
    "$module" "$viable" "$killed" "$accepted" "$missed"
grep -vxFf "$out/accepted" "$out/missed" || true
[ "$missed" = 0 ]

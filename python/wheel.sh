#!/usr/bin/env bash
# wheel.sh OUT: build the wheel of this machine's architecture into OUT: the package, and the program vfioboot.
# The same source gives the same bytes: times are those of the last commit, and no path of the builder is in it.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/../scripts/common.sh"
cd "$ROOT"
out=$(cd "$1" && pwd)

SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
export LC_ALL=C TZ=UTC
umask 022
cargo_home=${CARGO_HOME:-$HOME/.cargo}
# the static program of a release, if there is one
arch=$(uname -m)
program=target/static/$arch-unknown-linux-musl/release/vfioboot
[ "${VFIOBOOT_RELEASE:-}" = 1 ] || program=dist/vfioboot
[ -x "$program" ] || die "$program is missing: make dist builds it"

work=$ROOT/target/wheel
rm -rf "$work"
mkdir -p "$work/data/scripts"
install -m 755 "$program" "$work/data/scripts/vfioboot"
ln -s "$work/data" python/data
trap 'rm -f "$ROOT/python/data"' EXIT
maturin=$(scripts/python-tools.sh scripts/python-wheel.txt)/maturin
RUSTFLAGS=$(release_flags) "$maturin" build --quiet --release --locked --strip --manifest-path python/Cargo.toml \
    --target-dir target --compatibility "${VFIOBOOT_WHEEL_PLATFORM:-pypi}" --out "$work" >&2
wheel=$(find "$work" -name '*.whl')
mkdir "$work/look"
python3 -m zipfile -e "$wheel" "$work/look"
for place in "$ROOT" "$cargo_home"; do
    ! grep -rqF "$place/" "$work/look" || die "$(basename "$wheel") names $place"
done
mv "$wheel" "$out/"

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
# cargo hashes the place of a path dependency into the symbols, and below a workspace that place is relative: so
# both packages are copied into one. vfioboot is no member of it, or its tests would have to be in the lock file.
tree=$work/tree
mkdir -p "$tree"
git ls-files -z | xargs -0 cp --parents --target-directory="$tree"
rm "$tree/python/wheel.sh"
mv "$tree/python/Cargo.lock" "$work/Cargo.lock"
printf '%s\n' '[workspace]' 'members = ["tree/python"]' 'exclude = ["tree"]' 'resolver = "3"' > "$work/Cargo.toml"
sed -n '/^\[profile/,$p' python/Cargo.toml >> "$work/Cargo.toml"
sed -i -e 's|^\[workspace\]$||' -e '/^\[profile/,$d' -e 's|^publish = false$|&\nworkspace = "../.."|' "$tree/python/Cargo.toml"
mkdir -p "$tree/python/data/scripts"
install -m 755 "$program" "$tree/python/data/scripts/vfioboot"
maturin=$(scripts/python-tools.sh scripts/python-wheel.txt)/maturin
RUSTFLAGS=$(release_flags) "$maturin" build --quiet --release --locked --strip --target-dir target \
    --manifest-path "$tree/python/Cargo.toml" --compatibility "${VFIOBOOT_WHEEL_PLATFORM:-pypi}" --out "$work/out" >&2
wheel=$(find "$work/out" -name '*.whl')
mkdir "$work/look"
python3 -m zipfile -e "$wheel" "$work/look"
for place in "$ROOT" "$cargo_home"; do
    ! grep -rqF "$place/" "$work/look" || die "$(basename "$wheel") names $place"
done
mv "$wheel" "$out/"

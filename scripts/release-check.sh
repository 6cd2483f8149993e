#!/usr/bin/env bash
# release-check.sh: are the files of `make release` what they should be? Every architecture writes the same patch,
# and the crate, unpacked elsewhere, installs a program that writes it too.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
cd "$ROOT"

files=$ROOT/target/release-files
sample=$ROOT/fixtures/sample-boot.img
[ -e "$files/SHA256SUMS" ] || die "target/release-files/ is missing: make release"
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
scratch release-check
(cd "$files" && sha256sum --quiet --check SHA256SUMS)

# patched BY PROGRAM...: the sample, patched and undone by this program
patched() {
    local by=$1
    "${@:2}" patch "$sample" --device 1b36:0010 -o "$SCRATCH/patched-$by.img" > /dev/null
    "${@:2}" undo "$SCRATCH/patched-$by.img" -o "$SCRATCH/original-$by.img" > /dev/null
    cmp "$sample" "$SCRATCH/original-$by.img"
}

for arch in x86_64 aarch64; do
    name=vfioboot-$version-$arch-unknown-linux-musl
    tar -C "$SCRATCH" -xf "$files/$name.tar.gz"
    for file in README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE THIRD-PARTY.txt completions/vfioboot.bash \
        completions/_vfioboot completions/vfioboot.fish man/vfioboot.1 man/vfioboot-patch.1 man/vfiorun.1; do
        [ -s "$SCRATCH/$name/$file" ] || die "$name.tar.gz has no $file"
    done
    cmp "$SCRATCH/$name/vfiorun" "$files/vfiorun-$version-$arch-unknown-linux-musl"
    for program in vfioboot vfiorun; do
        ! readelf --program-headers --wide "$SCRATCH/$name/$program" | grep -qE '^ *(INTERP|DYNAMIC)' \
            || die "$name: $program is not static"
    done
    run=()
    if [ "$arch" != "$(uname -m)" ]; then
        run=("qemu-$arch-static")
        command -v "${run[0]}" > /dev/null || die "${run[0]} is missing: apt-get install qemu-user-static"
    fi
    patched "$arch" "${run[@]}" "$SCRATCH/$name/vfioboot"
    say "$name: vfioboot has $(stat -c %s "$SCRATCH/$name/vfioboot") bytes, vfiorun $(stat -c %s "$SCRATCH/$name/vfiorun")"
done
cmp "$SCRATCH/patched-x86_64.img" "$SCRATCH/patched-aarch64.img"
say "both architectures write the same patch"

# As cargo installs it from its registry: the packaged crate alone, in another place.
tar -C "$SCRATCH" -xf "$files/vfioboot-$version.crate"
crate=$SCRATCH/vfioboot-$version
for test in tests fixtures benches lab; do
    [ ! -e "$crate/$test" ] || die "the crate carries $test/, and not what it needs"
done
! grep -rnE 'fixtures/|"\.\./tests' "$crate/src" || die "a test in the crate reads fixtures, which are not in it"
say "cargo install from the crate"
# with the flags of `make dist`, so that dependencies are not built again
rustflags=$(release_flags)
(cd "$crate" && env -u VFIOBOOT_RUNTIME_DIR RUSTFLAGS="$rustflags" CARGO_TARGET_DIR="$ROOT/target" \
    cargo install --quiet --locked --path . --root "$SCRATCH/installed" >&2)
patched crate "$SCRATCH/installed/bin/vfioboot"
cmp "$SCRATCH/patched-x86_64.img" "$SCRATCH/patched-crate.img"
say "the crate, packaged and installed elsewhere, writes the same patch"

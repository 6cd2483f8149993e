#!/usr/bin/env bash
# play.sh archive|deb|source SUITE ARCH: play the first steps of a newcomer in an empty Debian root of that suite
# (bookworm, trixie) and architecture (amd64, arm64): with the archive of `make release`, with its Debian package, or
# as the README has it from a clone. What each step printed is in target/newcomers/. Needs root, mmdebstrap, and for
# another architecture qemu-user-static and arch-test.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/../../scripts/common.sh"

kind=$1 suite=$2 arch=$3
case $arch in
    amd64) target=x86_64 ;;
    arm64) target=aarch64 ;;
    *) die "play.sh: amd64 or arm64, not $arch" ;;
esac
[ "$(id -u)" = 0 ] || die "play.sh needs root: it mounts and changes the root directory"
command -v mmdebstrap > /dev/null || die "play.sh: mmdebstrap is missing: apt-get install mmdebstrap"
lock "newcomers-$suite-$arch"
scratch newcomers

# What the newcomer has.
mkdir "$SCRATCH/has"
case $kind in
    archive) files=("$ROOT"/target/release-files/vfioboot-*-"$target"-unknown-linux-musl.tar.gz) ;;
    deb) files=("$ROOT"/target/release-files/vfioboot_*_"$arch".deb) ;;
    source) files=() ;;
    *) die "play.sh: archive, deb or source, not $kind" ;;
esac
if [ ${#files[@]} -gt 0 ]; then
    [ -e "${files[0]}" ] || die "play.sh: no ${files[0]}: make release"
    cp "${files[0]}" "$ROOT/fixtures/sample-boot.img" "$SCRATCH/has/"
    mv "$SCRATCH/has/sample-boot.img" "$SCRATCH/has/boot.img"
else
    # the commit that is checked out, where the README's address leads
    git clone --quiet --bare --single-branch "$ROOT" "$SCRATCH/has/vfioboot.git"
    printf '[url "file:///root/vfioboot.git"]\n\tinsteadOf = %s\n' \
        "$(sed -n 's/^git clone \(https:[^ ]*\).*/\1/p' "$ROOT/README.md")" > "$SCRATCH/has/.gitconfig"
fi

# Programs of another architecture run by QEMU, as Debian registers it; what was not there before is gone after.
host=$(dpkg --print-architecture)
if [ "$arch" != "$host" ] && ! arch-test "$arch" > /dev/null 2>&1; then
    binfmt=/proc/sys/fs/binfmt_misc
    handler=/usr/lib/binfmt.d/qemu-$target.conf
    if [ ! -e "$handler" ] || ! command -v arch-test > /dev/null; then
        die "play.sh: programs for $arch do not run: apt-get install qemu-user-static arch-test"
    fi
    [ -e $binfmt/register ] || mount -t binfmt_misc binfmt_misc $binfmt
    cat "$handler" > $binfmt/register
    trap 'echo -1 > "$binfmt/qemu-$target"; rm -rf "$SCRATCH"' EXIT
fi

# the root as Debian makes it, kept in the cache
base=$CACHE/newcomers/$suite-$arch
if [ ! -d "$base" ]; then
    say "newcomers: making a root of $suite for $arch"
    # shellcheck disable=SC2016 # apt's variable
    mirror=$(apt-get indextargets --format '$(REPO_URI)' | grep '/debian/*$' | sort -u | head -n 1)
    mmdebstrap --quiet --variant=minbase --architectures="$arch" "$suite" "$SCRATCH/root" "$mirror" >&2
    publish "$SCRATCH/root" "$base"
fi

out=$ROOT/target/newcomers
mkdir -p "$out"
skip=()
# an emulated machine within an emulated program takes hours
[ "$arch" = "$host" ] || skip=(--skip qemu)
# all mounts are of a namespace of their own, and what is written goes to memory
unshare --mount --pid --fork --kill-child \
    python3 "$ROOT/lab/newcomers/play.py" "${skip[@]}" "$base" "$ROOT/lab/newcomers/$kind.toml" \
    "$SCRATCH/has" "$out/$kind-$suite-$arch.txt"

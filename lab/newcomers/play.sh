#!/usr/bin/env bash
# play.sh SUITE ARCH [PATTERN]: play the first steps of a newcomer in an empty Debian root of that suite (bookworm,
# trixie) and architecture (amd64, arm64), from the archive of `make release` alone. What each step printed
# is in target/newcomers/. Needs root, mmdebstrap, and for another architecture qemu-user-static.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/../../scripts/common.sh"

suite=$1 arch=$2
case $arch in
    amd64) target=x86_64 ;;
    arm64) target=aarch64 ;;
    *) die "play.sh: amd64 or arm64, not $arch" ;;
esac
[ "$(id -u)" = 0 ] || die "play.sh needs root: it mounts and changes the root directory"
archives=("$ROOT"/target/release-files/vfioboot-*-"$target"-unknown-linux-musl.tar.gz)
[ -e "${archives[0]}" ] || die "play.sh: target/release-files/ has no archive: make release"
command -v mmdebstrap > /dev/null || die "play.sh: mmdebstrap is missing: apt-get install mmdebstrap"

# the root as Debian makes it, kept in the cache
base=$CACHE/newcomers/$suite-$arch
lock "newcomers-$suite-$arch"
if [ ! -d "$base" ]; then
    scratch newcomers
    say "newcomers: making a root of $suite for $arch"
    # shellcheck disable=SC2016 # apt's variable
    mirror=$(apt-get indextargets --format '$(REPO_URI)' | grep '/debian/*$' | sort -u | head -n 1)
    mmdebstrap --quiet --variant=minbase --architectures="$arch" "$suite" "$SCRATCH/root" "$mirror" >&2
    publish "$SCRATCH/root" "$base"
fi

out=$ROOT/target/newcomers
mkdir -p "$out"
# all mounts are of a namespace of their own, and what is written goes to memory
exec unshare --mount --pid --fork --kill-child \
    python3 "$ROOT/lab/newcomers/play.py" "$base" "${archives[0]}" "$ROOT/fixtures/sample-boot.img" "$out/$suite-$arch.txt"

#!/usr/bin/env bash
# action-install.sh: run by action.yml. Puts vfioboot into $RUNNER_TEMP/vfioboot/bin: the program of a release,
# whose SHA-256 is compared, or, where that release has none for this machine, one that cargo builds from
# the action's own source. A version that was asked for is never replaced by another one.
set -euo pipefail

fail() {
    echo "::error::vfioboot: $*"
    exit 2
}

own=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$SOURCE/Cargo.toml" | head -n 1)
version=${VERSION:-$own}
version=${version#v}
[[ $version =~ ^[0-9A-Za-z.+-]+$ ]] || fail "the input version is \"$version\", expected one such as 0.1.0, or latest"
case $version in
    latest) from=$RELEASES/latest/download ;;
    *) from=$RELEASES/download/v$version ;;
esac
target=$(uname -m)-unknown-linux-musl
bin=$RUNNER_TEMP/vfioboot/bin
mkdir -p "$bin"
new=$(mktemp -d "$RUNNER_TEMP/vfioboot/new.XXXXXX")
trap 'rm -rf "$new"' EXIT

get() {
    curl --fail --silent --show-error --location --retry 3 --output "$new/$1" "$from/$1"
}

# 0: there it is; 1: the release has none, or it does not run here
download() {
    [ -n "$RELEASES" ] && get SHA256SUMS || return 1
    (cd "$new" && grep -E "^[0-9a-f]{64} [ *]vfioboot-[0-9A-Za-z.+-]+-$target\.tar\.gz\$" SHA256SUMS > SUM) || return 1
    archive=$(awk '{ sub("^[*]", "", $2); print $2; exit }' "$new/SUM")
    get "$archive" || return 1
    (cd "$new" && sha256sum --check --status SUM) || fail "$from/$archive is not what SHA256SUMS says: it is not used"
    tar -C "$new" -xzf "$new/$archive" "${archive%.tar.gz}/vfioboot" || return 1
    "$new/${archive%.tar.gz}/vfioboot" --version || return 1
    mv "$new/${archive%.tar.gz}/vfioboot" "$bin/vfioboot"
}

if download; then exit 0; fi
[ "$version" = "$own" ] || fail "release $version has no program for $target that runs here"
command -v cargo > /dev/null || fail "release $version has no program for $target that runs here, and there is no Rust to build it: install Rust, or name another release in the input version"
cargo install --quiet --locked --path "$SOURCE" --bin vfioboot --root "$RUNNER_TEMP/vfioboot"

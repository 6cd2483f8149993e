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
program=vfioboot-$(uname -m)-$(uname -s | tr '[:upper:]' '[:lower:]')
bin=$RUNNER_TEMP/vfioboot/bin
mkdir -p "$bin"
new=$(mktemp -d "$RUNNER_TEMP/vfioboot/new.XXXXXX")
trap 'rm -rf "$new"' EXIT

get() {
    curl --fail --silent --show-error --location --retry 3 --output "$new/$1" "$from/$1"
}

# 0: there it is; 1: the release has none, or it does not run here
download() {
    [ -n "$RELEASES" ] || return 1
    get SHA256SUMS && get "$program" || return 1
    (cd "$new" && grep -E "^[0-9a-f]{64} [ *]$program\$" SHA256SUMS > SUM) || fail "$from/SHA256SUMS does not name $program"
    (cd "$new" && sha256sum --check --status SUM) || fail "$from/$program is not what SHA256SUMS says: it is not used"
    chmod +x "$new/$program"
    "$new/$program" --version || return 1
    mv "$new/$program" "$bin/vfioboot"
}

if download; then exit 0; fi
[ "$version" = "$own" ] || fail "there is no $program of version $version that runs here"
command -v cargo > /dev/null || fail "there is no released $program of version $version that runs here, and no Rust to build it: install Rust, or name a release in the input version"
cargo install --quiet --locked --path "$SOURCE" --bin vfioboot --root "$RUNNER_TEMP/vfioboot"

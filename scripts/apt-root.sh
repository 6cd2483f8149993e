#!/usr/bin/env bash
# apt-root.sh [packages|sources]: a private apt root in the cache, for amd64 and arm64 packages that are
# unpacked and never installed, or for source packages. Prints the path of its configuration; debian() and
# debian_sources() in common.sh use it.
# It needs no root and changes nothing on the system.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"

command -v apt-get > /dev/null || die "apt-get is missing: the lab needs packages from Debian"
kind=${1:-packages}
case $kind in
    packages) dir=$CACHE/apt ;;
    sources) dir=$CACHE/apt-sources ;;
    *) die "apt-root.sh takes packages or sources" ;;
esac
lock "$(basename "$dir")"
conf=$dir/apt.conf
mkdir -p "$dir"/{lists/partial,archives/partial,etc/preferences.d,etc/apt.conf.d}
[ -e "$dir/status" ] || : > "$dir/status"

python3 "$(dirname "$0")/apt_sources.py" "$kind" > "$dir/etc/sources.list.new"
{
    cat << C
Dir::State "$dir";
Dir::State::status "$dir/status";
Dir::State::lists "$dir/lists";
Dir::Cache "$dir";
Dir::Etc "$dir/etc";
Dir::Etc::sourcelist "$dir/etc/sources.list";
Dir::Etc::sourceparts "/dev/null";
APT::Architecture "amd64";
APT::Architectures { "amd64"; "arm64"; };
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::Retries "3";
// this root is only for downloads: an install through it would go to the real system
Dir::Bin::dpkg "/bin/false";
C
    # use the proxy of the system's apt
    apt-config dump | grep -iE '^Acquire::[a-z]+::Proxy' || true
} > "$conf.new"
mv "$conf.new" "$conf"

# Package lists may be a day old, and older when offline.
fresh=$dir/updated
if ! cmp -s "$dir/etc/sources.list.new" "$dir/etc/sources.list" \
    || [ -z "$(find "$fresh" -mtime -1 2> /dev/null)" ]; then
    mv "$dir/etc/sources.list.new" "$dir/etc/sources.list"
    if APT_CONFIG=$conf apt-get update -qq -o APT::Update::Error-Mode=any >&2; then
        touch "$fresh"
    elif [ -e "$fresh" ]; then
        say "the package lists could not be updated: using the old ones"
    else
        rm -f "$dir/etc/sources.list"
        die "the package lists could not be fetched"
    fi
else
    rm "$dir/etc/sources.list.new"
fi
printf '%s\n' "$conf"

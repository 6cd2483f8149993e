#!/usr/bin/env bash
# tools.sh: the tools of the lab besides those of the system; prints their directory:
#   busybox                      static, for arm64: the stand-in system of every case
#   mkbootimg, unpack_bootimg    AOSP's own: the independent check of every image
# Debian 12's mkbootimg 29 corrupts vendor ramdisks after a header of two pages and does not support
# header v4, so the version in backports is used.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/../scripts/common.sh"

RECIPE=1
SUITE=bookworm-backports

busybox=$(debian apt-cache show --no-all-versions busybox-static:arm64 | sed -n 's/^Version: //p')
mkbootimg=$(debian apt-cache madison mkbootimg | awk -v suite="$SUITE/" 'index($0, suite) { print $3; exit }')
[[ -n $busybox && -n $mkbootimg ]] || die "busybox-static or mkbootimg is not in Debian's lists"
final=$CACHE/lab-tools/$(echo "$RECIPE $busybox $mkbootimg" | key)
lock lab-tools
if [ ! -d "$final" ]; then
    say "lab: fetching busybox and mkbootimg"
    scratch lab-tools
    mkdir -p "$SCRATCH"/{debs,root,new}
    (cd "$SCRATCH/debs" && debian apt-get download -qq \
        "busybox-static:arm64=$busybox" "mkbootimg=$mkbootimg" >&2)
    for deb in "$SCRATCH"/debs/*.deb; do dpkg -x "$deb" "$SCRATCH/root"; done
    cp "$SCRATCH/root/bin/busybox" "$SCRATCH/new/busybox"
    cp "$SCRATCH"/root/usr/bin/{mkbootimg,unpack_bootimg} "$SCRATCH/new/"
    publish "$SCRATCH/new" "$final"
fi
printf '%s\n' "$final"

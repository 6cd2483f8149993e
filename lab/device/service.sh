#!/usr/bin/env bash
# service.sh: the system of the emulated device (see system.sh) with Debian's systemd as its init; prints its
# directory. It has system.img, ext4, to be mounted read-write: packages are unpacked and not installed, so that it
# has what services need and no more. It starts /data/lab/system, as soon as units are started at all.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/common.sh
. "$here/../../scripts/common.sh"

# Increase this with every change of the steps below.
RECIPE=1
LIBRARIES=lib/aarch64-linux-gnu
export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin

base=$("$here/system.sh")
version=$(debian apt-cache show --no-all-versions systemd:arm64 | sed -n 's/^Version: //p')
[ -n "$version" ] || die "systemd is not in Debian's lists"
final=$CACHE/lab-system/service-$(echo "$RECIPE $version ${base##*/}" | key)
[ -d "$final" ] || lock lab-system
if [ -d "$final" ]; then
    printf '%s\n' "$final"
    exit 0
fi

say "lab: fetching Debian's systemd $version for arm64 (10 MB)"
scratch lab-system
root=$SCRATCH/root tree=$SCRATCH/tree
mkdir -p "$SCRATCH"/{debs,root,new,tree}
mapfile -t libraries < <(debian apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts \
    --no-breaks --no-replaces --no-enhances systemd:arm64 | grep -E '^(lib|zlib)[^<]*:arm64$' | sort -u)
(cd "$SCRATCH/debs" && debian apt-get download -qq "systemd:arm64=$version" "${libraries[@]}" >&2)
for deb in "$SCRATCH"/debs/*.deb; do dpkg -x "$deb" "$root"; done

debugfs -R "rdump / $tree" "$base/system.img" > /dev/null 2>&1
mkdir -p "$tree"/{etc/systemd/system/sysinit.target.wants,var/log,root,usr/lib}
cp -a "$root/lib/systemd" "$tree/lib/"
cp -a "$root/usr/lib/systemd" "$root/usr/lib/tmpfiles.d" "$tree/usr/lib/" 2> /dev/null || true
cp -a "$root"/bin/* "$tree/bin/"
# the libraries of what was copied: flat, where the linker looks last
find "$root/lib/aarch64-linux-gnu" "$root/usr/lib/aarch64-linux-gnu" -name '*.so*' | while read -r library; do
    [ -e "$tree/$LIBRARIES/${library##*/}" ] || cp -L "$library" "$tree/$LIBRARIES/" 2> /dev/null || true
done
for name in mount umount sulogin; do [ -e "$tree/bin/$name" ] || ln -s busybox "$tree/bin/$name"; done

printf 'root:x:0:0::/root:/bin/sh\n' > "$tree/etc/passwd"
printf 'root:x:0:\n' > "$tree/etc/group"
printf 'ID=debian\nNAME=Debian\n' > "$tree/etc/os-release"
: > "$tree/etc/machine-id"
units=$tree/etc/systemd/system
ln -s /lib/systemd/system/multi-user.target "$units/default.target"
# what needs programs, users or a bus that are not here
for unit in serial-getty@ttyAMA0 getty@tty1 systemd-logind systemd-journal-flush systemd-networkd systemd-resolved \
    systemd-timesyncd systemd-sysusers systemd-firstboot systemd-update-utmp; do
    ln -s /dev/null "$units/$unit.service"
done
cat > "$units/lab.service" << 'UNIT'
[Unit]
Description=The cases of the lab
After=sysinit.target
Before=vfiorun.service

[Service]
Type=notify
NotifyAccess=all
TimeoutStartSec=infinity
KillMode=process
ExecStart=/data/lab/system
StandardInput=tty
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyAMA0

[Install]
WantedBy=multi-user.target
UNIT
mkdir "$units/multi-user.target.wants"
ln -s /etc/systemd/system/lab.service "$units/multi-user.target.wants/lab.service"
size=$(du -sm "$tree" | cut -f1)
mke2fs -q -t ext4 -O '^has_journal' -E root_owner=0:0 -d "$tree" "$SCRATCH/new/system.img" $((size * 11 / 10 + 24))M >&2
publish "$SCRATCH/new" "$final"
printf '%s\n' "$final"

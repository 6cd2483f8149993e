#!/usr/bin/env bash
# try.sh: build both programs as fast as can be, and demonstrate them with the sample image. Only what was built
# is kept; `make dist` builds the programs for use.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
cd "$ROOT"

say "try: vfiorun for aarch64, which the sample is for, and Rust's standard library for it"
scripts/build-runtime.sh aarch64
say "try: vfioboot"
VFIOBOOT_RUNTIME_DIR=$ROOT/dist cargo build --locked --bin vfioboot --profile try --target-dir target/try

sample=fixtures/sample-boot.img
device=1b36:0010
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# show STATUS COMMAND...: print a command and its output; STATUS lists the accepted exit statuses
show() {
    local fine=$1 status=0
    shift
    printf '\n$ %s\n' "$*"
    "$@" || status=$?
    [[ " $fine " == *" $status "* ]] || { echo "error: that ended with $status" >&2; exit 1; }
}

PATH=$PWD/target/try/try:$PATH
show 0 vfioboot info "$sample"
# 1: a required option is missing, 3: inconclusive
show '0 1 3' vfioboot check "$sample"
show 0 vfioboot patch "$sample" --device "$device" --dry-run
show 0 vfioboot patch "$sample" --device "$device" -o "$work/patched.img"
show 0 vfioboot info "$work/patched.img"
# what the patch does before it is flashed: the sample image has a kernel that boots
if command -v qemu-system-aarch64 > /dev/null; then
    show 0 vfioboot boot-test "$work/patched.img"
else
    # 3: not decided
    show 3 vfioboot boot-test "$work/patched.img"
    cat << 'T'
With QEMU it boots the image in seconds, and shows what the kernel and PID 1 do, ending with:
  0.150  the kernel starts /vfioboot/init
  0.190  vfiorun: 0000:00:01.0 (1b36:0010): from nvme to vfio-pci, IOMMU group 0
  0.200  vfiorun: next program: /init
proven: every device is on vfio-pci, then the original init; the originals start in the same way without it
T
fi
show 0 vfioboot unpatch "$work/patched.img" -o "$work/original.img"
show 0 cmp "$sample" "$work/original.img"
printf '\nThe original image came back byte for byte. For your own: make dist, then dist/vfioboot patch IMAGE --device %s\n' "$device"

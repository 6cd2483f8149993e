#!/usr/bin/env bash
# smoke.sh VFIOBOOT [RUNTIME]: patch the sample with this program and take it back; on any system. Without a
# RUNTIME it has to be in the program, or anything of the right architecture does: the sample is not booted.
set -euo pipefail
cd "$(dirname "$0")/.."
program=$1
[ -e "$program" ] || program=$1.exe
sample=fixtures/sample-boot.img
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
arguments=(patch "$sample" --device 1b36:0010 --anyway -o "$work/patched.img")
[ $# -lt 2 ] || arguments+=(--runtime "$2")
"$program" info "$sample"
"$program" "${arguments[@]}"
"$program" unpatch "$work/patched.img" -o "$work/original.img"
cmp "$sample" "$work/original.img"
echo "smoke: patched and undone"

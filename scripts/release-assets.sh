#!/usr/bin/env bash
# release-assets.sh PROGRAM DIR: what a release has, under the names that the GitHub action downloads.
set -euo pipefail

program=$1 dir=$2
mkdir -p "$dir"
name=vfioboot-$(uname -m)-$(uname -s | tr '[:upper:]' '[:lower:]')
cp "$program" "$dir/$name"
cd "$dir"
sha256sum vfioboot-* > SHA256SUMS

#!/usr/bin/env bash
# closure.sh [DIR RELEASE]: compare the modules that vfioboot loads for a module with those of kmod's
# modprobe, for every module below DIR/lib/modules/RELEASE; by default of Debian's kernel for arm64.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
cd "$ROOT"
# modprobe and depmod are in /sbin, which is not in every user's PATH
export PATH=$PATH:/usr/sbin:/sbin
scratch closure

if [ $# = 2 ]; then
    dir=$(cd "$1" && pwd)
    release=$2
else
    [ $# = 0 ] || die "closure.sh takes no argument, or a directory and a release"
    package=$(debian apt-cache search --names-only '^linux-image-6\.1\.0-[0-9]+-arm64-unsigned$' \
        | cut -d' ' -f1 | sort -V | tail -n 1)
    [ -n "$package" ] || die "Debian's package lists have no kernel for arm64"
    dir=$CACHE/closure/$package
    lock closure
    if [ ! -d "$dir" ]; then
        say "closure: fetching $package"
        mkdir "$SCRATCH/new"
        (cd "$SCRATCH" && debian apt-get download -qq "$package:arm64" >&2)
        dpkg-deb --fsys-tarfile "$SCRATCH"/*.deb | tar -x -C "$SCRATCH/new" --wildcards './lib/modules/*'
        depmod -b "$SCRATCH/new" "$(ls "$SCRATCH/new/lib/modules")"
        publish "$SCRATCH/new" "$dir"
    fi
    release=$(ls "$dir/lib/modules")
fi

# use only the tree, not this machine's configuration
mkdir "$SCRATCH/config"
cargo run --quiet --locked -p vfioboot-measure --bin closure -- "$dir/lib/modules/$release" > "$SCRATCH/ours"
sed -n 's/^# //p' "$SCRATCH/ours" > "$SCRATCH/names"
while IFS= read -r name; do
    printf '# %s\n' "$name"
    modprobe -C "$SCRATCH/config" -d "$dir" -S "$release" --show-depends "$name" || echo "failed: $?"
done < "$SCRATCH/names" > "$SCRATCH/kmod"

# One line for each module, so that modules are counted.
one_line() { awk '/^# / { if (n++) print ""; printf "%s:", $2; next } { printf " %s", $0 } END { print "" }' "$1"; }
one_line "$SCRATCH/ours" > "$SCRATCH/ours.lines"
one_line "$SCRATCH/kmod" > "$SCRATCH/kmod.lines"
all=$(wc -l < "$SCRATCH/names")
different=$(diff "$SCRATCH/kmod.lines" "$SCRATCH/ours.lines" | grep -c '^>' || true)
diff "$SCRATCH/kmod.lines" "$SCRATCH/ours.lines" | head -n 20 >&2 || true
printf '%s: %s modules, %s equal, %s different\n' "$release" "$all" $((all - different)) "$different"
[ "$all" -gt 0 ] && [ "$different" = 0 ]

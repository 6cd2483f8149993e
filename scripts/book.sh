#!/usr/bin/env bash
# book.sh check|update|build [PAGE...]: check the book (links, examples, generated pages), write the
# generated pages, or do both and build it with mdBook. Needs the programs of `make dist`.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"
cd "$ROOT"

[ -x dist/vfioboot ] || die "dist/vfioboot is missing: make dist"
# by the names that readers use
scratch book
mkdir "$SCRATCH/bin"
ln -s "$ROOT/dist/vfioboot" "$SCRATCH/bin/vfioboot"
ln -s "$ROOT/dist/vfiorun-$(uname -m)" "$SCRATCH/bin/vfiorun"

export VFIOBOOT_CACHE=$CACHE
book() { PYTHONPATH=scripts PYTHONDONTWRITEBYTECODE=1 python3 -m book "$1" --programs "$SCRATCH/bin" "${@:2}"; }

case ${1:-} in
    check) book check "${@:2}" ;;
    update) book update ;;
    build)
        book update
        book check "${@:2}"
        scripts/mdbook.sh build docs/book
        say "the book: target/book/index.html"
        ;;
    *) die "book.sh takes check, update or build" ;;
esac

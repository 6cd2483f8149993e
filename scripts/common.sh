# shellcheck shell=bash
# shellcheck disable=SC2034 # the variables are used by the scripts that source this file
# Sourced by the other scripts: the cache, and how results are published in it.

# Everything that is downloaded or built for this project outside the checkout.
CACHE=${VFIOBOOT_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/vfioboot}
mkdir -p "$CACHE"
CACHE=$(cd "$CACHE" && pwd)

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# make's job server does not work through a script: the programs started here choose their own number
# of jobs.
unset MAKEFLAGS MFLAGS MAKELEVEL

say() { printf '%s\n' "$*" >&2; }
die() { say "error: $*"; exit 1; }

# Two makes, or two jobs of one make, must not build the same thing twice: the second one waits for
# the lock and uses the result. The lock is held until the script ends.
lock() {
    mkdir -p "$CACHE/locks"
    local fd
    exec {fd}> "$CACHE/locks/$1"
    flock "$fd"
}

# A scratch directory inside the cache (same file system, so that publishing is a rename),
# removed when the script ends for any reason.
SCRATCH=
scratch() {
    SCRATCH=$(mktemp -d "$CACHE/tmp.$1.XXXXXX")
    trap 'rm -rf "$SCRATCH"' EXIT
    trap 'exit 130' INT TERM HUP
}

# publish NEW FINAL: move NEW to FINAL atomically.
publish() {
    mkdir -p "$(dirname "$2")"
    rm -rf "$2"
    mv -T "$1" "$2"
}

# A short key of standard input.
key() { sha256sum | cut -c1-16; }

# Flags of rustc for a release build: no path of the machine gets into a program.
release_flags() {
    local flags=("--remap-path-prefix=$ROOT=/vfioboot" "--remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
        "--remap-path-prefix=$(rustc --print sysroot)=/rust")
    printf '%s\n' "${flags[*]}"
}

is_debian() { [ -e /etc/debian_version ] && command -v apt-get > /dev/null; }

# debian COMMAND...: run a command with the private apt root. The system's apt must never see its
# configuration, so it is set only for this command.
debian() { APT_CONFIG=$("$ROOT/scripts/apt-root.sh") "$@"; }

# The same for source packages.
debian_sources() { APT_CONFIG=$("$ROOT/scripts/apt-root.sh" sources) "$@"; }

# check_config FRAGMENT... CONFIG: merge_config.sh exits with 0 even if a requested symbol is dropped, so
# the result is compared here. A later fragment overrides an earlier one.
check_config() {
    awk '
        function name(l) { sub(/^# /, "", l); sub(/[= ].*/, "", l); return l }
        !/^(# )?CONFIG_[A-Za-z0-9_]+(=| is not set)/ { next }
        FILENAME == ARGV[ARGC-1] { if (!/^#/) have[name($0)] = $0; next }
        { want[name($0)] = /^#/ ? "" : $0 }
        END { for (n in want) if (have[n] != want[n]) {
                  printf "%s: wanted \"%s\", got \"%s\"\n", n, want[n], have[n]; bad = 1 }
              exit bad }' "$@" >&2
}

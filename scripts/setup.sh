#!/usr/bin/env bash
# setup.sh build|all: install missing programs. `build` installs those for building the two programs,
# `all` also those for testing. This needs Debian with root or sudo; otherwise the missing programs
# are listed with the command that installs them.
set -euo pipefail
# shellcheck source=scripts/common.sh
. "$(dirname "$0")/common.sh"

# program, header, file or Python module, and its Debian package
BUILD=(cc:gcc stdio.h:libc6-dev make:make git:git python3:python3 flock:util-linux xz:xz-utils)
LAB=(
    qemu-system-aarch64:qemu-system-arm qemu-system-x86_64:qemu-system-x86 mke2fs:e2fsprogs readelf:binutils lz4:lz4 zstd:zstd cpio:cpio bzip2:bzip2 shellcheck:shellcheck openssl:openssl unzip:unzip
    ensurepip:python3-venv
    # for the kernels
    aarch64-linux-gnu-gcc:gcc-aarch64-linux-gnu flex:flex bison:bison bc:bc perl:perl depmod:kmod dumpimage:u-boot-tools
    hexdump:bsdextrautils openssl/opensslv.h:libssl-dev libelf.h:libelf-dev
    # the config in a kernel records whether a program can be linked
    /usr/aarch64-linux-gnu/include/stdio.h:libc6-dev-arm64-cross
)

case ${1:-all} in
    build) wanted=("${BUILD[@]}") ;;
    all) wanted=("${BUILD[@]}" "${LAB[@]}") ;;
    *) die "setup.sh takes build or all" ;;
esac

present() {
    case $1 in
        /*) [ -e "$1" ] ;;
        ensurepip) python3 -c 'import ensurepip' 2> /dev/null ;;
        *.h) [ -e "/usr/include/$1" ] || compgen -G "/usr/include/*/$1" > /dev/null ;;
        *) PATH=$PATH:/usr/sbin:/sbin command -v "$1" > /dev/null ;;
    esac
}

packages=()
for pair in "${wanted[@]}"; do
    present "${pair%%:*}" || packages+=("${pair#*:}")
done

if [ ${#packages[@]} -gt 0 ]; then
    install=(apt-get install -y --no-install-recommends "${packages[@]}")
    as_root=()
    [ "$(id -u)" = 0 ] || as_root=(sudo -n)
    if ! is_debian; then
        say "missing programs; the packages of this system have similar names:"
        say "    ${packages[*]}"
        [[ ${1:-all} = build ]] || say "the lab builds its kernels from Debian's packages: it needs a Debian system"
        exit 1
    fi
    if ! "${as_root[@]}" true 2> /dev/null; then
        say "missing: ${packages[*]}"
        say "    sudo ${install[*]}"
        exit 1
    fi
    say "setup: installing ${packages[*]}"
    # wait for another apt
    apt_options=(-qq -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3)
    "${as_root[@]}" apt-get "${apt_options[@]}" update >&2
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        "${install[@]}" "${apt_options[@]}" < /dev/null > "$CACHE/setup.log" 2>&1 \
        || { cat "$CACHE/setup.log" >&2; die "apt-get could not install ${packages[*]}"; }
fi

command -v cargo > /dev/null || die "Rust is missing: install rustup (see its web site), then its stable toolchain"
components=()
for pair in rustfmt:rustfmt cargo-clippy:clippy; do
    "${pair%%:*}" --version > /dev/null 2>&1 || components+=("${pair#*:}")
done
if [ ${#components[@]} -gt 0 ] && [ "${1:-all}" = all ]; then
    say "setup: rustup component add ${components[*]}"
    rustup component add "${components[@]}" >&2 || die "make lint needs: rustup component add ${components[*]}"
fi
say "setup: nothing is missing"

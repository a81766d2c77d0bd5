# shellcheck shell=bash disable=SC2034  # the colours are for whoever sources this
# What the scripts of this folder share. Sourced, never run.
#
# MEMOD_BUILD_CACHE holds what is built once per machine and outlives a clone: RocksDB's static
# library, the Python environment of the golden check and, for .ci/run, Cargo's target folder.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export MEMOD_BUILD_CACHE=${MEMOD_BUILD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/memod-build}

# rustup puts Cargo here; a login shell that was open before the installation does not know it yet.
if ! command -v cargo >/dev/null && [ -x "$HOME/.cargo/bin/cargo" ]; then
    PATH=$HOME/.cargo/bin:$PATH
fi

bold='' green='' yellow='' red='' dim='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
    bold=$'\e[1m' green=$'\e[32m' yellow=$'\e[33m' red=$'\e[31m' dim=$'\e[2m' plain=$'\e[0m'
fi

say() { printf '%s==>%s %s\n' "$bold" "$plain" "$*"; }

die() {
    printf '%serror:%s %s\n' "$red" "$plain" "$*" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# Exports what makes Cargo link the RocksDB that was compiled once for this machine, compiling it
# if that has not happened yet. A ROCKSDB_LIB_DIR given by the caller is taken as it is.
use_rocksdb() {
    if [ -z "${ROCKSDB_LIB_DIR:-}" ]; then
        ROCKSDB_LIB_DIR=$(bash "$root/daemon/store/rocksdb-build/build.sh")
    fi
    export ROCKSDB_LIB_DIR ROCKSDB_STATIC=1
}

# Every build names the whole workspace: with `-p`, Cargo would choose other features for the
# shared dependencies and compile them a second time.
build_binaries() { # [--release]
    (cd "$root" && cargo build --workspace --bins --locked "$@")
}

# Builds memod in another way, under another name beside the ordinary programs, which are built after
# it: under the name `memod` it is there for a moment only.
build_variant() { # NAME PROFILE WORD...
    local name=$1 profile=$2 built release=()
    shift 2
    built=$(binaries "$profile")
    [ "$profile" = debug ] || release=(--release)
    build_binaries "${release[@]}" "$@"
    cp "$built/memod" "$built/$name.new"
    build_binaries "${release[@]}"
    mv "$built/$name.new" "$built/$name"
    # A test refuses one that is older than memod.
    touch "$built/$name"
}

build_failpoints() {
    build_variant memod-failpoints debug --features memod/failpoints
}

# The folder of the compiled programs.
binaries() { # debug|release
    local target=${CARGO_TARGET_DIR:-$root/target}
    case $target in
    /*) ;;
    *) target=$root/$target ;;
    esac
    printf '%s/%s\n' "$target" "$1"
}

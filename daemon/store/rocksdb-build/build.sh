#!/usr/bin/env bash
# Compiles RocksDB once per machine and prints the folder that holds librocksdb.a.
#
# RocksDB is some 340 C++ files, twenty to thirty minutes on two cores. Cargo would compile it
# again for every profile and target folder, so the Makefile builds it here once and points
# ROCKSDB_LIB_DIR at the result. Plain `cargo build` still works without this: it only takes longer.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${MEMOD_BUILD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/memod-build}
recipe=$(cat "$here/Cargo.lock" "$here/Cargo.toml" "$here/../../../.cargo/config.toml" \
    <(uname -m; c++ -dumpfullversion -dumpversion) | sha256sum | cut -c1-16)
out=$cache/rocksdb-$recipe
if [ ! -f "$out/librocksdb.a" ]; then
    mkdir -p "$cache"
    exec 9>"$cache/rocksdb.lock"
    flock 9
    if [ ! -f "$out/librocksdb.a" ]; then
        echo "memod: compiling RocksDB once for this machine (20 to 30 minutes on two cores)" >&2
        (cd "$here" && env -u ROCKSDB_LIB_DIR -u ROCKSDB_STATIC \
            CARGO_TARGET_DIR="$cache/rocksdb-target" cargo build --release --locked >&2)
        built=$(find "$cache/rocksdb-target/release/build" -path '*librocksdb-sys*' \
            -name librocksdb.a -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d' ' -f2-)
        mkdir -p "$out.new"
        cp "$built" "$out.new/librocksdb.a"
        mv "$out.new" "$out"
        rm -rf "$cache/rocksdb-target"
    fi
fi
echo "$out"

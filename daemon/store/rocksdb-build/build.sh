#!/usr/bin/env bash
# Compiles RocksDB once per machine and prints the folder that holds librocksdb.a.
#
# RocksDB is some 340 C++ files, twenty to thirty minutes on two cores. Cargo would compile it
# again for every profile and target folder, so the Makefile builds it here once and points
# ROCKSDB_LIB_DIR at the result. Plain `cargo build` still works without this: it only takes longer.
#
# The folder's name is a hash of everything the library depends on, so a change of the version, the
# compiler or the flags makes a new one and never reuses the old.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=${MEMOD_BUILD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/memod-build}
recipe=$(cat "$here/Cargo.lock" "$here/Cargo.toml" "$here/../../../.cargo/config.toml" \
    <(uname -m; c++ -dumpfullversion -dumpversion) | sha256sum | cut -c1-16)
out=$cache/rocksdb-$recipe
target=$cache/rocksdb-target

# Half an hour of silence looks like a hang: one line a minute says how far it is.
progress() {
    # Nothing may outlive this or hold the caller's pipes open: hence the trap.
    trap 'kill "$sleeper" 2>/dev/null; exit' TERM
    while true; do
        sleep 60 >/dev/null 2>&1 &
        sleeper=$!
        wait "$sleeper"
        echo "memod: RocksDB: $(find "$target" -path '*librocksdb-sys*' -name '*.o' | wc -l)" \
            "of about 340 files compiled" >&2
    done
}

compile() {
    echo "memod: compiling RocksDB once for this machine (20 to 30 minutes on two cores)" >&2
    progress >/dev/null &
    local reporter=$!
    trap 'kill '"$reporter"' 2>/dev/null || true' EXIT
    # Flags from the environment would replace those of .cargo/config.toml, and with them the
    # hardware checksum.
    (cd "$here" && env -u ROCKSDB_LIB_DIR -u ROCKSDB_STATIC -u RUSTFLAGS \
        -u CARGO_ENCODED_RUSTFLAGS -u CARGO_BUILD_TARGET CARGO_TARGET_DIR="$target" \
        cargo build --release --locked >&2)
    local built
    built=$(find "$target/release/build" -path '*librocksdb-sys*' -name librocksdb.a \
        -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d' ' -f2-)
    [ -n "$built" ] || { echo "memod: the build left no librocksdb.a" >&2; exit 1; }
    # A rename at the end: whoever finds the folder finds a whole library in it.
    rm -rf "$out.new"
    mkdir -p "$out.new"
    cp "$built" "$out.new/librocksdb.a"
    mv "$out.new" "$out"
    rm -rf "$target"
}

if [ ! -f "$out/librocksdb.a" ]; then
    mkdir -p "$cache"
    exec 9>"$cache/rocksdb.lock"
    flock 9
    # Another build may have made it while this one waited.
    [ -f "$out/librocksdb.a" ] || compile 9>&-
fi
echo "$out"

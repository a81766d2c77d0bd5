#!/usr/bin/env bash
# Records what real builds ask a memoization cache for: a line for each run of rustc.
#
#   record.sh REPOSITORY TRACE [WORK]
#
# builds the protocol, the client library and the command line of a clone of REPOSITORY as a busy
# project's build machine would: each commit in turn in four ways (check, build, tests, release),
# small edits on top of it and their undoing, and now and then an old commit again. Every build
# begins with an empty target folder. This script also stands before rustc (RUSTC_WRAPPER) and
# keeps the outputs of each run under a key in the folder WORK, so that a run with the same inputs
# costs nothing when it is asked for again. A build that fails is in the trace as far as it went.
#
# The trace is in the order of the requests, one line each:
#
#   KEY MILLISECONDS BYTES CRATE
#
# KEY stands for rustc's arguments, the sources of the crate's package, the outputs of its build
# script and the contents of the crates it is linked with. MILLISECONDS is the processor time (user
# and system) of the run that was made for this key: unlike the elapsed time, it says little of
# what else the machine was doing. BYTES are those of all files that rustc wrote.
set -euo pipefail

digest() { sha256sum | cut -c1-16; }

# The digests of a folder's files, by name.
folder() {
    find "$1" -name target -prune -o -type f -print0 | sort -z | xargs -0 -r sha256sum
}

# What a run of rustc depends on, as text.
inputs() {
    local argument
    printf '%s\n' "$@" | sed "s|$TRACE_WORK|WORK|g"
    case "$CARGO_MANIFEST_DIR" in
        "$TRACE_WORK"/*) folder "$CARGO_MANIFEST_DIR" ;;
        *) echo "$CARGO_PKG_NAME $CARGO_PKG_VERSION" ;;
    esac
    if [[ -d ${OUT_DIR:-} ]]; then folder "$OUT_DIR" | sed "s|$TRACE_WORK|WORK|g"; fi
    for argument in "$@"; do
        case "$argument" in
            *=*.rlib | *=*.rmeta | *=*.so) sha256sum <"${argument#*=}" ;;
        esac
    done
}

# Runs rustc, or gives again what it wrote.
wrap() {
    local name='' extra='' folder='' key kept last=''
    for argument in "$@"; do
        case "$last" in
            --crate-name) name=$argument ;;
            --out-dir) folder=$argument ;;
        esac
        case "$argument" in extra-filename=*) extra=${argument#*=} ;; esac
        last=$argument
    done
    if [[ -z $name || $name == ___ || -z $folder ]]; then exec "$@"; fi
    key=$(inputs "$@" | digest)
    kept=$TRACE_WORK/kept/$key
    if [[ ! -f $kept/cost ]]; then
        local status=0 TIMEFORMAT='%U %S'
        mkdir -p "$kept/files"
        { time "$@" 2>"$kept/stderr" >"$kept/stdout"; } 2>"$kept/time" || status=$?
        if [[ $status != 0 ]]; then
            cat "$kept/stderr" >&2
            rm -r "$kept"
            exit $status
        fi
        find "$folder" -maxdepth 1 -type f -name "*$name$extra*" -exec cp -p {} "$kept/files" \;
        local milliseconds bytes
        milliseconds=$(awk '{ printf "%d", ($1 + $2) * 1000 }' "$kept/time")
        bytes=$(find "$kept/files" -type f -printf '%s\n' | awk '{ n += $1 } END { print n + 0 }')
        echo "$milliseconds $bytes $name" >"$kept/cost"
    else
        cp "$kept"/files/* "$folder"
    fi
    echo "$key $(cat "$kept/cost")" >>"$TRACE_FILE"
    cat "$kept/stdout"
    cat "$kept/stderr" >&2
}

# Builds in one way, from an empty target folder.
build() {
    rm -rf "$CARGO_TARGET_DIR"
    nice -n 5 cargo "$@" --offline --quiet -p memod-protocol -p memod-client -p memo \
        >>"$TRACE_WORK/log" 2>&1 || echo "did not build: $*" >>"$TRACE_WORK/log"
}

every_way() {
    build check
    build build
    build test --no-run --lib --bins
    build build --release
}

# Appends a line to the `$1`-th source file, counted round and round.
edit() {
    local files
    mapfile -t files < <(git ls-files 'protocol/src/*.rs' 'client/*/src/*.rs')
    echo "// Edit $1." >>"${files[$(($1 * 7919 % ${#files[@]}))]}"
}

main() {
    local commits commit number=0 step
    TRACE_FILE=$(realpath "$2") TRACE_WORK=$(realpath -m "${3:-$(mktemp -d)}")
    export TRACE_FILE TRACE_WORK RUSTC_WRAPPER CARGO_INCREMENTAL=0
    export CARGO_TARGET_DIR=$TRACE_WORK/target
    RUSTC_WRAPPER=$(realpath "$0")
    {
        echo "# Runs of rustc in builds of memod, recorded by record.sh, which says how."
        echo "# $(rustc --version), $(nproc) processors."
        echo "# KEY MILLISECONDS BYTES CRATE"
    } >"$TRACE_FILE"
    mkdir -p "$TRACE_WORK"
    git clone --quiet "$1" "$TRACE_WORK/project"
    cd "$TRACE_WORK/project"
    mapfile -t commits < <(git rev-list --reverse HEAD -- protocol client)
    for commit in "${commits[@]}"; do
        git checkout --quiet "$commit"
        every_way
        for step in 1 2 3; do
            edit $((number * 3 + step))
            build check
            build test --no-run --lib --bins
            if [[ $step == 2 ]]; then
                git checkout --quiet .
                build check
            fi
        done
        git checkout --quiet .
        if [[ $((number % 3)) == 2 ]]; then
            git checkout --quiet "${commits[$((number - 2))]}"
            every_way
        fi
        number=$((number + 1))
    done
    grep -v '^#' "$TRACE_FILE" | awk '
        { runs++ }
        !seen[$1]++ { different++ }
        END { print runs " runs of rustc, " different " different" }'
}

if [[ -n ${TRACE_WORK:-} ]]; then wrap "$@"; else main "$@"; fi

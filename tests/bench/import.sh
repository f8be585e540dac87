#!/usr/bin/env bash
# A series of 512 slices of 512 × 512 to one NIfTI file, kerf-job import beside dcm2niix, taking turns. Files lie in
# memory (/dev/shm) where there is room, so that it is not the disk that is measured.
#   KERF_BIN=build/release/bin tests/bench/import.sh [ROUNDS]
set -euo pipefail
bin=${KERF_BIN:?"the folder of kerf-job"} tools=${KERF_TEST_TOOLS:-$KERF_BIN/../tests} rounds=${1:-5}
base=/tmp
[ "$(df --output=avail -k /dev/shm 2>/dev/null | tail -n 1)" -gt 2000000 ] 2>/dev/null && base=/dev/shm
work=$(mktemp -d "$base/kerf-bench.XXXXXX")
trap 'rm -rf "$work"' EXIT
export TMPDIR=$work

# measure FILE COMMAND…: appends "wall user+sys resident-kB"
measure() { local to=$1; shift; /usr/bin/time -a -o "$to" -f '%e %U %S %M' "$@" >/dev/null 2>&1; }
median() { awk -v c="$2" '{ print (c == "cpu" ? $2 + $3 : c == "rss" ? $4 / 1024 : $1) }' "$1" | sort -n | sed -n "$((rounds / 2 + 1))p"; }

printf '%-14s %10s %10s %8s %10s %10s %8s %10s %10s\n' syntax 'kerf s' 'd2n s' ratio 'kerf cpu' 'd2n cpu' ratio 'kerf MB' 'd2n MB'
for syntax in explicit rle jpeg-lossless; do
    mkdir "$work/in" "$work/d2n"
    "$tools/import_make" "bench-$syntax" "$work/in" 2>/dev/null
    for ((i = 0; i < rounds; i++)); do
        measure "$work/ours" "$bin/kerf-job" import --quiet --in "$work/in" --out "$work/out.nii"
        rm -f "$work/out.nii"
        measure "$work/theirs" dcm2niix -b n -z n -f x -o "$work/d2n" "$work/in"
        rm -f "$work"/d2n/*
    done
    a=$(median "$work/ours" wall) b=$(median "$work/theirs" wall)
    c=$(median "$work/ours" cpu) d=$(median "$work/theirs" cpu)
    printf '%-14s %10.2f %10.2f %8.2f %10.2f %10.2f %8.2f %10.0f %10.0f\n' "$syntax" "$a" "$b" \
        "$(awk "BEGIN { print $b / $a }")" "$c" "$d" "$(awk "BEGIN { print $d / $c }")" \
        "$(median "$work/ours" rss)" "$(median "$work/theirs" rss)"
    rm -rf "$work/in" "$work/d2n" "$work/ours" "$work/theirs"
done

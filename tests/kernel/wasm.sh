#!/bin/sh
# The kernels compile for WebAssembly with SIMD128 (the portable path: no OpenMP, no x86). Usage: wasm.sh SOURCE_ROOT
set -eu
root=$1
name=kernels_compile_for_webassembly
clang=$(command -v clang-14 || command -v clang || true)
if [ -z "$clang" ] || [ ! -d /usr/include/wasm32-wasi ]; then
    echo "skip $name: clang or wasi-libc is not installed"
    exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
count=0
for source in "$root"/workers/kernels/*.c; do
    case $source in *_avx*) continue ;; esac
    if ! "$clang" --target=wasm32-wasi -isystem /usr/include/wasm32-wasi -msimd128 -std=c17 -O2 -ffp-contract=off \
        -Wall -Wextra -Werror -Wno-unused-parameter -Wno-unknown-pragmas -I"$root" -c "$source" -o "$work/o" 2>"$work/log"; then
        echo "FAIL $name: $(basename "$source"): $(head -n 3 "$work/log")"
        exit 1
    fi
    count=$((count + 1))
done
[ "$count" -ge 10 ] || { echo "FAIL $name: only $count sources"; exit 1; }
echo "pass $name"

#!/bin/sh
# The kernels compile for ARM (aarch64: the portable path) without a warning, and where an emulator is installed each of
# them gives the same bytes there as here. Usage: arm.sh SOURCE_ROOT KERNEL_EVERYWHERE
set -eu
root=$1
here=$2
name=kernels_compile_for_arm
cc=$(command -v aarch64-linux-gnu-gcc || true)
if [ -z "$cc" ]; then
    echo "skip $name: gcc-aarch64-linux-gnu is not installed"
    exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$root"
find workers/kernels tests/kernel -name '*.c' ! -name '*_avx*' \( -path 'workers/*' -o -name 'everywhere*' \) | sort >"$work/sources"
[ "$(wc -l <"$work/sources")" -ge 50 ] || { echo "FAIL $name: only $(wc -l <"$work/sources") sources"; exit 1; }
# As the release build, but for -O3: the arithmetic must not depend on it.
if ! xargs -P 2 -I{} sh -c '"$0" -std=c17 -D_GNU_SOURCE -O2 -ffp-contract=off -fno-math-errno -fno-trapping-math \
    -fno-strict-aliasing -fopenmp -Wall -Wextra -Werror -I. -c "$1" -o "$2/$(echo "$1" | tr / _).o"' \
    "$cc" {} "$work" <"$work/sources" 2>"$work/log"; then
    echo "FAIL $name: $(grep -m 3 -E 'error|warning' "$work/log")"
    exit 1
fi
echo "pass $name"
name=kernels_give_the_same_bytes_on_arm
qemu=$(command -v qemu-aarch64 || command -v qemu-aarch64-static || true)
if [ -z "$qemu" ]; then
    echo "skip $name: qemu-user is not installed"
    exit 0
fi
"$cc" -static -fopenmp "$work"/*.o -o "$work/everywhere" 2>"$work/log" || { echo "FAIL $name: $(tail -n 3 "$work/log")"; exit 1; }
"$here" --print >"$work/ours"
"$qemu" "$work/everywhere" --print >"$work/theirs"
if [ ! -s "$work/ours" ] || ! cmp -s "$work/ours" "$work/theirs"; then
    echo "FAIL $name:"
    diff "$work/ours" "$work/theirs" | grep '^[<>]'
    exit 1
fi
echo "pass $name"

#!/bin/sh
# workers/kernels may import nothing but plain memory functions, OpenMP, sched_yield for a thread that waits for another,
# getenv for KERF_CPU, and of libm only what is exact everywhere. Usage: imports.sh LIBRARY
set -eu
library=$1
allowed='^(memcpy|memmove|memset|memcmp|strcmp|getenv|sched_yield|sqrt|sqrtf|fabs|floor|ceil|trunc|rint|GOMP_[a-z_]*|omp_get_[a-z_]*'
allowed="$allowed"'|__memcpy_chk|__memset_chk|__memmove_chk|__stack_chk_fail|_GLOBAL_OFFSET_TABLE_'
allowed="$allowed"'|__cpu_model|__cpu_features2|__cpu_indicator_init|__asan_[a-z0-9_]*|__ubsan_[a-z0-9_]*|__tsan_[a-z0-9_]*|__gcov_[a-z0-9_]*)$'
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
nm --undefined-only --format=posix "$library" | awk '$2 == "U" || $2 == "w" {print $1}' | sort -u >"$work/wanted"
nm --defined-only --format=posix "$library" | awk 'NF >= 2 {print $1}' | sort -u >"$work/had"
comm -23 "$work/wanted" "$work/had" | grep -Ev "$allowed" >"$work/bad" || true
if [ ! -s "$work/wanted" ]; then
    echo "FAIL kernels_import_no_libm: nm saw no imports at all"
    exit 1
fi
if [ -s "$work/bad" ]; then
    echo "FAIL kernels_import_no_libm: $(tr '\n' ' ' <"$work/bad")"
    exit 1
fi
echo "pass kernels_import_no_libm"

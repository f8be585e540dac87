#!/bin/sh
# The bitwise jobs on the real head CT, which is larger than what job_everywhere has: the same bytes for 1, 2, 3 and 7
# threads, for every instruction set, and with glibc's own choice of code turned down. Usage: job_bytes.sh KERF_JOB
set -eu
job=$1
name=jobs_give_the_same_bytes
if [ -z "${KERF_TEST_DATA:-}" ]; then
    echo "skip $name: KERF_TEST_DATA is not set"
    exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$job" import --in "$KERF_TEST_DATA/head_ct/dicom" --out "$work/ct.nii" --quiet

# run THREADS LEVEL TUNABLES: one line of sums
run() {
    out="$work/run"
    rm -rf "$out"
    mkdir "$out"
    (
        export KERF_CPU="$2" GLIBC_TUNABLES="$3"
        "$job" segment.bone --image "$work/ct.nii" --out "$out/seg.nii.gz" --threads "$1" --quiet
        "$job" segment.head --image "$work/ct.nii" --out "$out/head.nii.gz" --threads "$1" --quiet
        "$job" mesh --labels "$out/seg.nii.gz" --image "$work/ct.nii" --table "$out/seg.json" --out "$out" --threads "$1" --quiet
        "$job" mesh --labels "$out/head.nii.gz" --shared true --format ply --out "$out" --threads "$1" --quiet
        "$job" view --image "$work/ct.nii" --out "$out/ct.kvv" --threads "$1" --quiet
    )
    (cd "$out" && sha256sum -- * | sha256sum)
}
files_wanted=22
first=$(run 1 none "")
if [ "$(ls "$work/run" | wc -l)" -ne "$files_wanted" ]; then
    echo "FAIL $name: expected $files_wanted files"
    exit 1
fi
while read -r threads level tunables; do
    if [ "$(run "$threads" "$level" "$tunables")" != "$first" ]; then
        echo "FAIL $name: threads=$threads KERF_CPU=$level $tunables"
        exit 1
    fi
done <<LIST
2 none glibc.cpu.hwcaps=-AVX2,-FMA
3 avx2
7 avx512
LIST
echo "pass $name"

#!/usr/bin/env bash
# Memory at 512³, on two threads: the most bytes that each kernel has in use with its input and output, and the most
# that each job has resident. Beside it the longest time that either went without asking whether to go on, and for a job
# in which stage.
#   tests/bench/memory.sh [NAME…]: some of the kernels, `jobs`, or `big`: volumes past 2^31 voxels. Needs build/release.
# Input is what the caller hands in: seeds, markers and terminals too; of masks one bit per voxel, but a byte where
# floats come out of it. Kernels that work in place have no output of their own.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
bin=build/release/bin data=${KERF_BENCH_DATA:-build/release/bench} wanted=" $* "
volume=$data/head512.nii

# name | what to ask for | program | edge of a cube (0: whole) | most, in multiples of the input (0: bytes per voxel
# are named)
rows='
threshold|threshold|bench_image|0|3
otsu|otsu|bench_image|0|3
otsu-local|otsu-local|bench_image|0|3
components|components|bench_image|0|3
fill-holes|fill|bench_image|0|3
closing-r2|closing|bench_image|0|3
closing-r8|closing8|bench_image|0|3
median|median|bench_image|0|3
resample-linear|linear|bench_image|0|3
resample-nearest|nearest|bench_image|0|3
resample-cubic|cubic|bench_image|0|3
isosurface|surface|bench_image|0|3
surface-labels|surface-labels|bench_image|0|0
distance|distance|bench_image|0|6
distance-band|distance-band|bench_image|0|6
gaussian|gaussian|bench_image|0|6
gradient|gradient|bench_image|0|6
diffusion|diffusion|bench_image|0|6
bias|bias|bench_image|0|6
fast-marching|march|bench_regions|0|6
watershed|watershed|bench_regions|0|3
grow-from-seeds-6|grow6|bench_regions|0|3
grow-from-seeds-26|grow26|bench_regions|0|3
graph-cut|cut|bench_regions|128|0
random-walker|walk|bench_regions|128|0
'

cmake --build build/release --target bench_image bench_regions bench_phantom import_make bench_job >&2
mkdir -p "$data"
for size in 256 512; do
    [ -s "$data/head$size.labels.nii" ] || "$bin/bench_phantom" $size "$data/head$size.nii"
done
failed=0

kernels() {
    local name ask program edge most line ms bytes input silence
    printf '%-20s %9s %9s %8s %6s %-7s %10s %10s\n' kernel 'input MB' 'peak MB' ratio bound '' ms 'silent ms'
    while IFS='|' read -r name ask program edge most; do
        [ -n "$name" ] || continue
        [ "$wanted" = "  " ] || [[ $wanted == *" $name "* ]] || continue
        line=$("$bin/$program" "$volume" "$ask" 2 1 "$edge" 2>/dev/null) || {
            echo "$name failed"
            failed=1
            continue
        }
        read -r ms bytes input silence _ <<<"$line"
        case $ask in distance*) input=$((input * 8)) ;; esac
        line=$(awk -v name="$name" -v ms="$ms" -v b="$bytes" -v i="$input" -v s="$silence" -v most="$most" -v edge="$edge" 'BEGIN {
            bound = most ? most : "-"
            met = most ? (b / i <= most ? "ok" : "missed") : sprintf("%.1f B/vx", b / (edge ? edge : 512) ^ 3)
            printf "%-20s %9.1f %9.1f %8.2f %6s %-7s %10.0f %10.1f\n", name, i / 1e6, b / 1e6, b / i, bound, met, ms, s }')
        echo "$line"
        [[ $line != *missed* ]] || failed=1
    done <<<"$rows"
}

# job NAME ARGUMENTS…: one line; a job that fails or needs longer than ten minutes says so, and so does the exit status
# (but for segment.leg, which finds no leg in a head).
job() {
    local name=$1 line silent note=''
    shift
    /usr/bin/time -q -o "$work/used" -f '%M %e' timeout 600 "$bin/bench_job" "$@" --threads 2 --quiet \
        >/dev/null 2>"$work/log" || note="$([ $? = 124 ] && echo stopped || grep -v '^silent ' "$work/log" | tail -n 1 | cut -c 1-60)"
    [ -z "$note" ] || [ "$1" = segment.leg ] || failed=1
    line=$(tail -n 1 "$work/used")
    silent=$(sed -n 's/^silent \([0-9]*\) ms \(.*\)$/\1 \2/p' "$work/log")
    printf '%-24s %10.0f %8.1f %9s %s\n' "$name" "$(awk '{ print $1 / 1000 }' <<<"$line")" "${line#* }" "${silent%% *}" \
        "${note:-${silent#* }}"
}

jobs() {
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    printf '\n%-24s %10s %8s %9s\n' 'job' 'peak MB' s 'silent ms'
    mkdir "$work/dicom" "$work/mesh"
    build/release/tests/import_make bench-explicit "$work/dicom" 2>/dev/null
    job import import --in "$work/dicom" --out "$work/ct.nii"
    rm -rf "$work/dicom" "$work/ct.nii"
    job view view --image "$volume" --out "$work/ct.kvv"
    job segment.bone segment.bone --image "$volume" --out "$work/bone.nii"
    job segment.head segment.head --image "$volume" --out "$work/head.nii"
    job segment.spine segment.spine --image "$volume" --out "$work/spine.nii"
    job segment.leg segment.leg --image "$volume" --out "$work/leg.nii"
    job 'mesh, labels' mesh --labels "$work/bone.nii" --image "$volume" --out "$work/mesh"
    job 'mesh, 8 labels' mesh --labels "$data/head512.labels.nii" --out "$work/mesh"
    job 'mesh, grey value' mesh --image "$volume" --iso 300 --out "$work/iso.stl"
    job repair repair --mesh "$work/iso.stl" --out "$work/repaired.stl"
    job compare compare --a "$work/bone.nii" --b "$work/bone.nii"
    job 'compare, 8 labels' compare --a "$data/head512.labels.nii" --b "$data/head512.labels.nii"
    job compare.mesh compare.mesh --a "$work/iso.stl" --b "$work/repaired.stl"
    job register.surfaces register.surfaces --fixed "$work/iso.stl" --moving "$work/repaired.stl" --out "$work/s.json"
    local pair=(--fixed "$volume" --moving "$data/head256.nii")
    job 'register, rigid' register "${pair[@]}" --model rigid --out "$work/r.json"
    job 'register, deformable' register "${pair[@]}" --model deformable --out "$work/d.json"
}

# Only when asked for: needs 5.5 GB.
big() {
    printf '\n'
    cmake --build build/release --target bench_big >&2
    "$bin/bench_big" || failed=1
}

kernels
[[ $wanted != *" big "* ]] || big
[ "$wanted" != "  " ] && [[ $wanted != *" jobs "* ]] || jobs
exit $failed

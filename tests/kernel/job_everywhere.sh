#!/bin/sh
# Every bitwise kind of job on small phantoms: the same files for 1, 2, 3 and 7 threads and with every instruction set, and
# with glibc's own choice of code turned down. A kind that its --help calls bitwise and that is not run here is a failure.
# Usage: job_everywhere.sh KERF_JOB KERF [all]
set -eu
job=$1
kerf=$2
# shellcheck source=tests/kernel/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$work"
OMP_WAIT_POLICY=passive # more threads than cores must not spin
export OMP_WAIT_POLICY

phantom() {
    name=$1
    shift
    "$kerf" phantom "$@" --out "$name.dicom" --truth "$name" >log 2>&1
    "$job" import --in "$name.dicom" --out "$name.nii" --quiet
}
phantom head head --seed 3 --size 90x98x95 --spacing 2.4x2.4x2.5
phantom leg leg --seed 31 --spacing 2x2x4
phantom spine spine --seed 4 --spacing 2.5x2.5x2.5
phantom mr spine-mr --seed 4 --spacing 2.5x2.5x2.5
"$job" mesh --image head.nii --iso 300 --out skull.stl --quiet
"$job" mesh --image head.nii --iso 340 --smooth 0 --out other.ply --quiet
"$job" mesh --image leg.nii --iso 400 --smooth 0 --cap false --out small.ply --quiet
"$job" segment.bone --image spine.nii --out bone.nii.gz --quiet
"$job" segment.bone --image spine.nii --threshold_hu 260 --out bone2.nii.gz --quiet
awk -F, 'NR > 1 { print $5 "," $6 "," $7 }' mr/pairs.csv >ct.csv
awk -F, 'NR > 1 { print $2 "," $3 "," $4 }' mr/pairs.csv >mr.csv
{ sed -n 1,6p ct.csv; } >few.csv
{ sed -n 1,6p mr.csv; } >few_mr.csv

# run NAME THREADS: what the job writes, into `out`. What follows a + in a name tells the ways of one kind apart.
run() {
    set -- "$1" --threads "$2" --quiet
    name=$1
    shift
    case $name in
        import) "$job" import --in spine.dicom --out out/v.nii.gz "$@" ;;
        view) "$job" view --image head.nii --out out/v.kvv "$@" ;;
        view+labels) "$job" view --image spine/labels.nii.gz --out out/v.kvv "$@" ;;
        segment.bone) "$job" segment.bone --image head.nii --out out/s.nii.gz "$@" ;;
        segment.head) "$job" segment.head --image head.nii --out out/s.nii.gz "$@" ;;
        segment.spine) "$job" segment.spine --image spine.nii --out out/s.nii.gz "$@" ;;
        segment.spine+mr) "$job" segment.spine --image mr.nii --modality mr --out out/s.nii.gz "$@" ;;
        segment.leg) "$job" segment.leg --image leg.nii --out out/s.nii.gz "$@" ;;
        mesh) "$job" mesh --labels spine/labels.nii.gz --image spine.nii --out out "$@" ;;
        mesh+shared) "$job" mesh --labels spine/labels.nii.gz --shared true --out out "$@" ;;
        mesh+iso) "$job" mesh --image head.nii --iso 300 --cap false --out out "$@" ;;
        register) "$job" register --fixed spine.nii --moving mr.nii --out out/t.json --warped out/w.nii.gz "$@" ;;
        register+affine) "$job" register --fixed spine.nii --moving mr.nii --model affine --out out/t.json "$@" ;;
        register+msd) "$job" register --fixed spine.nii --moving spine.nii --metric msd --out out/t.json "$@" ;;
        register+deformable)
            "$job" register --fixed spine.nii --moving mr.nii --model deformable --grid_mm 12 --points ct.csv \
                --points-out out/q.csv --points-back mr.csv --points-back-out out/p.csv --displacement out/d.nii.gz \
                --inverse out/e.nii.gz --warped out/w.nii.gz --out out/t.json "$@" ;;
        register+rigid_labels)
            "$job" register --fixed spine.nii --moving mr.nii --model deformable --grid_mm 12 --both_ways false \
                --rigid-labels bone.nii.gz --displacement out/d.nii.gz --out out/t.json "$@" ;;
        register.points) "$job" register.points --fixed few.csv --moving few_mr.csv --out out/t.json "$@" ;;
        register.surfaces)
            "$job" register.surfaces --fixed skull.stl --moving other.ply --out out/t.json --moved out/m.stl "$@" ;;
        compare) "$job" compare --a bone.nii.gz --b bone2.nii.gz --out out/c.json "$@" >log ;;
        compare.mesh) "$job" compare.mesh --a skull.stl --b other.ply --spacing_mm 4 --tolerance_mm 0.5 --out out/c.json "$@" >log ;;
        repair) "$job" repair --mesh small.ply --out out/r.stl --certificate out/r.json "$@" ;;
        *) return 1 ;;
    esac
}

# sum NAME THREADS LEVEL [TUNABLES]: one line for all files of a run, or a word that it failed and why.
sum() {
    rm -rf out
    mkdir out
    if (KERF_CPU=$3 && GLIBC_TUNABLES=${4:-} && export KERF_CPU GLIBC_TUNABLES && run "$1" "$2") 2>why; then
        (cd out && sha256sum -- *) | sha256sum
    else
        echo "failed: $(cat why)"
    fi
}

# Beside one thread without vectors, every number of threads and every instruction set once; `all` crosses them, which
# takes three times as long. kernel_everywhere crosses them for every kernel.
ways='2 none glibc.cpu.hwcaps=-AVX2,-FMA:3 avx2:7 avx512'
[ "${3:-}" != all ] || ways="$ways:2 none:3 none:7 none:1 avx2:2 avx2:7 avx2:1 avx512:2 avx512:3 avx512"
names='import view view+labels segment.bone segment.head segment.spine segment.spine+mr segment.leg mesh mesh+shared mesh+iso
register register+affine register+msd register+deformable register+rigid_labels register.points register.surfaces compare
compare.mesh repair'
for name in $names; do
    first=$(sum "$name" 1 none)
    bad=
    case $first in failed*) bad=$first ;; esac
    [ -n "$bad" ] || [ -n "$(ls out)" ] || bad='it wrote nothing'
    IFS=:
    for way in $ways; do
        unset IFS
        [ -z "$bad" ] || break
        # shellcheck disable=SC2086
        now=$(sum "$name" $way)
        [ "$now" = "$first" ] || bad="other bytes with $way: $now"
    done
    if [ -n "$bad" ]; then
        echo "FAIL the_same_files_everywhere_from_$name: $bad"
        failed=1
    else
        echo "pass the_same_files_everywhere_from_$name"
    fi
done

for kind in $("$job" --help | sed -n '/^Kinds:/,$s/^  \([a-z.]*\) .*/\1/p'); do
    "$job" "$kind" --help >log
    head -n 1 log | grep -q ', bitwise)' || continue
    case " $(echo $names) " in
        *" $kind "*) ;;
        *)
            echo "FAIL every_bitwise_kind_is_run: $kind is not"
            failed=1 ;;
    esac
done
[ "$failed" = 1 ] || echo "pass every_bitwise_kind_is_run"
exit $failed

#!/bin/sh
# segment.spine names no level where ribs and sacrum are four or six vertebrae apart or L5 is half a part of it, in a
# whole field and in one that ends in the sacrum's wings. Usage: spine_levels_job.sh KERF_JOB KERF
set -eu
job=$1
kerf=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Without a sign the same grid names levels, and so does a field of 190 × 190 × 200 mm that ends in the sacrum's wings.
for sign in '1 ' '1 --lumbar-rib' '1 --eleven-ribs' '1 --sacralised' \
    '201 --size 146x146x154' '201 --size 146x146x154 --eleven-ribs' '201 --size 146x146x154 --sacralised'; do
    rm -rf "$work/sign"
    # shellcheck disable=SC2086
    "$kerf" phantom spine --spacing 1.3x1.3x1.3 --seed $sign --out "$work/sign" >"$work/log"
    "$job" import --in "$work/sign" --out "$work/sign.nii" --quiet
    "$job" segment.spine --image "$work/sign.nii" --out "$work/sign_seg.nii.gz" --quiet
    case $sign in *-rib* | *-sacralised*) levels=unconfirmed ;; *) levels=named ;; esac
    grep -q "\"levels\": *\"$levels\"" "$work/sign_seg.json" || {
        echo "FAIL a_transitional_sign_names_no_level: $sign"
        exit 1
    }
done
echo "pass a_transitional_sign_names_no_level"

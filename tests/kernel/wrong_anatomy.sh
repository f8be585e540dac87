#!/bin/sh
# Each job that tells anatomy apart, given another part of the body or an MR: it refuses, by one of the names that are
# right for it and in a whole clause, and writes no labels.
# Usage: wrong_anatomy.sh KERF_JOB KERF
set -eu
job=$1
kerf=$2
# shellcheck source=tests/kernel/lib.sh
. "$(dirname "$0")/lib.sh"

"$kerf" phantom head --seed 141 --spacing 2.4x2.4x2.5 --size 90x98x95 --out "$work/head" >"$work/log"
"$kerf" phantom leg --seed 142 --spacing 2x2x3 --out "$work/leg" >"$work/log"
"$kerf" phantom spine --seed 143 --spacing 3x3x3 --out "$work/spine" >"$work/log"
"$kerf" phantom spine-mr --seed 144 --spacing 3x3x3 --out "$work/mr" >"$work/log"

while read -r kind image codes; do
    rm -f "$work"/seg.*
    if "$job" "$kind" --image "$work/$image" --out "$work/seg.nii.gz" --quiet 2>"$work/log"; then
        echo "FAIL ${kind}_refuses_$image: it was accepted"
        failed=1
    elif ! grep -qE "\[($codes)\]" "$work/log" || ! grep -qE '([a-z]+ ){5}' "$work/log" || [ -e "$work/seg.nii.gz" ]; then
        echo "FAIL ${kind}_refuses_$image: $(tail -c 300 "$work/log")"
        failed=1
    else
        echo "pass ${kind}_refuses_$image"
    fi
done <<'MATRIX'
segment.head leg no_head
segment.head spine no_head
segment.head mr not_ct
segment.leg head no_leg|leg_joined
segment.leg spine no_leg
segment.leg mr not_ct
segment.spine leg no_spine|no_discs
segment.bone mr not_ct
MATRIX
exit $failed

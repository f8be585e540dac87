#!/bin/sh
# segment.spine on a phantom of 1 mm: eight vertebrae with their true levels, discs between them, what lies in the canal
# and leaves it, each near its true volume, and a confidence from evidence; an MR without a header is refused.
# Usage: spine_job.sh KERF_JOB KERF
set -eu
job=$1
kerf=$2
name=spine_is_told_apart
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$kerf" phantom spine --seed 1 --spacing 1x1x1 --out "$work/whole" --truth "$work/truth" >"$work/log"
"$job" import --in "$work/whole" --out "$work/whole.nii" --quiet

"$job" segment.spine --image "$work/whole.nii" --out "$work/seg.nii.gz" --quiet
python3 - "$work/seg.json" "$work/truth/labels.json" <<'CHECK' || { echo "FAIL $name"; exit 1; }
import json, sys
table, truth = json.load(open(sys.argv[1])), {t["label"]: t["volume_ml"] for t in json.load(open(sys.argv[2]))}
found = {s["label"]: s for s in table["segments"]}
assert table["levels"] == "named", "levels are not named"
for n, level in enumerate(["T10", "T11", "T12", "L1", "L2", "L3", "L4", "L5"]):
    bone, disc = found[17 + n], found[67 + n]
    assert bone["level"] == level, (bone["name"], level)
    assert abs(bone["volume_ml"] / truth[90 + n] - 1) < 0.2, (level, bone["volume_ml"], truth[90 + n])
    assert 0.4 < disc["volume_ml"] / truth[100 + n] < 1.4, (level, disc["volume_ml"], truth[100 + n])
    assert bone["confidence"] > 0.5, (level, bone["confidence"])
assert len({s["confidence"] for s in table["segments"]}) > 4, "the confidence follows no evidence"
assert abs(found[100]["volume_ml"] / truth[98] - 1) < 0.2, "sacrum"
for ours, theirs in [(102, 112), (103, 111), (104, 113), (105, 114)]:  # sac, cord, roots, ligament
    part = found[ours]
    assert abs(part["volume_ml"] / truth[theirs] - 1) < 0.35, (part["name"], part["volume_ml"], truth[theirs])
    assert part["state"] == "needs review" and part["confidence"] > 0.4, (part["name"], part["confidence"])
CHECK
"$kerf" phantom spine-mr --seed 1 --spacing 1.5x1.5x3 --out "$work/mr" >"$work/log"
"$job" import --in "$work/mr" --out "$work/mr.nii" --quiet
if "$job" segment.spine --image "$work/mr.nii" --out "$work/mr_seg.nii.gz" --quiet 2>"$work/log" ||
    ! grep -q not_hu "$work/log"; then
    echo "FAIL an_mr_without_a_header_is_refused"
    exit 1
fi
echo "pass $name"

name=implants_are_no_bone
"$kerf" phantom spine --seed 1 --spacing 1.3x1.3x1.3 --metal --out "$work/screws" --truth "$work/screws_truth" >"$work/log"
"$job" import --in "$work/screws" --out "$work/screws.nii" --quiet
for way in "1 none" "7 avx512"; do
    set -- $way
    KERF_CPU=$2 "$job" segment.spine --image "$work/screws.nii" --out "$work/screws_$1.nii.gz" --threads "$1" --quiet
    cmp -s "$work/screws_1.nii.gz" "$work/screws_$1.nii.gz" || { echo "FAIL $name: other bytes with $way"; exit 1; }
done
python3 - "$work/screws_1.json" "$work/screws_truth/labels.json" <<'CHECK' || { echo "FAIL $name"; exit 1; }
import json, sys
table, truth = json.load(open(sys.argv[1])), {t["label"]: t["volume_ml"] for t in json.load(open(sys.argv[2]))}
found = {s["label"]: s for s in table["segments"]}
assert table["levels"] == "named", "levels are not named"
assert abs(found[106]["volume_ml"] / truth[63] - 1) < 0.15, ("implants", found[106]["volume_ml"], truth[63])
assert found[106]["confidence"] > 0.8, ("implants, which need not lie far from themselves", found[106]["confidence"])
for level in [22, 23, 24]:
    bone = found[level]
    assert abs(bone["volume_ml"] / truth[level + 73] - 1) < 0.25, (bone["name"], bone["volume_ml"], truth[level + 73])
    assert bone["state"] == "needs review", bone["name"]
CHECK
echo "pass $name"

name=a_spine_in_mr_is_told_apart
"$kerf" phantom spine-mr --seed 1 --spacing 1x1x1.5 --pose 8x-6x-12 --out "$work/fine" --truth "$work/mr_truth" >"$work/log"
# Its folder says that it is an MR.
"$job" segment.spine --image "$work/fine" --out "$work/mr_seg.nii.gz" --threads 2 --quiet
python3 - "$work/mr_seg.json" "$work/mr_truth/labels.json" "$work/mr_seg.nii.gz" "$work/mr_truth/labels.nii.gz" <<'CHECK' || { echo "FAIL $name"; exit 1; }
import collections, gzip, json, struct, sys

def voxels(path):
    raw = gzip.open(path).read()
    two = struct.unpack_from("<i", raw)[0] == 540
    return raw[struct.unpack_from("<q", raw, 168)[0] if two else int(struct.unpack_from("<f", raw, 108)[0]):]

table, truth = json.load(open(sys.argv[1])), {t["label"]: t["volume_ml"] for t in json.load(open(sys.argv[2]))}
found = {s["label"]: s for s in table["segments"]}
assert table["levels"] == "unconfirmed", "an MR alone names no level"
for n in range(8):
    bone, disc = found[25 + n], found[75 + n]
    assert bone["level"] is None and bone["state"] == "needs review", bone["name"]
    assert abs(bone["volume_ml"] / truth[90 + n] - 1) < 0.25, (n, bone["volume_ml"], truth[90 + n])
    assert 0.7 < disc["volume_ml"] / truth[100 + n] < 1.5, (n, disc["volume_ml"], truth[100 + n])
both = collections.Counter(zip(voxels(sys.argv[3]), voxels(sys.argv[4])))
ours, theirs = collections.Counter(), collections.Counter()
for (a, b), count in both.items():
    ours[a] += count
    theirs[b] += count
for n in range(8):  # Dice: in a patient who lies turned, planes of discs that lean both ways
    for a, b, least in [(25 + n, 90 + n, 0.88), (75 + n, 100 + n, 0.8)]:
        dice = 2 * both[a, b] / (ours[a] + theirs[b])
        assert dice >= least, (found[a]["name"], dice)
for ours, theirs in [(102, 112), (103, 111), (104, 113), (105, 114)]:  # sac, cord, roots, ligament
    assert abs(found[ours]["volume_ml"] / truth[theirs] - 1) < 0.5, (found[ours]["name"], found[ours]["volume_ml"])
CHECK
echo "pass $name"

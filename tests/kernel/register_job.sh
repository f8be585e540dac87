#!/bin/sh
# register --model deformable between a CT and an MR of a phantom spine: landmarks both ways, files that say what the
# job itself does with points, no folds, the same bytes anywhere, and an end when it is told to stop.
# Usage: register_job.sh KERF_JOB KERF
set -eu
job=$1
kerf=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
fail() {
    echo "FAIL $1"
    exit 1
}
for kind in spine spine-mr; do
    "$kerf" phantom $kind --seed 4 --spacing 2.5x2.5x2.5 --out $kind --truth $kind.truth >log
    "$job" import --in $kind --out $kind.nii --quiet
done
awk -F, 'NR > 1 { print $5 "," $6 "," $7 }' spine-mr.truth/pairs.csv >ct.csv
awk -F, 'NR > 1 { print $2 "," $3 "," $4 }' spine-mr.truth/pairs.csv >mr.csv

# run THREADS LEVEL [OPTION…]: all outputs into `out`
run() {
    threads=$1
    KERF_CPU=$2
    export KERF_CPU
    shift 2
    rm -rf out
    mkdir out
    "$job" register --fixed spine.nii --moving spine-mr.nii --model deformable --out out/t.json --points ct.csv \
        --points-out out/q.csv --points-back mr.csv --points-back-out out/p.csv --displacement out/d.nii.gz \
        --inverse out/e.nii.gz --warped out/w.nii.gz --threads "$threads" --quiet "$@"
}
run 2 none --report report.json
python3 - <<'CHECK' || fail landmarks_are_carried_both_ways_by_what_the_files_say
import gzip, json, math, struct

def points(name):
    return [[float(x) for x in line.split(",")[:3]] for line in open(name)]

def apply(m, p):
    return [sum(m[r][c] * p[c] for c in range(3)) + m[r][3] for r in range(3)]

def displacement(name):
    raw = gzip.open(name).read()
    dim = struct.unpack_from("<8h", raw, 40)
    assert dim[0] == 5 and dim[4] == 1 and dim[5] == 3 and struct.unpack_from("<h", raw, 68)[0] == 1007, dim
    ras = [struct.unpack_from("<4f", raw, 280 + 16 * r) for r in range(3)]
    n, size = dim[1:4], dim[1] * dim[2] * dim[3]
    v = struct.unpack_from("<%df" % (3 * size), raw, int(struct.unpack_from("<f", raw, 108)[0]))
    step = [math.sqrt(sum(ras[r][c] ** 2 for r in range(3))) for c in range(3)]

    def at(p):
        r = [-p[0] - ras[0][3], -p[1] - ras[1][3], p[2] - ras[2][3]]
        x = [sum(ras[k][c] * r[k] for k in range(3)) / step[c] ** 2 for c in range(3)]
        x = [min(max(x[c], 0), n[c] - 1) for c in range(3)]
        low = [min(int(x[c]), n[c] - 2) for c in range(3)]
        d = [0, 0, 0]
        for corner in range(8):
            o = [corner >> c & 1 for c in range(3)]
            w = math.prod(x[c] - low[c] if o[c] else 1 - x[c] + low[c] for c in range(3))
            i = low[0] + o[0] + n[0] * (low[1] + o[1] + n[1] * (low[2] + o[2]))
            for a in range(3):
                d[a] += w * v[i + a * size]
        return [p[a] + d[a] for a in range(3)]
    return at

t = json.load(open("out/t.json"))
report = json.load(open("report.json"))
ct, mr, q, p = points("ct.csv"), points("mr.csv"), points("out/q.csv"), points("out/p.csv")
forth, back = displacement("out/d.nii.gz"), displacement("out/e.nii.gz")
assert len(q) == len(ct) == len(p) == len(mr) > 50
mean = lambda a, b: sum(map(math.dist, a, b)) / len(a)
assert mean([apply(t["matrix"], x) for x in ct], mr) > 1.2, "the rigid map alone must not do"
assert mean(q, mr) < 0.5 and mean(p, ct) < 0.5, (mean(q, mr), mean(p, ct))
assert max(math.dist(apply(t["matrix"], forth(x)), y) for x, y in zip(ct, q)) < 1e-3
assert max(math.dist(forth(y), apply(t["inverse"], x)) for x, y in zip(mr, p)) < 1e-2
assert mean([back(apply(t["inverse"], x)) for x in mr], p) < 0.1
d = report["deformation"]
assert d == t["deformation"] and not d["folds"] and 0 < d["jacobian_least"] < 1 < d["jacobian_most"] < 3
assert d["inverse_mean_mm"] < 0.2 and d["difference_after"] < d["difference_before"]
assert "matrix · (p + d(p))" in d["convention"] and report["peak_memory_bytes"] > 0
CHECK
echo "pass landmarks_are_carried_both_ways_by_what_the_files_say"

sums() { cat out/* | sha256sum; }
first=$(sums)
for way in "7 avx512"; do
    # shellcheck disable=SC2086
    run $way
    [ "$(sums)" = "$first" ] || fail "a_deformation_has_the_same_bytes_everywhere: $way"
done
echo "pass a_deformation_has_the_same_bytes_everywhere"

# Vertebrae as rigid parts: the displacement within each is a rigid motion, which the fit of the job did not have to be.
python3 - <<'LABELS'
import gzip
raw = bytearray(gzip.open("spine.truth/labels.nii.gz").read())
for i in range(544, len(raw)):
    raw[i] = raw[i] if 90 <= raw[i] <= 97 else 0
open("vertebrae.nii", "wb").write(raw)
LABELS
run 2 none --report report.json --rigid-labels vertebrae.nii --both_ways false
python3 - <<'CHECK' || fail vertebrae_move_as_a_whole
import gzip, json, math, struct
raw, labels = gzip.open("out/d.nii.gz").read(), open("vertebrae.nii", "rb").read()[544:]
dim = struct.unpack_from("<8h", raw, 40)[1:4]
size = dim[0] * dim[1] * dim[2]
d = struct.unpack_from("<%df" % (3 * size), raw, 544)
assert size == len(labels)
report = json.load(open("report.json"))["deformation"]
assert report["jacobian_least"] > 0 and not report["folds"] and len(report["rigid_parts"]) == 8
for part in report["rigid_parts"]:
    assert part["bent_mm"] > 0.1 and part["residual_mm"] < 0.01, part
    # A rigid motion keeps distances: every voxel against six far from each other.
    at = [n for n in range(size) if labels[n] == part["label"]]
    place = lambda n: (2.5 * (n % dim[0]), 2.5 * (n // dim[0] % dim[1]), 2.5 * (n // dim[0] // dim[1]))
    moved = lambda n: tuple(x + d[a * size + n] for a, x in enumerate(place(n)))
    for m in at[:: len(at) // 6]:
        for n in at[::7]:
            assert abs(math.dist(place(m), place(n)) - math.dist(moved(m), moved(n))) < 0.01, part
CHECK
echo "pass vertebrae_move_as_a_whole"

# As the service runs it, and told to stop once the deformation has begun.
mkdir stopped
"$job" --describe >"$work/kinds.json" || fail "kinds_are_described"
python3 - "$work" <<'SPEC'
import hashlib, json, os, sys
at = lambda name: os.path.join(sys.argv[1], name)
one = lambda role, name: {"name": role, "path": at(name), "offset": 0, "length": os.path.getsize(at(name)), "meta": {},
    "sha256": hashlib.sha256(open(at(name), "rb").read()).hexdigest(), "media_type": "application/octet-stream"}
version = next(k["version"] for k in json.load(open(at("kinds.json")))["kinds"] if k["name"] == "register")
spec = {"kind": "register", "version": version, "params": {"model": "deformable", "grid_mm": 3}, "out": at("stopped"),
        "inputs": [one("fixed", "spine.nii"), one("moving", "spine-mr.nii")], "threads": 1, "progress_fd": 7}
json.dump(spec, open(at("spec.json"), "w"))
SPEC
"$job" register --spec spec.json 7>progress 2>why &
pid=$!
while kill -0 $pid 2>/dev/null && ! grep -q deforming progress; do sleep 0.1; done
grep -q deforming progress || fail "a_deformation_stops_when_it_is_told_to: no progress is said: $(cat why)"
kill -TERM $pid
code=0
wait $pid || code=$?
[ $code -ne 0 ] && [ ! -e stopped/result.json ] && grep -q cancel stopped/error.json ||
    fail "a_deformation_stops_when_it_is_told_to: $code"
echo "pass a_deformation_stops_when_it_is_told_to"

code=0
"$job" register --fixed spine.nii --moving spine-mr.nii --model deformable --grid_mm 0.4 --out x.json --quiet 2>why ||
    code=$?
[ $code -eq 1 ] && grep -q '\[not_deformed\]' why || fail "a_grid_out_of_bounds_is_named: $(cat why)"
echo "pass a_grid_out_of_bounds_is_named"

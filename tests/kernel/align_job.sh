#!/bin/sh
# register.points and register.surfaces: a known motion is found by landmarks and by shape, `register` starts from what
# they write, and input that fixes no motion is refused by name. Usage: align_job.sh KERF_JOB KERF
set -u
job=$1
kerf=$2
# shellcheck source=tests/kernel/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$work" || exit 1

"$kerf" phantom head --seed 3 --size 90x98x95 --spacing 2.4x2.4x2.5 --out head --truth truth >log || exit 1
"$job" import --in head --out head.nii --quiet || exit 1
"$job" mesh --image head.nii --iso 300 --out skull.stl --quiet || exit 1
# The motion: 9° about an oblique axis and 12 mm, applied to points and to the surface; the moved surface lacks its top.
cat >move.py <<'MOVE'
import json, math, struct
axis, angle, shift = (2 / 3, -1 / 3, 2 / 3), math.radians(9), (7.5, -6, 7)
c, s, (x, y, z) = math.cos(angle), math.sin(angle), axis
turn = [[c + x * x * (1 - c), x * y * (1 - c) - z * s, x * z * (1 - c) + y * s],
        [y * x * (1 - c) + z * s, c + y * y * (1 - c), y * z * (1 - c) - x * s],
        [z * x * (1 - c) - y * s, z * y * (1 - c) + x * s, c + z * z * (1 - c)]]
move = lambda p: [sum(t * v for t, v in zip(row, p)) + d for row, d in zip(turn, shift)]
json.dump({"matrix": [row + [d] for row, d in zip(turn, shift)] + [[0, 0, 0, 1]]}, open("true.json", "w"))
places = [line.split(",")[1:4] for line in open("truth/landmarks.csv").readlines()[1:13]]
places = [[float(v) for v in p] for p in places]
noise = [0.2, -0.1, 0.15, -0.2, 0.1, -0.15]
with open("fixed.csv", "w") as a, open("moving.csv", "w") as b, open("wrong.csv", "w") as w:
    print("x,y,z", file=a)
    for n, p in enumerate(places):
        q = [v + noise[(n + k) % 6] for k, v in enumerate(move(p))]
        print(*p, sep=", ", file=a)
        print(*q, sep=",", file=b)
        print(*([q[0] + 9, q[1], q[2]] if n == 4 else q), sep=",", file=w)
raw = open("skull.stl", "rb").read()
kept = []
for t in range(struct.unpack_from("<I", raw, 80)[0]):
    v = struct.unpack_from("<12fH", raw, 84 + 50 * t)[3:12]
    if max(v[2::3]) < 45:
        kept.append(struct.pack("<12fH", 0, 0, 0, *[k for n in (0, 3, 6) for k in move(v[n:n + 3])], 0))
assert 0.5 < len(kept) / struct.unpack_from("<I", raw, 80)[0] < 0.9, len(kept)
open("moved.stl", "wb").write(bytes(80) + struct.pack("<I", len(kept)) + b"".join(kept))
MOVE
python3 move.py || exit 1
cat >near.py <<'NEAR'
import json, math, sys
true, found = (json.load(open(f))["matrix"] for f in ("true.json", sys.argv[1]))
at = lambda m, p: [sum(m[r][c] * p[c] for c in range(3)) + m[r][3] for r in range(3)]
worst = max(math.dist(at(true, p), at(found, p)) for p in [(x, y, z) for x in (-60, 60) for y in (-70, 70) for z in (-60, 60)])
t = json.load(open(sys.argv[1]))
back = max(math.dist(at(t["inverse"], at(found, p)), p) for p in [(50, -30, 20), (0, 0, 0)])
print(worst, back)
sys.exit(not (worst < float(sys.argv[2]) and back < 1e-6 and t["frame"] == "LPS mm" and t["from"] == "fixed"))
NEAR
has() { grep -q "\"code\": \"$2\"" "$1"; }

expect landmarks_give_a_transform "$job" register.points --fixed fixed.csv --moving moving.csv --out p.json --report p.report --quiet
expect it_is_the_true_one python3 near.py p.json 0.4
expect a_pair_that_is_set_wrongly_is_said sh -c "'$job' register.points --fixed fixed.csv --moving wrong.csv --out w.json --report w.report --quiet"
expect it_is_named has w.report point_misses
expect no_pair_of_good_ones_is_named sh -c '! grep -q point_misses p.report'
head -n 3 moving.csv >three.csv
expect points_must_come_in_pairs fails points_differ "$job" register.points --fixed fixed.csv --moving three.csv --out x.json --quiet
printf '0,0,0\n1,1,1\n2,2,2\n' >line.csv
expect points_on_a_line_fix_no_motion fails not_registered "$job" register.points --fixed line.csv --moving line.csv --out x.json --quiet
printf '0,0,0\n1,nan,1\n' >nan.csv
expect a_line_that_is_no_point_is_named fails points_csv "$job" register.points --fixed nan.csv --moving nan.csv --out x.json --quiet
grep -q 'line 2' why || { echo "FAIL the_line_is_said"; failed=1; }
# As the service runs it: the points are a part of a file, and what is behind that part is another's.
printf '0,0,0\n1,0,0\n0,1,0\n\0\n\0\n\0\n7,7,7\n' >whole
cat >part.py <<'PART'
import json, os, sys
kinds, length, code = json.load(open("kinds.json"))["kinds"], int(sys.argv[1]), sys.argv[2]
one = lambda role: {"name": role, "path": os.path.abspath("whole"), "offset": 0, "length": length, "meta": {}}
os.makedirs("part", exist_ok=True)
json.dump({"kind": "register.points", "version": next(k["version"] for k in kinds if k["name"] == "register.points"),
           "params": {}, "out": os.path.abspath("part"), "inputs": [one("fixed"), one("moving")], "threads": 1}, open("part.json", "w"))
os.spawnl(os.P_WAIT, sys.argv[3], sys.argv[3], "register.points", "--spec", "part.json")
said = json.load(open("part/result.json" if code == "-" else "part/error.json"))
print(said)
sys.exit(said["report"]["quality"]["points"] != 3 if code == "-" else code not in json.dumps(said))
PART
"$job" --describe >kinds.json || failed=1
expect only_a_part_of_the_points_is_read python3 part.py 18 - "$job"
expect a_line_with_a_nul_is_no_point python3 part.py 24 points_csv "$job"

expect surfaces_give_a_transform "$job" register.surfaces --fixed skull.stl --moving moved.stl --keep 0.7 --out s.json --moved back.ply --report s.report --quiet
expect it_is_the_true_one_too python3 near.py s.json 0.3
expect the_moved_surface_lies_on_the_fixed_one sh -c "'$job' compare.mesh --a back.ply --b skull.stl --out d.json --quiet && python3 -c 'import json; exit(not json.load(open(\"d.json\"))[\"a_to_b\"][\"p95_mm\"] < 0.1)'"
expect surfaces_start_from_landmarks "$job" register.surfaces --fixed skull.stl --moving moved.stl --start p.json --keep 0.7 --out t.json --quiet
expect and_come_to_the_same python3 near.py t.json 0.3
# Of a start, too, only its own part of a file is read.
cat >start.py <<'START'
import json, os, sys
kinds, p = json.load(open("kinds.json"))["kinds"], open("p.json", "rb").read()
open("starts", "wb").write(b'{"matrix": "of another"}' + p + b"{}")
one = lambda role, name, offset, length: {"name": role, "path": os.path.abspath(name), "offset": offset, "length": length, "meta": {}}
os.makedirs("started", exist_ok=True)
json.dump({"kind": "register.surfaces", "version": next(k["version"] for k in kinds if k["name"] == "register.surfaces"),
           "params": {"keep": 0.7}, "out": os.path.abspath("started"), "threads": 1,
           "inputs": [one("fixed", "skull.stl", 0, os.path.getsize("skull.stl")), one("moving", "moved.stl", 0, os.path.getsize("moved.stl")),
                      one("start", "starts", 24, len(p))]}, open("started.json", "w"))
os.spawnl(os.P_WAIT, sys.argv[1], sys.argv[1], "register.surfaces", "--spec", "started.json")
sys.exit(not os.path.exists("started/result.json"))
START
expect a_start_is_a_part_of_a_file python3 start.py "$job"
expect and_the_same_transform_comes_of_it python3 near.py started/transform.json 0.3
python3 -c 'import struct; open("empty.stl", "wb").write(bytes(80) + struct.pack("<I", 0))'
expect an_empty_surface_is_refused sh -c "! '$job' register.surfaces --fixed skull.stl --moving empty.stl --out x.json --quiet 2>why && grep -q '\[[a-z_]*\]' why"
# An image starts from the transform of landmarks: the head in its own place, from a transform that is nearly none.
sed -n 2,13p fixed.csv >same.csv
"$job" register.points --fixed same.csv --moving same.csv --out same.json --quiet || failed=1
expect images_start_from_landmarks "$job" register --fixed head.nii --moving head.nii --start same.json --samples 4000 --out i.json --quiet
exit $failed

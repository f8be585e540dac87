#!/bin/sh
# mesh --shared: the surfaces of all labels of a phantom spine are closed and manifold, and two labels have just the same
# triangles, turned over, for each pair of voxels between them; without --shared they have none in common. Levels of detail
# are as near to the surface as they say.
# Usage: mesh_job.sh KERF_JOB KERF
set -eu
job=$1
kerf=$2
# shellcheck source=tests/kernel/lib.sh
. "$(dirname "$0")/lib.sh"

"$kerf" phantom spine --seed 4 --spacing 3x3x3 --out "$work/ct" --truth "$work/truth" >"$work/log"
mesh() {
    "$job" mesh --labels "$work/truth/labels.nii.gz" --format ply --quiet "$@"
}
cat >"$work/interfaces.py" <<'CHECK'
import collections, gzip, json, re, struct, sys
folder, report, shared = sys.argv[2], json.load(open(sys.argv[3])), sys.argv[4] == "shared"
raw = gzip.open(sys.argv[1]).read()
dim, at = struct.unpack_from("<3h", raw, 42), int(struct.unpack_from("<f", raw, 108)[0])  # NIfTI-1
faces = collections.Counter()
step = 1
for axis in range(3):
    for v in range(dim[0] * dim[1] * dim[2] - step):
        a, b = raw[at + v], raw[at + v + step]
        if a != b and a and b and v // step % dim[axis] + 1 < dim[axis]:
            faces[min(a, b), max(a, b)] += 2
    step *= dim[axis]

def triangles(path):
    data = open(path, "rb").read()
    end = data.index(b"end_header\n") + 11
    n, m = (int(re.search(kind + rb" (\d+)", data).group(1)) for kind in (b"vertex", b"face"))
    place = [data[end + 12 * v:end + 12 * v + 12] for v in range(n)]
    found = set()
    for t in range(m):
        p = [place[c] for c in struct.unpack_from("<3I", data, end + 12 * n + 13 * t + 1)]
        k = p.index(min(p))
        found.add((p[k], p[(k + 1) % 3], p[(k + 2) % 3]))
    return found

mesh = {f["mesh"]["segment"]: triangles(folder + "/" + f["file"]) for f in report["files"]}
assert len(mesh) > 15 and all(f["mesh"]["closed"] and f["mesh"]["manifold"] and f["mesh"]["oriented"] for f in report["files"])
assert sum(count > 20 for count in faces.values()) > 8, faces
for (a, b), count in faces.items():
    both = sum((p, r, q) in mesh[b] for p, q, r in mesh[a])
    assert both == (count if shared else 0), (a, b, count, both)
CHECK
interfaces() {
    python3 "$work/interfaces.py" "$work/truth/labels.nii.gz" "$work/$1" "$work/$1.json" "$1"
}
expect meshes_from_one_net mesh --shared true --out "$work/shared" --report "$work/shared.json"
expect neighbours_share_their_interfaces interfaces shared
expect meshes_of_their_own mesh --out "$work/own" --report "$work/own.json"
expect neighbours_of_their_own_share_nothing interfaces own
# A level of detail says how far it is from the master at most: not less than what is measured, and not much more.
cat >"$work/levels.py" <<'CHECK'
import json, subprocess, sys
job, folder, report = sys.argv[1], sys.argv[2], json.load(open(sys.argv[3]))
levels = [f for f in report["files"] if f["file"].endswith(".glb")]
assert len(levels) > 30 and all(0 < f["mesh"]["hausdorff_most_mm"] < 20 for f in levels), levels
coarser = 0
for level in levels[::5]:  # every level comes up
    master = folder + "/" + level["file"].rsplit(".", 2)[0] + ".ply"
    subprocess.run([job, "compare.mesh", "--a", master, "--b", folder + "/" + level["file"], "--spacing_mm", "1",
                    "--tolerance_mm", "0.1", "--out", folder + "/d.json", "--quiet"], check=True, stdout=subprocess.PIPE)
    found, most = json.load(open(folder + "/d.json")), level["mesh"]["hausdorff_most_mm"]
    assert found["hausdorff_low_mm"] <= most, (level["file"], found["hausdorff_low_mm"], most)
    finest = [f for f in levels if f["file"] == level["file"].replace("lod1", "lod0").replace("lod2", "lod0")][0]
    room = 0 if level is finest else finest["mesh"]["hausdorff_most_mm"]
    assert most <= 1.15 * found["hausdorff_high_mm"] + 2 * room + 0.1, (level["file"], found["hausdorff_high_mm"], most)
    coarser += level is not finest
assert coarser > 5, coarser
CHECK
levels() {
    "$job" mesh --labels "$work/truth/labels.nii.gz" --quiet --out "$work/all" --report "$work/all.json"
    python3 "$work/levels.py" "$job" "$work/all" "$work/all.json"
}
expect levels_of_detail_are_as_near_as_they_say levels
refused() {
    ! "$job" mesh "$@" --shared true --out "$work/x" --quiet 2>"$work/why" && grep -q '\[shared_impossible\]' "$work/why"
}
expect shared_surfaces_are_capped refused --labels "$work/truth/labels.nii.gz" --cap false
expect shared_surfaces_need_labels refused --image "$work/truth/labels.nii.gz" --iso 1
exit $failed

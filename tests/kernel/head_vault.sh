#!/bin/sh
# segment.head on fields that hold the vault of a skull and no jaw, the top of it or a slab, as the head lies or tilted:
# no mandible is made up, nor anything that hangs on one. Beside it fields that hold a part of a jaw, down to two rami:
# it is found. Usage: head_vault.sh KERF_JOB KERF
set -eu
job=$1
kerf=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat >"$work/slab.py" <<'SLAB'
# slab.py FROM TO LOW HIGH: the slices of a NIfTI-1 file between two heights in the scanner, mm
import struct, sys
data = open(sys.argv[1], "rb").read()
get = lambda at: struct.unpack_from("<f", data, at)[0]
dim, offset = struct.unpack_from("<3h", data, 42), int(get(108))
step, start = get(320), get(324)
low, high = (min(dim[2], max(0, round((float(z) - start) / step))) for z in sys.argv[3:5])
head = bytearray(data[:348]) + bytes(4)
struct.pack_into("<h", head, 46, high - low)
struct.pack_into("<f", head, 108, 352)
for row, place in (280, 268), (296, 272), (312, 276):
    moved = get(row + 12) + low * get(row + 8)
    struct.pack_into("<f", head, row + 12, moved)
    struct.pack_into("<f", head, place, moved)
slice_bytes = dim[0] * dim[1] * struct.unpack_from("<h", data, 72)[0] // 8
open(sys.argv[2], "wb").write(head + data[offset + low * slice_bytes : offset + high * slice_bytes])
SLAB

# phantom SEED POSE
phantom() {
    "$kerf" phantom head --seed "$1" --pose "$2" --spacing 1.4x1.4x1.5 --size 160x184x160 --out "$work/dicom" >"$work/log"
    "$job" import --in "$work/dicom" --out "$work/head.nii" --quiet
    rm -r "$work/dicom"
}
# segment LOW HIGH: labels that are found, or the refusal
segment() {
    rm -f "$work"/seg.*
    python3 "$work/slab.py" "$work/head.nii" "$work/part.nii" "$1" "$2"
    if "$job" segment.head --image "$work/part.nii" --out "$work/seg.nii.gz" --report "$work/report" --quiet 2>"$work/log"; then
        python3 -c 'import json, sys
print(*sorted(s["label"] for s in json.load(open(sys.argv[1]))["segments"]))
print(*sorted(w["code"] for w in json.load(open(sys.argv[2])).get("warnings", [])))' "$work/seg.json" "$work/report"
    else
        grep -o '\[[a-z_]*\]' "$work/log"
    fi
}

name=a_vault_has_no_mandible
while read -r seed pose fields; do
    phantom "$seed" "$pose"
    for field in $fields; do
        found=$(segment "${field%:*}" "${field#*:}" | tr '\n' ' ')
        case $found in
        '[no_head] ' | '1 6 no_mandible ' | '1 5 6 no_mandible ') ;; # skull, air and skin
        *) echo "FAIL $name: seed $seed, pose $pose, $field: $found"; exit 1 ;;
        esac
    done
done <<'LIST'
171 0x0x0 45:200 60:200 75:200 90:200 60:100 70:100 50:80 20:50
172 12x4x-6 40:200 55:200 70:200 85:200 50:90 60:110
173 -18x-4x9 45:200 62:200 70:200 78:200 60:100
LIST
echo "pass $name"

name=a_part_of_a_jaw_is_still_found
phantom 174 0x0x0
for field in -140:200 -140:18 -140:-30 -140:-50 -65:200 -43:200 -48:0; do
    found=$(segment "${field%:*}" "${field#*:}" | head -n 1)
    case " $found " in
    *" 2 "*) ;;
    *) echo "FAIL $name: $field: $found"; exit 1 ;;
    esac
done
echo "pass $name"

#!/bin/sh
# What the jobs find on real and on hopeless input: the head CT's bone and its meshes, and failures by name.
# Usage: job_results.sh KERF_JOB
set -u
job=$1
if [ -z "${KERF_TEST_DATA:-}" ]; then
    echo "skip job_results: KERF_TEST_DATA is not set"
    exit 77
fi
# shellcheck source=tests/kernel/lib.sh
. "$(dirname "$0")/lib.sh"

# between FILE KEY LOW HIGH: the number after "KEY": in a JSON file
between() {
    awk -v key="\"$2\":" -v low="$3" -v high="$4" '
        $1 == key { sub(",", "", $2); value = $2; found = 1; exit }
        END { print key, value; exit !(found && value + 0 >= low && value + 0 <= high) }' "$1"
}

# every FILE KEY VALUE COUNT: KEY has VALUE in COUNT places and no other value anywhere
every() {
    [ "$(grep -c "\"$2\": $3" "$1")" -eq "$4" ] && [ "$(grep -c "\"$2\":" "$1")" -eq "$4" ]
}

"$job" import --in "$KERF_TEST_DATA/head_ct/dicom" --out "$work/ct.nii" --quiet || exit 1
expect bone_is_found "$job" segment.bone --image "$work/ct.nii" --out "$work/seg.nii.gz" --report "$work/seg.report" --quiet
# Skull, mandible and four vertebrae hang together at 250 HU; the head is cut above the orbits.
expect bone_has_a_plausible_volume between "$work/seg.report" bone_ml 480 620
expect bone_is_one_piece between "$work/seg.report" pieces 1 1
expect little_bone_lies_outside_of_the_body between "$work/seg.report" outside_body_ml 0 2
expect the_head_is_segmented "$job" segment.head --image "$work/ct.nii" --out "$work/head.nii.gz" --report "$work/head.report" --quiet
expect the_mandible_has_a_plausible_volume between "$work/head.report" mandible_ml 50 80
expect the_mandible_is_one_piece between "$work/head.report" mandible_pieces 1 1
expect the_atlas_is_not_skull every "$work/head.report" spine_apart true 1
expect nine_parts_of_the_head sh -c "[ \$(grep -c '\"volume_ml\"' '$work/head.json') -eq 9 ]"
# A brain in slices of 4 mm, its field from the orbits up.
expect a_head_without_jaws_is_segmented "$job" segment.head --image "$KERF_TEST_DATA/head_ct_mr/ct_example.nii.gz" --out "$work/brain.nii.gz" --report "$work/brain.report" --quiet
expect no_mandible_is_made_up between "$work/brain.report" mandible_ml 0 0
expect meshes_are_made "$job" mesh --labels "$work/seg.nii.gz" --image "$work/ct.nii" --table "$work/seg.json" --out "$work/mesh" --report "$work/mesh.report" --quiet
expect every_mesh_is_closed every "$work/mesh.report" closed true 5
expect every_mesh_is_manifold every "$work/mesh.report" manifold true 5
expect every_mesh_is_oriented every "$work/mesh.report" oriented true 5
expect smoothing_keeps_the_volume between "$work/mesh.report" smoothing_volume_change -0.005 0.005
expect the_surface_lies_at_the_threshold between "$work/mesh.report" level 249 250
expect air_has_no_bone fails no_bone "$job" segment.bone --image "$work/ct.nii" --out "$work/x.nii.gz" --threshold_hu 3900 --seed_hu 4000 --quiet
expect a_broken_volume_is_named fails nifti_header "$job" segment.bone --image "$work/seg.json" --out "$work/x.nii.gz" --quiet
expect a_missing_iso_is_named fails iso_missing "$job" mesh --image "$work/ct.nii" --out "$work/x.stl" --quiet
expect grids_must_agree fails grids_differ "$job" mesh --labels "$work/seg.nii.gz" --image "$KERF_TEST_DATA/spine_ct/thoracic_1mm.nii.gz" --out "$work/x" --quiet
expect a_volume_at_iso_is_meshed "$job" mesh --image "$work/ct.nii" --iso 300 --out "$work/bone.stl" --quiet
expect a_mesh_is_certified "$job" repair --mesh "$work/bone.stl" --out "$work/sound.ply" --certificate "$work/sound.json" --quiet
expect the_certificate_says_sound every "$work/sound.json" sound true 1
expect meshes_are_compared "$job" compare.mesh --a "$work/bone.stl" --b "$work/sound.ply" --out "$work/distance.json" --quiet
expect repair_moves_nothing_far between "$work/distance.json" hd95_mm 0 0.01
expect a_broken_mesh_is_named fails stl_format "$job" repair --mesh "$work/seg.json" --out "$work/x.stl" --quiet
exit $failed

#!/bin/sh
# The command line takes and gives every format: a volume and its label map through NIfTI, NRRD and MetaImage are the same
# voxels in the same place, oblique ones too, and a folder of DICOM stands for its one volume, in and out.
# Usage: job_formats.sh KERF_JOB KERF
set -u
job=$1
kerf=$2
# shellcheck source=tests/kernel/lib.sh
. "$(dirname "$0")/lib.sh"

# below|above FILE MM: the 95 % distance of a comparison
below() { awk -v most="$2" '$1 == "\"hd95_mm\":" { sub(",", "", $2); n++; bad += $2 + 0 > most + 0 } END { exit !n || bad }' "$1"; }
above() { awk -v least="$2" '$1 == "\"hd95_mm\":" { sub(",", "", $2); n++; bad += $2 + 0 < least + 0 } END { exit !n || bad }' "$1"; }

"$kerf" phantom head --out "$work/dicom" --size 64x64x64 --spacing 2.75x2.75x2.75 >"$work/log" 2>&1 || exit 1
for ending in nii nii.gz nrrd mha; do
    expect import_writes_$ending "$job" import --in "$work/dicom" --out "$work/ct.$ending" --quiet
    "$job" view --image "$work/ct.$ending" --out "$work/view.$ending" --quiet || failed=1
    "$job" segment.bone --image "$work/ct.$ending" --out "$work/seg.$ending" --quiet || failed=1
    cp "$work/seg.json" "$work/seg.$ending.json"
    "$job" mesh --labels "$work/seg.$ending" --image "$work/ct.$ending" --out "$work/$ending.stl" --quiet || failed=1
done
expect a_folder_of_dicom_is_an_image "$job" segment.bone --image "$work/dicom" --out "$work/seg.dicom.nii.gz" --report "$work/report" --quiet
expect its_labels_are_the_same cmp "$work/seg.dicom.nii.gz" "$work/seg.nii.gz"
expect what_import_did_is_reported grep -q '"import.volume"' "$work/report"
for ending in nii nrrd mha; do
    expect the_volume_as_${ending}_is_the_same cmp "$work/view.$ending" "$work/view.nii.gz"
    expect the_place_as_${ending}_is_the_same cmp "$work/view.$ending.json" "$work/view.nii.gz.json"
    expect the_labels_as_${ending}_are_the_same sh -c "'$job' compare --a '$work/seg.$ending' --b '$work/seg.nii.gz' | awk 'NR > 1 { n++; bad += \$2 != 1 || \$3 + \$4 > 0 } END { exit !n || bad }'"
    expect the_table_beside_${ending}_is_the_same cmp "$work/seg.$ending.json" "$work/seg.nii.gz.json"
    expect the_surface_from_${ending}_is_the_same cmp "$work/$ending.stl" "$work/nii.gz.stl"
done

# DICOM out (tests/service/dicom_out.mjs reads it with others): a volume, its label map beside its table, a warped image.
expect import_writes_dicom "$job" import --in "$work/dicom" --out "$work/ct/" --quiet
"$job" view --image "$work/ct" --out "$work/view.dicom" --quiet || failed=1
expect the_volume_as_dicom_is_the_same cmp "$work/view.dicom" "$work/view.nii.gz"
expect the_labels_of_dicom_go_to_dicom "$job" segment.bone --image "$work/ct" --out "$work/seg.d/" --quiet
expect a_segmentation_is_there test -s "$work/seg.d/SEG.dcm"
expect the_table_beside_dicom_is_the_same cmp "$work/seg.d.json" "$work/seg.nii.gz.json"
expect it_is_no_volume_and_says_so fails no_volume "$job" import --in "$work/seg.d" --out "$work/x.nii" --quiet
expect a_warped_image_as_dicom "$job" register --fixed "$work/ct" --moving "$work/ct" --samples 1000 --both_ways false --out "$work/x.json" --warped "$work/w.d/" --quiet
"$job" view --image "$work/w.d" --out "$work/view.w" --quiet || failed=1
expect it_is_the_image_on_itself cmp "$work/view.w" "$work/view.nii.gz"
expect a_folder_with_files_is_refused fails folder_not_empty "$job" segment.bone --image "$work/ct" --out "$work/ct/" --quiet
expect a_file_does_not_say_what_it_shows fails modality_unknown "$job" register --fixed "$work/ct" --moving "$work/ct.nii" --out "$work/x.json" --warped "$work/x.d/" --quiet

# The same voxels on turned axes: what is found there lies turned, and the same through every format.
LC_ALL=C sed 's/^TransformMatrix = .*/TransformMatrix = 0.955336489125606 0.29552020666134 0 -0.289629477625516 0.936293363584199 0.198669330795061 0.0587108016938265 -0.18979606097868 0.980066577841242/' "$work/ct.mha" >"$work/turned.mha"
for ending in nii.gz nrrd mha; do
    "$job" segment.bone --image "$work/turned.mha" --out "$work/turned.seg.$ending" --quiet || failed=1
    "$job" mesh --labels "$work/turned.seg.$ending" --out "$work/turned.$ending.stl" --quiet || failed=1
done
for ending in nii.gz nrrd; do
    "$job" compare.mesh --a "$work/turned.$ending.stl" --b "$work/turned.mha.stl" --spacing_mm 5 --out "$work/near.json" --quiet >"$work/log" || failed=1
    "$job" compare.mesh --a "$work/turned.$ending.stl" --b "$work/nii.gz.stl" --spacing_mm 5 --out "$work/far.json" --quiet >"$work/log" || failed=1
    expect turned_axes_survive_$ending below "$work/near.json" 0.001
    expect turned_axes_are_not_lost_in_$ending above "$work/far.json" 5
done
"$job" register --fixed "$work/dicom" --moving "$work/ct.mha" --samples 1000 --both_ways false --out "$work/t.json" --warped "$work/w.nii.gz" --quiet || failed=1
"$job" register --fixed "$work/ct.nii" --moving "$work/dicom" --samples 1000 --both_ways false --out "$work/u.json" --warped "$work/w.nrrd" --quiet || failed=1
for ending in nii.gz nrrd; do "$job" view --image "$work/w.$ending" --out "$work/v.$ending" --quiet || failed=1; done
expect transforms_of_the_same_images_are_the_same cmp "$work/u.json" "$work/t.json"
expect the_warped_image_is_the_same cmp "$work/v.nrrd" "$work/v.nii.gz"
expect another_ending_is_refused fails bad_usage "$job" segment.bone --image "$work/dicom" --out "$work/x.tif" --quiet
# What a person asked is looked at before anything is read.
echo hello >"$work/text.nii"
expect a_name_is_refused_before_the_image_is_read fails bad_usage "$job" segment.head --image "$work/text.nii" --out "$work/x.png" --quiet
expect a_missing_out_is_named_before_the_image_is_read fails bad_usage "$job" segment.spine --image "$work/text.nii" --quiet
expect vectors_lie_under_no_other_name fails bad_usage "$job" register --fixed "$work/ct.nii" --moving "$work/ct.nii" --model deformable --out "$work/t.json" --displacement "$work/d.nrrd" --quiet
expect an_unknown_format_is_refused fails bad_usage "$job" mesh --labels "$work/seg.nii" --out "$work/x" --format obj --quiet
expect threads_are_a_number fails bad_usage "$job" view --image "$work/ct.nii" --out "$work/x.kvv" --threads 2x
says() { "$@" >"$work/why" 2>&1; grep -q "$what" "$work/why" || { cat "$work/why"; return 1; }; }
what='^kerf-job compare: b: '
expect what_cannot_be_read_is_named says "$job" compare --a "$work/seg.nii" --b "$work/text.nii"
what='^kerf-job compare: --a: cannot read'
expect what_is_not_there_is_named says "$job" compare --a "$work/nothing.nii" --b "$work/text.nii"
mkdir "$work/two" && cp -r "$work/dicom" "$work/two/a"
"$kerf" phantom head --seed 5 --out "$work/two/b" --size 40x40x40 --spacing 4x4x4 >"$work/log" 2>&1 || failed=1
expect a_folder_of_two_series_is_refused fails several_series "$job" segment.bone --image "$work/two" --out "$work/x.nrrd" --quiet
mkdir "$work/none" && echo hello >"$work/none/readme.txt"
expect a_folder_without_images_is_refused fails no_volume "$job" segment.bone --image "$work/none" --out "$work/x.nrrd" --quiet
printf 'NRRD0004\ntype: int\ndimension: 3\nsizes: 1 1 1\nendian: little\nencoding: raw\nspacings: 1 1 1\n\n\001\000\000\001' >"$work/big.nrrd"
expect large_integers_are_refused fails integers_range "$job" segment.bone --image "$work/big.nrrd" --out "$work/x.nrrd" --quiet
expect large_labels_are_refused fails labels_range "$job" mesh --labels "$work/big.nrrd" --out "$work/x.stl" --quiet
exit $failed

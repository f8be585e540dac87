#!/usr/bin/env bash
# What DCMTK's own tools and our raw sender push into kerf-intake comes to rest unchanged; who may send and who may not;
# nothing of a patient in the log.
. "$(dirname "${BASH_SOURCE[0]}")/intake_lib.sh"
need echoscu storescu psql zip
start_intake
rows() { sql "SELECT count(*) FROM kerf.instance"; }
all_rows() {
    sql "SELECT b.container, b.location_offset, b.bytes, encode(b.sha256, 'hex'), encode(i.content_sha256, 'hex'), i.sop_uid
         FROM kerf.instance i JOIN kerf.blob b ON b.organisation_id = i.organisation_id AND b.sha256 = i.blob_sha256" | tr '|' ' '
}
verified() { all_rows | "$TOOLS/intake_tool" verify "$KERF_DATA/blobs" | wc -l; }

echoscu -aet TESTER -aec KERF localhost "$port" && pass echo || fail echo "echoscu failed"

# A stock sender.
"$TOOLS/intake_series" "$work/a" 20 64 64 1
send -R +sd localhost "$port" "$work/a" && pass stock_sender || fail stock_sender "storescu failed"
expect stock_sender_rows "$(rows)" 20
expect stock_sender_bytes "$(verified)" 20
expect one_case_study_series "$(sql "SELECT (SELECT count(*) FROM kerf.cases), (SELECT count(*) FROM kerf.study), (SELECT count(*) FROM kerf.series)")" "1|1|1"
expect metadata_is_stored "$(sql "SELECT count(*) FROM kerf.instance WHERE length(dicom_json) > 100 AND length(frame_offsets) = 16")" 20
expect peer_is_remembered "$(sql "SELECT DISTINCT peer_ae, peer_address, source FROM kerf.instance")" "TESTER|127.0.0.1|dimse"

soon eval '[ "$(sql "SELECT count(*) FROM kerf.job WHERE kind = '"'import'"'")" = 1 ]'
expect import_is_queued_at_release "$(sql "SELECT count(*), max(jsonb_array_length(inputs)) FROM kerf.job WHERE kind = 'import'")" "1|20"

# The frame offsets point at the pixels: the first slice's frame read back equals the file's last 8192 bytes.
read -r container offset frame length < <(sql "SELECT b.container, b.location_offset,
    get_byte(frame_offsets, 0) + 256 * get_byte(frame_offsets, 1), get_byte(frame_offsets, 8) + 256 * get_byte(frame_offsets, 9)
    FROM kerf.instance i JOIN kerf.blob b ON b.organisation_id = i.organisation_id AND b.sha256 = i.blob_sha256
    WHERE sop_uid = '2.25.70001.1.1'" | tr '|' ' ')
tail -c +$((offset + frame + 1)) "$KERF_DATA/blobs/$container" | head -c "$length" | cmp -s - <(tail -c 8192 "$work/a/00000.dcm") &&
    pass frame_offsets || fail frame_offsets "the frame is not where it should be"

# The same again: no new row, and no bytes are left behind.
before=$(du -sb "$KERF_DATA/blobs" | cut -f1)
send -R +sd localhost "$port" "$work/a" && pass resend || fail resend "storescu failed"
expect resend_makes_no_rows "$(rows)" 20
after=$(du -sb "$KERF_DATA/blobs" | cut -f1)
[ $((after - before)) -lt 20000 ] && pass resend_leaves_no_bytes || fail resend_leaves_no_bytes "$((after - before)) bytes more"

# The same UIDs with other bytes are kept and flagged, all of them.
"$TOOLS/intake_series" "$work/b" 2 32 32 1
send -R +sd localhost "$port" "$work/b" && pass conflict_is_success || fail conflict_is_success "storescu failed"
expect conflict_is_kept "$(rows)" 22
expect conflict_is_flagged "$(sql "SELECT count(*) FROM kerf.instance WHERE conflict")" 4
expect conflict_bytes "$(verified)" 22

# Raw: every transfer syntax and the odd files, byte for byte.
if [ -n "${KERF_TEST_DATA:-}" ]; then
    for set in syntaxes odd_files; do
        "$TOOLS/intake_tool" send "$KERF_TEST_DATA/dicom/$set" "$port" >"$work/report" || true
        cat "$work/report"
        objects=$(sed -n 's/.*objects=\([0-9]*\).*/\1/p' "$work/report")
        sent=$(sed -n 's/.* sent=\([0-9]*\).*/\1/p' "$work/report")
        # What names no study cannot be kept: refused as PS3.4 has it, and nothing else is.
        nameless=$(grep -c '"code":"no_study_uid"' "$work/intake.log")
        expect "${set}_all_taken" "$sent" "$((objects - nameless))"
    done
    grep '"event":"object.refused"' "$work/intake.log" | grep -v '"status":"a900"' && fail refusals "another status" || pass refusals
    expect raw_bytes "$(verified)" "$(rows)"
    missing=0
    for file in "$KERF_TEST_DATA"/dicom/syntaxes/* "$KERF_TEST_DATA"/dicom/odd_files/*; do
        [ -f "$file" ] && [ "$(head -c 136 "$file" | tail -c 8 | tr '\000\002' '02')" = DICM2000 ] || continue
        "$TOOLS/intake_tool" send "$file" "$port" | grep -q ' sent=1' || continue
        # Data set: behind the 132 bytes, the 12 of the group length and the group itself.
        group=$(od -An -t u4 -j 140 -N 4 "$file" | tr -d ' ')
        ts=$(dcmdump +P 0002,0010 -Un "$file" 2>/dev/null | sed -n 's/.*\[\(.*\)\].*/\1/p' | head -1)
        [ -n "$ts" ] || continue
        hash=$({ printf '%s\0' "$ts"; tail -c +$((144 + group + 1)) "$file"; } | sha256sum | cut -c1-64)
        [ "$(sql "SELECT count(*) FROM kerf.instance WHERE content_sha256 = '\\x$hash'")" = 1 ] || { missing=$((missing + 1)); echo "not found as it was: $(basename "$file")"; }
    done
    expect raw_data_sets_unchanged "$missing" 0
else
    echo "skip raw_data_sets_unchanged: no shared test data (KERF_TEST_DATA)"
fi

# A folder, a zip, and what is none of these.
(cd "$work" && zip -q -r a.zip a && head -c 20000 a.zip >cut.zip && mkdir -p empty nothing && echo text >nothing/readme.txt)
code() { "$TOOLS/intake_tool" send "$1" "$port" | sed 's/.*code=\([a-z_]*\) files.*/\1/'; }
expect zip "$("$TOOLS/intake_tool" send "$work/a.zip" "$port" | cut -d' ' -f1)" "status=ok"
expect truncated_zip "$(code "$work/cut.zip")" truncated_zip
expect empty_study "$(code "$work/empty")" empty_study
expect not_dicom "$(code "$work/nothing")" not_dicom
expect no_such_study "$(code "$work/nowhere")" no_such_study

# Who may send.
rejection() { echoscu -d -aet "$1" -aec "$2" localhost "$port" 2>&1 | grep -o -E "Calling AE Title Not Recognized|Called AE Title Not Recognized" | head -1; }
expect unknown_calling "$(rejection NOBODY KERF)" "Calling AE Title Not Recognized"
expect unknown_called "$(rejection NOBODY OTHER)" "Called AE Title Not Recognized"
expect wrong_address "$(rejection ELSEWHERE KERF)" "Calling AE Title Not Recognized"
expect tls_peer_in_the_clear "$(rejection SECURE KERF)" "Calling AE Title Not Recognized"
expect called_title_of_the_row "$(rejection ECHO_ONLY OTHER)" "Called AE Title Not Recognized"
echoscu -aet ECHO_ONLY -aec KERF localhost "$port" && pass echo_only_may_echo || fail echo_only_may_echo refused
before=$(rows)
"$TOOLS/intake_series" "$work/c" 1 16 16 9
TCP_NODELAY=1 storescu -d -aet ECHO_ONLY -aec KERF localhost "$port" "$work/c/00000.dcm" 2>&1 | grep -q -i "0x0124" &&
    pass echo_only_may_not_store || fail echo_only_may_not_store "no status 0124"
expect echo_only_stored_nothing "$(rows)" "$before"

# Unknown classes: set aside by default, refused by setting.
"$TOOLS/intake_series" "$work/d" 1 16 16 10
LC_ALL=C sed -i 's/1\.2\.840\.10008\.5\.1\.4\.1\.1\.2\x00/1.2.840.113619.4.9999.123\x00/g' "$work/d/00000.dcm"
"$TOOLS/intake_tool" send "$work/d" "$port" | grep -q "sent=1" && pass unknown_class_taken || fail unknown_class_taken "not sent"
expect unknown_class_set_aside "$(sql "SELECT set_aside FROM kerf.instance WHERE sop_class LIKE '1.2.840.113619%'")" unknown_class
stop_intake
start_intake KERF_INTAKE_UNKNOWN=refuse
expect unknown_class_refused "$("$TOOLS/intake_tool" send "$work/d" "$port" | grep -o "refused_code=[a-z_]*")" "refused_code=context_refused"

grep -q -E 'Series\^|TEST1|2\.25\.7000' "$work/intake.log" && fail log_without_patients "$(grep -m1 -E 'Series\^|TEST1|2\.25\.7000' "$work/intake.log")" || pass log_without_patients
finish

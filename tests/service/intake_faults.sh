#!/usr/bin/env bash
# Disk and database that fail: never a Success for what is not kept, and the association and the next object go on.
. "$(dirname "${BASH_SOURCE[0]}")/intake_lib.sh"
need storescu psql
"$TOOLS/intake_series" "$work/a" 10 128 128 1
rows() { sql "SELECT count(*) FROM kerf.instance"; }
empty() { sql "TRUNCATE kerf.instance, kerf.blob, kerf.series, kerf.study, kerf.cases CASCADE" 2>/dev/null; rm -f "$work/list"; touch "$work/list"; }
# push: 10 objects; prints how many were answered with Success, and each other answer.
push() { timeout 100 "$TOOLS/intake_tool" push "$work/a" "$port" "$work/list" >"$work/answers" 2>/dev/null; wc -l <"$work/list"; }
verified() {
    sql "SELECT b.container, b.location_offset, b.bytes, encode(b.sha256, 'hex'), encode(i.content_sha256, 'hex'), i.sop_uid
         FROM kerf.instance i JOIN kerf.blob b ON b.organisation_id = i.organisation_id AND b.sha256 = i.blob_sha256" |
        tr '|' ' ' | "$TOOLS/intake_tool" verify "$KERF_DATA/blobs" | sort
}
# Every UID that was answered with Success must be there, bytes and row.
kept() { comm -23 <(sort "$work/list") <(verified) | wc -l; }

# The n-th sync of an association fails: that object is refused, the others are taken.
for n in 1 2 3 4 5 8; do
    empty
    start_intake KERF_FAULT_FSYNC=$n
    expect "fsync_${n}_fails_one" "$(push) $(grep -c a700 "$work/answers")" "9 1"
    expect "fsync_${n}_nothing_acknowledged_is_lost" "$(kept)" 0
    expect "fsync_${n}_rows" "$(rows)" 9
    stop_intake
done
empty
start_intake KERF_FAULT_FSYNC=1,1000
expect fsync_always_fails "$(push) $(rows) $(grep -c a700 "$work/answers")" "0 0 10"
stop_intake

# The disk is full after so many bytes.
for bytes in 0 300 40000 200000; do
    empty
    start_intake KERF_FAULT_ENOSPC=$bytes
    taken=$(push)
    [ "$taken" -lt 10 ] && pass "full_disk_${bytes}_refuses" || fail "full_disk_${bytes}_refuses" "all $taken taken"
    expect "full_disk_${bytes}_nothing_acknowledged_is_lost" "$(kept)" 0
    expect "full_disk_${bytes}_rows" "$(rows)" "$taken"
    expect "full_disk_${bytes}_status" "$(sort -u "$work/answers")" "answer a700"
    stop_intake
done

# The commit fails: a trigger that is checked when the transaction ends.
empty
sql "CREATE FUNCTION kerf.refuse_commit() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN RAISE EXCEPTION 'no'; END \$\$;
     CREATE CONSTRAINT TRIGGER refuse_commit AFTER INSERT ON kerf.instance DEFERRABLE INITIALLY DEFERRED
     FOR EACH ROW WHEN (NEW.instance_number = 4) EXECUTE FUNCTION kerf.refuse_commit();"
start_intake
expect commit_fails "$(push) $(rows)" "9 9"
grep -q -E 'answer (c001|a700)' "$work/answers" && pass commit_failure_is_answered || fail commit_failure_is_answered "$(cat "$work/answers")"
expect commit_failure_keeps_the_others "$(kept)" 0
sql "DROP TRIGGER refuse_commit ON kerf.instance"
stop_intake

# The connection to the database is lost before a query, and after a commit was sent whose answer never comes: asked again.
for fault in KERF_FAULT_DB=4 KERF_FAULT_DB=5,6 KERF_FAULT_COMMIT=3; do
    empty
    start_intake $fault
    expect "${fault}_is_survived" "$(push) $(rows) $(sql "SELECT count(*) FROM kerf.instance WHERE conflict")" "10 10 0"
    expect "${fault}_lost_nothing" "$(kept)" 0
    stop_intake
done

# PostgreSQL is killed under the association and comes back: waited for.
mkdir "$work/long"
for round in 1 2 3; do
    "$TOOLS/intake_series" "$work/r$round" 100 128 128 $((round + 10))
    for f in "$work/r$round"/*; do mv "$f" "$work/long/$round-$(basename "$f")"; done
done
empty
start_intake KERF_INTAKE_DATABASE_WAIT_S=50
timeout 100 "$TOOLS/intake_tool" push "$work/long" "$port" "$work/list" >"$work/answers" &
sender=$!
soon test -s "$work/list"
kill -KILL "$(cat "$KERF_STAGE_PG_PID_FILE")"
wait $sender
soon eval 'sql "SELECT 1" >/dev/null 2>&1'
expect restarted_database_is_waited_for "$(wc -l <"$work/list") $(wc -l <"$work/answers")" "300 0"
expect restarted_database_lost_nothing "$(kept)" 0
stop_intake

# It stays away: refused within the deadline, with a reason to try again.
empty
start_intake KERF_INTAKE_DATABASE_WAIT_S=1 KERF_DATABASE_URL="host=/nowhere dbname=none"
CALLING_AE=TESTER "$TOOLS/intake_tool" send "$work/a" "$port" | grep -q "code=rejected_busy" && pass no_database_is_congestion || fail no_database_is_congestion "another answer"
finish

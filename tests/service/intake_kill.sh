#!/usr/bin/env bash
# SIGKILL at random moments, of the association's process, of the whole intake, of PostgreSQL: what a sender was told is
# safe is there afterwards, bytes and row, and sending again completes the series without duplicates.
. "$(dirname "${BASH_SOURCE[0]}")/intake_lib.sh"
need psql
rounds=${KERF_KILL_ROUNDS:-12} images=120
"$TOOLS/intake_series" "$work/a" $images 160 160 1
touch "$work/list"
verified() {
    sql "SELECT b.container, b.location_offset, b.bytes, encode(b.sha256, 'hex'), encode(i.content_sha256, 'hex'), i.sop_uid
         FROM kerf.instance i JOIN kerf.blob b ON b.organisation_id = i.organisation_id AND b.sha256 = i.blob_sha256" |
        tr '|' ' ' | "$TOOLS/intake_tool" verify "$KERF_DATA/blobs" | sort
}
lost=0 killed=0
for round in $(seq "$rounds"); do
    sql "TRUNCATE kerf.instance, kerf.blob, kerf.series, kerf.study, kerf.cases CASCADE" 2>/dev/null
    : >"$work/list"
    start_intake KERF_INTAKE_DATABASE_WAIT_S=50
    timeout 60 "$TOOLS/intake_tool" push "$work/a" "$port" "$work/list" >/dev/null 2>&1 &
    sender=$!
    sleep "0.$(printf '%03d' $((RANDOM % 350 + 20)))"
    case $((round % 3)) in
        0) kill -KILL "$(pgrep -P "$intake_pid" | head -1)" 2>/dev/null && killed=$((killed + 1)) ;;
        1) kill -KILL "$intake_pid" 2>/dev/null && killed=$((killed + 1)) ;;
        2) kill -KILL "$(cat "$KERF_STAGE_PG_PID_FILE")" 2>/dev/null && killed=$((killed + 1)) ;;
    esac
    wait $sender
    [ $((round % 3)) = 1 ] && { wait "$intake_pid" 2>/dev/null; intake_pid=; start_intake; }
    soon eval 'sql "SELECT 1" >/dev/null 2>&1'
    acknowledged=$(wc -l <"$work/list")
    missing=$(comm -23 <(sort "$work/list") <(verified) | wc -l)
    lost=$((lost + missing))
    [ "$missing" = 0 ] || echo "round $round: $missing of $acknowledged acknowledged objects are gone"
    # What was not acknowledged is sent again; what had come through after all is no second instance.
    : >"$work/again"
    timeout 60 "$TOOLS/intake_tool" push "$work/a" "$port" "$work/again" >/dev/null 2>&1
    rows=$(sql "SELECT count(*), count(DISTINCT sop_uid), count(*) FILTER (WHERE conflict) FROM kerf.instance")
    [ "$rows" = "$images|$images|0" ] || fail "complete_after_$round" "$rows"
    stop_intake
done
expect killed_something "$([ $killed -gt $((rounds / 2)) ] && echo yes)" yes
expect nothing_acknowledged_is_lost "$lost" 0
[ "$failures" = 0 ] && pass "sending_again_completes_the_series ($rounds rounds)"
finish

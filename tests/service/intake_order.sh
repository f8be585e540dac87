#!/usr/bin/env bash
# The order of system calls behind every C-STORE Success: the object's last byte written, fdatasync of the segment, fsync
# of the folders when the segment is new, the COMMIT sent to the database and confirmed, and only then the response.
# The trace is judged by order.awk's rules below; a response that comes too early, or a missing step, fails.
. "$(dirname "${BASH_SOURCE[0]}")/intake_lib.sh"
need strace storescu psql
WRAP="strace -f -xx -s 4000 -e trace=write,pwrite64,fdatasync,fsync,sendto,recvfrom,openat,connect,close,ftruncate -o $work/trace"
start_intake
[ -s "$work/trace" ] || { echo "skip order: strace may not trace here"; exit 77; }
"$TOOLS/intake_series" "$work/a" 12 256 256 1
"$TOOLS/intake_series" "$work/b" 12 256 256 2
send -R +sd localhost "$port" "$work/a" && send -R +sd localhost "$port" "$work/b" "$work/a" && pass sent || fail sent "storescu failed"
stop_intake
WRAP=

# Calls that strace shows in two halves, because another process came between: a sending counts from its first half (it may
# have left by then), everything else from its second (only then is it done).
mv "$work/trace" "$work/raw"
awk '/ <unfinished \.\.\.>$/ {
         sub(/ <unfinished \.\.\.>$/, "")
         if (/ sendto\(/) print; else half[$1] = $0
         next
     }
     / <\.\.\. [a-z0-9_]+ resumed>/ {
         if (!($1 in half)) next
         rest = $0; sub(/^.* resumed>/, "", rest)
         print half[$1] rest; delete half[$1]
         next
     }
     {print}' "$work/raw" >"$work/trace"

cat >"$work/order.awk" <<'AWK'
# One child is one association. seg: the descriptor opened with O_CREAT; db: the one that "instance_receive" goes out on. The
# statement runs in a transaction that the protocol's Sync message commits; ReadyForQuery (idle) confirms it.
function bad(why) { print "line " NR ": " why; broken++ }
/ openat\(/ && /O_CREAT/ && /O_RDWR/ && match($0, /= [0-9]+$/) { seg[$1] = substr($0, RSTART + 2); fresh[$1] = 1; folders[$1] = 0; next }
/ openat\(/ && /O_DIRECTORY/ && match($0, /= [0-9]+$/) { dir[$1, substr($0, RSTART + 2)] = 1; next }
{ match($0, /\([0-9]+/); fd = substr($0, RSTART + 1, RLENGTH - 1) }
/ (write|pwrite64)\(/ && fd == seg[$1] { written[$1] = NR; synced[$1] = 0; next }
/ fdatasync\(/ && fd == seg[$1] { if (/= 0$/) synced[$1] = NR; next }
/ fsync\(/ && ($1, fd) in dir { if (/= 0$/) folders[$1]++; next }
/ sendto\(/ && /\\x69\\x6e\\x73\\x74\\x61\\x6e\\x63\\x65\\x5f\\x72\\x65\\x63\\x65\\x69\\x76\\x65/ { db[$1] = fd; sent[$1] = NR }
/ sendto\(/ && fd == db[$1] && sent[$1] > answered[$1] && /\\x53\\x00\\x00\\x00\\x04"/ {
    asked[$1] = NR
    asked_synced[$1] = synced[$1] && synced[$1] > written[$1]
    asked_named[$1] = !fresh[$1] || folders[$1] >= 3
    next
}
/ recvfrom\(/ && fd == db[$1] && /\\x5a\\x00\\x00\\x00\\x05\\x49"/ { confirmed[$1] = NR; next }
/ sendto\(/ && /\\x00\\x01\\x02\\x00\\x00\\x00\\x01\\x80/ {   # (0000,0100) = 8001H: a C-STORE response
    responses++
    if (!/\\x00\\x09\\x02\\x00\\x00\\x00\\x00\\x00/) { bad("a response other than Success"); next }
    if (confirmed[$1] < asked[$1] || !asked[$1] || asked[$1] < answered[$1]) bad("answered before its commit was confirmed")
    else if (!asked_synced[$1] && written[$1] > answered[$1]) bad("commit asked for before the bytes were durable")
    else if (!asked_named[$1]) bad("commit asked for before the new name was durable")
    else good++
    if (written[$1] < answered[$1]) bad("nothing was written for this object")
    answered[$1] = NR; fresh[$1] = 0
}
END { print responses + 0, good + 0, broken + 0 }
AWK
awk -f "$work/order.awk" "$work/trace" >"$work/judged"
sed '$d' "$work/judged" | head -5
expect every_success_in_order "$(tail -1 "$work/judged")" "36 36 0"

# The judge itself must be able to say no: the same trace without its fdatasync lines, and with each response moved ahead.
grep -v fdatasync "$work/trace" | awk -f "$work/order.awk" | tail -1 >"$work/no_sync"
[ "$(cut -d' ' -f3 "$work/no_sync")" -gt 0 ] && pass judge_misses_fdatasync || fail judge_misses_fdatasync "$(cat "$work/no_sync")"
grep -v ' fsync(' "$work/trace" | awk -f "$work/order.awk" | tail -1 >"$work/no_names"
[ "$(cut -d' ' -f3 "$work/no_names")" -gt 0 ] && pass judge_misses_fsync || fail judge_misses_fsync "$(cat "$work/no_names")"
awk '/recvfrom\(/ && /\\x5a\\x00\\x00\\x00\\x05\\x49"/ {held = $0; next} {print} /\\x00\\x01\\x02\\x00\\x00\\x00\\x01\\x80/ && held {print held; held = ""}' "$work/trace" |
    awk -f "$work/order.awk" | tail -1 >"$work/late"
[ "$(cut -d' ' -f3 "$work/late")" -gt 0 ] && pass judge_misses_commit || fail judge_misses_commit "$(cat "$work/late")"
expect synchronous_commit "$(psql -X -A -t -q -d "$KERF_DATABASE_URL" -c 'SHOW synchronous_commit')" on
expect fsync_of_the_database "$(sql 'SHOW fsync')" on
finish

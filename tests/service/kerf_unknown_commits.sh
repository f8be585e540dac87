#!/usr/bin/env bash
# A commit whose answer is lost may have happened: nothing that its rows refer to may be thrown away. A whole case is made
# by workers that each lose the answer of another commit; afterwards everything is done and every blob is whole.
# Usage: kerf_unknown_commits.sh FOLDER_WITH_PROGRAMS
set -uo pipefail
bin=${1:?folder with the programs}
if [ -z "${KERF_TEST_DATA:-}" ]; then echo "skip kerf_unknown_commits: KERF_TEST_DATA is unset"; exit 77; fi
work=$(mktemp -d /tmp/kerf-unknown.XXXXXX)
chmod 755 "$work"
up_pid=
# shellcheck disable=SC2329 # called by the trap
clean() {
    [ -z "$up_pid" ] || { kill -INT "$up_pid" 2>/dev/null; wait "$up_pid" 2>/dev/null; }
    rm -rf "$work"
}
trap clean EXIT
data=$work/data
# The worker of kerf up is told to do nothing, so that ours do it.
KERF_WORKER_KINDS=none "$bin/kerf" up --data "$data" --http 0 --dicom 0 --ready-file "$work/ready" \
    --sign-in-file "$work/sign-in" >"$work/up.log" 2>&1 &
up_pid=$!
for _ in $(seq 600); do [ -s "$work/ready" ] && break; sleep 0.1; done
[ -s "$work/ready" ] || { tail -n 20 "$work/up.log"; echo "FAIL kerf up did not get ready"; exit 1; }
port=$(sed -n 's/.*"port": \([0-9]*\).*/\1/p' "$work/ready")
url=$(sed -n 's/.*"database_url": "\(.*\)".*/\1/p' "$work/ready" | sed 's/kerf_owner/kerf_server/')
"$bin/kerf" import "$KERF_TEST_DATA/head_ct/dicom" --to "KERF@127.0.0.1:$port" >"$work/import.log" 2>&1 ||
    { tail -n 5 "$work/import.log"; echo "FAIL the study could not be sent"; exit 1; }

open_jobs() { "$bin/kerf" job list --state all --data "$data" | cut -f 3 | grep -cE 'queued|running'; }
all_jobs() { "$bin/kerf" job list --state all --data "$data" | wc -l; }
for _ in $(seq 600); do [ "$(all_jobs)" -gt 0 ] && break; sleep 0.1; done

# Each worker loses the answers of commits n and n+1 (claims and heartbeats count too) and goes on; the next one takes over
# after some seconds, later ones after minutes: on a busy machine a job takes longer than a worker may have at first.
for n in $(seq 2 2 40); do
    KERF_DATA=$data KERF_DATABASE_URL=$url KERF_WORKER_LEASE_S=3 KERF_FAULT_COMMIT=$n,$((n + 1)) \
        "$bin/kerf-workerd" >>"$work/worker.log" 2>&1 &
    worker=$! began=$SECONDS
    until [ "$(open_jobs)" = 0 ] || [ $((SECONDS - began)) -ge $((n < 8 ? 8 : 150)) ]; do sleep 0.2; done
    kill -TERM "$worker" 2>/dev/null
    wait "$worker" 2>/dev/null
    [ "$(open_jobs)" = 0 ] && break
done
rc=0
if [ "$(open_jobs)" = 0 ]; then echo "pass every_job_ends"; else echo "FAIL every_job_ends"; rc=1; fi
"$bin/kerf" job list --state all --data "$data" >"$work/jobs"
if [ "$(cut -f 3 "$work/jobs" | sort -u)" = done ]; then echo "pass every_job_is_done"; else cat "$work/jobs"; echo "FAIL every_job_is_done"; rc=1; fi
if "$bin/kerf" verify --data "$data" >"$work/verify"; then
    echo "pass every_blob_is_whole ($(tail -n 1 "$work/verify"))"
else
    tail -n 5 "$work/verify"
    echo "FAIL every_blob_is_whole"
    rc=1
fi
exit $rc

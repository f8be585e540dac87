#!/usr/bin/env bash
# C-STORE, images a second: kerf-intake (durable: fdatasync and synchronous_commit before every Success), DCMTK's storescp
# --fork and Orthanc beside it in one run, with one sender and with four (DCMTK's storescu, TCP_NODELAY on both ends).
# Rounds are interleaved and medians printed, since the machine may be shared.
#
#   tests/bench/intake.sh [IMAGES [ROUNDS]]        512 × 512 images of 526 kB; default 1024 images, 3 rounds:
# with fewer the start of the senders, four programs on the same cores, is a large part of what is measured
#
# BIN and TOOLS say where kerf-intake and intake_stage lie; default build/release.
if [ -z "${KERF_STAGE_OWNER_URL:-}" ]; then
    root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
    export BIN=${BIN:-$root/build/release/bin} TOOLS=${TOOLS:-$root/build/release/tests}
    exec "$TOOLS/intake_stage" bash "${BASH_SOURCE[0]}" "$@"
fi
. "$(dirname "${BASH_SOURCE[0]}")/../service/intake_lib.sh"
images=${1:-1024} rounds=${2:-3}
need storescu storescp
export TCP_NODELAY=1
# What comes in must be a fixed set of UIDs for each round, so that no peer sees a duplicate: every receiver starts empty.
"$TOOLS/intake_series" "$work/all" "$images" 512 512 1
for j in 0 1 2 3; do mkdir -p "$work/part$j"; done
i=0
for f in "$work/all"/*; do ln -s "$f" "$work/part$((i % 4))/"; i=$((i + 1)); done

now() { date +%s%N; }
one() { timeout 120 storescu -aet TESTER -aec "$aec" -R +sd localhost "$1" "$work/all"; }
four() {
    local pids=() p
    for j in 0 1 2 3; do timeout 120 storescu -aet TESTER -aec "$aec" -R +sd localhost "$1" "$work/part$j" & pids+=($!); done
    for p in "${pids[@]}"; do wait "$p"; done
}
# measure NAME HOW PORT: one line "NAME HOW RATE" into $work/results.
measure() {
    local began=$(now)
    $2 "$3" >/dev/null 2>&1
    echo "$1 $2 $(awk -v n="$images" -v ns=$(($(now) - began)) 'BEGIN {printf "%.1f", n * 1e9 / ns}')" >>"$work/results"
}
wait_port() { for _ in $(seq 200); do (exec 9<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return; sleep 0.05; done; }

round_kerf() {
    sql "TRUNCATE kerf.instance, kerf.blob, kerf.series, kerf.study, kerf.cases CASCADE" 2>/dev/null
    rm -rf "$KERF_DATA/blobs"
    start_intake
    aec=KERF
    measure kerf-intake "$1" "$port"
    got=$(sql "SELECT count(*) FROM kerf.instance")
    [ "$got" = "$images" ] || fail kerf_rows "$got of $images rows"
    stop_intake
}
round_storescp() {
    local p=$(free_port) pid
    rm -rf "$work/rx" && mkdir "$work/rx"
    storescp --fork +B -od "$work/rx" "$p" >/dev/null 2>&1 &
    pid=$!
    wait_port "$p"
    aec=ANY
    measure "storescp" "$1" "$p"
    kill $pid && wait $pid 2>/dev/null
    rm -rf "$work/rx"
}
round_orthanc() {
    local dicom=$(free_port) http=$(free_port) pid
    rm -rf "$work/orthanc" && mkdir "$work/orthanc"
    cat >"$work/orthanc.json" <<JSON
{ "Name": "bench", "StorageDirectory": "$work/orthanc", "IndexDirectory": "$work/orthanc", "HttpPort": $http,
  "DicomPort": $dicom, "DicomAet": "BENCH", "DicomCheckCalledAet": false, "DicomAlwaysAllowStore": true,
  "AuthenticationEnabled": false, "RemoteAccessAllowed": false, "StorageCompression": false, "SyncStorageArea": true, "Plugins": [] }
JSON
    Orthanc "$work/orthanc.json" >/dev/null 2>&1 &
    pid=$!
    wait_port "$dicom"
    aec=BENCH
    measure orthanc "$1" "$dicom"
    kill $pid && wait $pid 2>/dev/null
    rm -rf "$work/orthanc"
}
peers="storescp"
if command -v Orthanc >/dev/null; then peers="orthanc storescp"; else echo "Orthanc is not installed: no ratio to it"; fi
for r in $(seq "$rounds"); do
    for how in one four; do
        round_kerf $how
        for peer in $peers; do round_$peer $how; done
    done
done
median() { awk -v name="$1" -v how="$2" '$1 == name && $2 == how {print $3}' "$work/results" | sort -n | awk '{v[NR] = $1} END {if (NR) print v[int((NR + 1) / 2)]; else print 0}'; }
printf '%-14s %12s %12s\n' "images/s" "1 sender" "4 senders"
for name in kerf-intake $peers; do printf '%-14s %12s %12s\n' "$name" "$(median $name one)" "$(median $name four)"; done
for peer in $peers; do
    awk -v p="$peer" -v a="$(median kerf-intake one)" -v b="$(median $peer one)" -v c="$(median kerf-intake four)" -v d="$(median $peer four)" \
        'BEGIN {printf "kerf/%-9s %12.2f %12.2f\n", p, a / b, c / d}'
done

# Memory: an association's process after the first quarter of a long series and at its end; and a stock sender, whose Nagle
# algorithm stops it for 40 ms an image where a receiver delays its acknowledgements.
sql "TRUNCATE kerf.instance, kerf.blob, kerf.series, kerf.study, kerf.cases CASCADE" 2>/dev/null
start_intake
aec=KERF
one "$port" >/dev/null 2>&1 &
sender=$!
peak=0 early=0
while kill -0 $sender 2>/dev/null; do
    child=$(pgrep -P "$intake_pid" | head -1)
    rss=$(sed -n 's/^VmRSS:[ \t]*\([0-9]*\).*/\1/p' "/proc/${child:-0}/status" 2>/dev/null)
    [ "${rss:-0}" -gt "$peak" ] && peak=$rss
    [ "$early" = 0 ] && [ "$(sql "SELECT count(*) FROM kerf.instance")" -gt $((images / 4)) ] && early=$peak
    sleep 0.02
done
echo "memory of an association: $early kB after a quarter, $peak kB at most"
sql "TRUNCATE kerf.instance, kerf.blob, kerf.series, kerf.study, kerf.cases CASCADE" 2>/dev/null
unset TCP_NODELAY
measure stock one "$port"
echo "stock sender, Nagle on: $(median stock one) images/s"
finish

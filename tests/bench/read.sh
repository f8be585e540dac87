#!/usr/bin/env bash
# An authenticated database read beside Orthanc in the same run: one series by its id, with the same instances in both.
# Ours checks a token and its role and reads under row-level security; Orthanc runs without authentication.
# Two rows for us: as it comes, where an answer may be kept for a moment while the database tells of every change
# (KERF_VIEW_CACHE_MS), and from a second server beside it that asks the database every time.
#   read.sh [SECONDS_PER_RUN [ROUNDS]]     KERF_BIN: folder of our programs; KERF_TEST_DATA: sample data (else a phantom)
# Rounds alternate; medians and ratios are printed. Exits 1 when a ratio is under its target. Leaves nothing running.
set -uo pipefail
seconds=${1:-1}
rounds=${2:-5}
root=$(cd "$(dirname "$0")/../.." && pwd)
bin=${KERF_BIN:-$root/build/release/bin}
for tool in wrk curl Orthanc python3; do
    command -v "$tool" >/dev/null || { echo "skip read: $tool is missing"; exit 77; }
done

work=$(mktemp -d)
chmod 755 "$work"
kerf_pid='' orthanc_pid='' direct_pid=''
cleanup() {
    [ -n "$orthanc_pid" ] && kill "$orthanc_pid" 2>/dev/null && wait "$orthanc_pid" 2>/dev/null
    [ -n "$direct_pid" ] && kill "$direct_pid" 2>/dev/null && wait "$direct_pid" 2>/dev/null
    [ -n "$kerf_pid" ] && kill -INT "$kerf_pid" 2>/dev/null && wait "$kerf_pid" 2>/dev/null
    rm -rf "$work"
}
trap cleanup EXIT
field() { python3 -c "import json,sys; d=json.load(sys.stdin); print($1)"; }
free_port() { python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])'; }

mkdir "$work/in"
if [ -n "${KERF_TEST_DATA:-}" ] && [ -d "$KERF_TEST_DATA/head_ct/dicom" ]; then
    find "$KERF_TEST_DATA/head_ct/dicom" -type f | sort | head -n 20 | xargs -I{} cp {} "$work/in/"
else
    "$bin/kerf" phantom head --out "$work/in" >/dev/null || exit 1
fi

"$bin/kerf" up --data "$work/kerf" --http 0 --dicom 0 --ready-file "$work/ready.json" >"$work/log" 2>&1 &
kerf_pid=$!
for _ in $(seq 300); do [ -s "$work/ready.json" ] && break; sleep 0.1; done
[ -s "$work/ready.json" ] || { tail -n 5 "$work/log"; echo "kerf up did not come up"; exit 1; }
base=$(field 'd["http"]' <"$work/ready.json")
token=$("$bin/kerf" token add --data "$work/kerf" --name bench --role admin | grep -o 'kerf_[A-Za-z0-9_-]*' | head -n 1)
auth="Authorization: Bearer $token"
for f in "$work"/in/*; do
    [ -f "$f" ] || continue
    curl -sf -o /dev/null -H "$auth" -H 'Content-Type: application/dicom' --data-binary @"$f" "$base/api/v1/uploads" ||
        { echo "an upload failed"; exit 1; }
done
case_id=$(curl -sf -H "$auth" "$base/api/v1/cases" | field 'd["items"][0]["id"]')
for _ in $(seq 300); do # the workers must be done before anything is measured
    busy=$(curl -sf -H "$auth" "$base/api/v1/cases/$case_id" | field 'd["progress"]["running"]+d["progress"]["queued"]+(d["state"]=="receiving")')
    [ "$busy" = 0 ] && break
    sleep 0.2
done
series_id=$(curl -sf -H "$auth" "$base/api/v1/cases/$case_id" | field 'd["studies"][0]["series"][0]["id"]')

# The same settings and database, without kept answers.
server_pid=$(ps -o pid=,comm= --ppid "$kerf_pid" | awk '$2=="kerf-server"{print $1}')
mapfile -d '' -t server_env <"/proc/$server_pid/environ"
env -i "${server_env[@]}" KERF_HTTP_PORT=0 KERF_TLS_PORT=0 KERF_VIEW_CACHE_MS=0 "$bin/kerf-server" \
    --ready "$work/direct.json" 2>"$work/direct.log" &
direct_pid=$!
for _ in $(seq 100); do [ -s "$work/direct.json" ] && break; sleep 0.1; done
direct=http://127.0.0.1:$(field 'd["http"]' <"$work/direct.json")

port=$(free_port)
cat >"$work/orthanc.json" <<JSON
{ "Name": "bench", "StorageDirectory": "$work/orthanc", "IndexDirectory": "$work/orthanc", "HttpPort": $port,
  "DicomServerEnabled": false, "AuthenticationEnabled": false, "RemoteAccessAllowed": false, "KeepAlive": true,
  "Plugins": [] }
JSON
mkdir "$work/orthanc"
Orthanc "$work/orthanc.json" >"$work/orthanc.log" 2>&1 &
orthanc_pid=$!
for _ in $(seq 100); do curl -s -o /dev/null "http://127.0.0.1:$port/system" && break; sleep 0.1; done
for f in "$work"/in/*; do [ -f "$f" ] && curl -sf -o /dev/null --data-binary @"$f" "http://127.0.0.1:$port/instances"; done
orthanc_series=$(curl -sf "http://127.0.0.1:$port/series" | field 'd[0]')

rate() { wrk -t1 -c"$2" -d"${seconds}s" -H "$auth" "$1" | awk '/Requests\/sec/{r=$2} /Non-2xx/{bad=1} END{print bad ? 0 : r}'; }
# CPU ticks that Orthanc, or kerf-server and PostgreSQL together, have used.
ticks() {
    local total=0 pid
    for pid in "$@"; do total=$((total + $(awk '{print $14+$15}' "/proc/$pid/stat" 2>/dev/null || echo 0))); done
    echo "$total"
}
ours() {
    local pid
    echo "$direct_pid"
    for pid in $(ps -o pid= --ppid "$kerf_pid"); do
        case $(cat "/proc/$pid/comm" 2>/dev/null) in
            kerf-server) echo "$pid" ;;
            postgres) echo "$pid"; ps -o pid= --ppid "$pid" ;;
        esac
    done
}
median() { sort -n | awk '{v[NR]=$1} END{print v[int((NR+1)/2)]}'; }
failed=0
printf '%-34s %12s %12s %7s %7s   %s\n' case Orthanc kerf ratio target 'CPU us per request (Orthanc, kerf with PostgreSQL)'
row() { # NAME CONNECTIONS ORTHANC_PATH KERF_URL TARGET
    local o='' k='' i r c0 osum=0 ksum=0 ocpu=0 kcpu=0
    for i in $(seq "$rounds"); do
        c0=$(ticks "$orthanc_pid"); r=$(rate "http://127.0.0.1:$port$3" "$2"); o+="$r"$'\n'
        ocpu=$((ocpu + $(ticks "$orthanc_pid") - c0)); osum=$(echo "$osum + $r" | bc)
        c0=$(ticks $(ours)); r=$(rate "$4" "$2"); k+="$r"$'\n'
        kcpu=$((kcpu + $(ticks $(ours)) - c0)); ksum=$(echo "$ksum + $r" | bc)
    done
    awk -v name="$1" -v o="$(printf %s "$o" | median)" -v k="$(printf %s "$k" | median)" -v t="$5" \
        -v oc="$(echo "scale=1; $ocpu * 10000 / ($osum * $seconds)" | bc)" \
        -v kc="$(echo "scale=1; $kcpu * 10000 / ($ksum * $seconds)" | bc)" \
        'BEGIN{r=k/(o > 0 ? o : 1); printf "%-34s %12.1f %12.1f %6.2fx %6.2fx   %s, %s%s\n", name, o, k, r, t, oc, kc,
               r<t ? "   UNDER TARGET" : ""; exit r<t}' || failed=1
}
for c in 1 8; do
    row "one series by id, $c clients" $c "/series/$orthanc_series" "$base/api/v1/series/$series_id" 1.5
    row "  the database asked each time, $c" $c "/series/$orthanc_series" "$direct/api/v1/series/$series_id" 0
done
for c in 1 8; do # nothing in Orthanc is like it: for the record only
    row "a case with its counts and tree, $c" $c "/studies?expand" "$base/api/v1/cases/$case_id" 0
    row "  the database asked each time, $c" $c "/studies?expand" "$direct/api/v1/cases/$case_id" 0
done
exit "$failed"

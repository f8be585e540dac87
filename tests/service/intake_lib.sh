# Shared by the shell tests of kerf-intake. Run inside intake_stage (tests/service/intake_stage.c); BIN is where
# kerf-intake lies, TOOLS where intake_series and the other helpers lie.
set -u
: "${BIN:?}" "${TOOLS:?}" "${KERF_DATA:?run me inside intake_stage}"
work=$(dirname "$KERF_DATA")/work
mkdir -p "$work"
failures=0
intake_pid=

pass() { echo "pass $1"; }
fail() { echo "FAIL $1: ${2:-}"; failures=$((failures + 1)); }
# expect NAME GOT WANTED
expect() { if [ "$2" = "$3" ]; then pass "$1"; else fail "$1" "got '$2', wanted '$3'"; fi; }
sql() { psql -X -A -t -q -d "$KERF_STAGE_OWNER_URL" -c "$1"; }
# soon COMMAND…: until it succeeds; a minute at most, since the machine may be busy with other things.
soon() {
    local look
    for look in $(seq 1200); do "$@" && return 0; sleep 0.05; done
    return 1
}
need() { for tool in "$@"; do command -v "$tool" >/dev/null || { echo "skip $(basename "$0" .sh): $tool is not installed"; exit 77; }; done; }

# start_intake [NAME=VALUE…]: a kerf-intake on free ports; sets port, tls_port, intake_pid; its log is $work/intake.log.
start_intake() {
    rm -f "$work/ready.json"
    env KERF_DICOM_PORT=0 KERF_DICOM_ADDRESS=127.0.0.1 "$@" ${WRAP:-} "$BIN/kerf-intake" --ready "$work/ready.json" 2>>"$work/intake.log" &
    intake_pid=$!
    soon test -s "$work/ready.json"
    port=$(sed -n 's/.*"port": *\([0-9-]*\).*/\1/p' "$work/ready.json" | head -1)
    tls_port=$(sed -n 's/.*"tls_port": *\([0-9-]*\).*/\1/p' "$work/ready.json" | head -1)
    [ -n "$port" ] || { fail start_intake "it did not come up"; tail -5 "$work/intake.log"; exit 1; }
}
stop_intake() {
    [ -n "$intake_pid" ] || return 0
    local target=$intake_pid
    # Under strace it is the traced program that is asked to stop: a killed strace would leave it behind.
    [ -z "${WRAP:-}" ] || target=$(pgrep -P "$intake_pid" | head -1)
    kill "$target" 2>/dev/null
    wait "$intake_pid" 2>/dev/null
    intake_pid=
}
trap stop_intake EXIT
# A port that nobody listens on just now; below those that the kernel gives to connections.
free_port() {
    local p
    while p=$((20000 + RANDOM % 12000)); (exec 9<>"/dev/tcp/127.0.0.1/$p") 2>/dev/null; do :; done
    echo $p
}
# A stock sender, but for Nagle's algorithm where a test is not about it.
send() { TCP_NODELAY=1 storescu -aet TESTER -aec KERF "$@"; }
finish() { stop_intake; [ "$failures" = 0 ]; exit $?; }

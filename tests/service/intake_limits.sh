#!/usr/bin/env bash
# Limits and deadlines: how many at once, how long silent, how long in all, how large.
. "$(dirname "${BASH_SOURCE[0]}")/intake_lib.sh"
need echoscu storescu psql
start_intake KERF_INTAKE_ASSOCIATIONS=3 KERF_INTAKE_PER_ADDRESS=3 KERF_INTAKE_NEGOTIATION_S=3 KERF_INTAKE_IDLE_S=2 \
    KERF_INTAKE_ASSOCIATION_S=6
# children COUNT: so many associations are open.
children() { [ "$(pgrep -c -P "$intake_pid")" = "$1" ]; }

# Three that say nothing fill the house; the next one is told so in DICOM; then the silent ones are cut.
exec 5<>"/dev/tcp/127.0.0.1/$port" 6<>"/dev/tcp/127.0.0.1/$port" 7<>"/dev/tcp/127.0.0.1/$port"
soon children 3
echoscu -d -aet TESTER -aec KERF localhost "$port" 2>&1 | grep -q -i "limit exceeded" && pass full_house || fail full_house "no rejection"
timeout 60 cat <&5 >/dev/null && grep -q '"deadline":"negotiation"' "$work/intake.log" && pass negotiation_deadline ||
    fail negotiation_deadline "still open, or cut for another reason"
exec 5>&- 6>&- 7>&-
soon children 0
echoscu -aet TESTER -aec KERF localhost "$port" && pass room_again || fail room_again "echoscu failed"

expect alive_within_idle "$("$TOOLS/intake_tool" hold "$port" 0.5)" alive
expect idle_deadline "$("$TOOLS/intake_tool" hold "$port" 4)" cut
grep -q '"deadline":"idle"' "$work/intake.log" && pass idle_is_logged || fail idle_is_logged "no log line"

# An association as a whole: a peer that keeps talking is cut at the absolute deadline.
expect absolute_deadline "$("$TOOLS/intake_tool" talk "$port" 9)" cut
grep -q '"deadline":"absolute"' "$work/intake.log" && pass absolute_is_logged || fail absolute_is_logged "no log line"

# From here on with the usual deadlines, which no busy machine breaks.
stop_intake
start_intake KERF_INTAKE_OBJECT_BYTES=1048576

# The child of an open association has no privileges to gain and few calls to make.
exec 5<>"/dev/tcp/127.0.0.1/$port"
filters() { sed -n 's/^\(NoNewPrivs\|Seccomp\):\s*/\1=/p' "/proc/$(pgrep -P "$intake_pid" | head -n 1)/status" 2>/dev/null | tr '\n' ' '; }
soon eval '[[ $(filters) == *Seccomp=2* ]]' # it sets to work behind them
expect child_is_filtered "$(filters)" "NoNewPrivs=1 Seccomp=2 "
exec 5>&-
soon children 0

# One object too large: refused, and the association serves the next.
"$TOOLS/intake_series" "$work/big" 1 800 800 1
"$TOOLS/intake_series" "$work/small" 2 64 64 2
mkdir "$work/mixed" && cp "$work/big/00000.dcm" "$work/mixed/0.dcm" && cp "$work/small/"*.dcm "$work/mixed/"
expect object_limit "$("$TOOLS/intake_tool" send "$work/mixed" "$port" | grep -o -E 'sent=.*refused_code=[a-z0-9_]*')" "sent=2 refused=1 skipped=0 refused_code=status_a700"
expect object_limit_rows "$(sql "SELECT count(*) FROM kerf.instance")" 2

# A stop ends what is open, at once, and leaves nobody.
"$TOOLS/intake_tool" hold "$port" 1 >"$work/held" 2>"$work/open" &
holder=$!
soon test -s "$work/open"
kill "$intake_pid"; wait "$intake_pid"; code=$?
intake_pid=
wait $holder
expect stop_is_clean "$code" 0
expect stop_cuts "$(cat "$work/held")" cut
finish

#!/usr/bin/env bash
# kerf up on a PostgreSQL that is not its own: an owner who is no superuser, and a server's role that is nothing special. No
# private cluster is made, a phantom becomes a case, the server's role sees what row-level security shows it, and a role
# that could see more is refused before anything is done. Run inside intake_stage; BIN is where the programs lie.
set -uo pipefail
: "${BIN:?}" "${KERF_STAGE_OWNER_URL:?run me inside intake_stage}"
for tool in psql pgrep; do command -v $tool >/dev/null || { echo "skip external_database: $tool is not installed"; exit 77; }; done
super="$KERF_STAGE_OWNER_URL dbname=hospital"
root=$(dirname "$KERF_DATA")/external
mkdir -m 755 "$root"
unset KERF_DATA KERF_DATABASE_URL # those of the stage
data=$root/data
failures=0
up_pid=

pass() { echo "pass $1"; }
fail() { echo "FAIL $1: ${2:-}"; failures=$((failures + 1)); }
# expect NAME GOT WANTED
expect() { if [ "$2" = "$3" ]; then pass "$1"; else fail "$1" "got '$2', wanted '$3'"; fi; }
as() { echo "$KERF_STAGE_OWNER_URL dbname=hospital user=$1"; }
# sql URL STATEMENT
sql() { psql -X -A -t -q -v ON_ERROR_STOP=1 -d "$1" -c "$2" 2>&1; }
stop() {
    [ -z "$up_pid" ] || { kill -INT "$up_pid" 2>/dev/null; wait "$up_pid" 2>/dev/null; }
    up_pid=
}
trap stop EXIT
# up [NAME=VALUE…]: kerf up in the background until it is ready; its log is $root/up.log.
up() {
    rm -f "$root/ready"
    env "$@" "$BIN/kerf" up --data "$data" --http 0 --dicom 0 --ready-file "$root/ready" --sign-in-file "$root/sign-in" \
        >"$root/up.log" 2>&1 &
    up_pid=$!
    for _ in $(seq 600); do
        [ -s "$root/ready" ] && return 0
        kill -0 "$up_pid" 2>/dev/null || break
        sleep 0.1
    done
    tail -n 10 "$root/up.log"
    fail "kerf_up_gets_ready"
    exit 1
}
# refused NAME LOGIN [NAME=VALUE…]: kerf up ends by itself and says why.
refused() {
    local name=$1 login=$2 rc=0
    shift 2
    env "KERF_DATABASE_URL=$(as "$login")" "$@" timeout 60 "$BIN/kerf" up --data "$root/refused" --http 0 --dicom 0 \
        --ready-file "$root/refused.ready" --sign-in-file "$root/refused.sign-in" >"$root/refused.log" 2>&1 || rc=$?
    if [ "$rc" = 1 ] && grep -q '\[unsafe_role\]' "$root/refused.log" && [ ! -e "$root/refused.ready" ]; then
        pass "$name"
    else
        tail -n 5 "$root/refused.log"
        fail "$name" "exit code $rc"
    fi
}

# A cluster that has never seen Kerf.
stage="$KERF_STAGE_OWNER_URL dbname=postgres"
{
    sql "$stage" "DROP DATABASE kerf" &&
    sql "$stage" "DROP ROLE kerf_server, kerf_app" &&
    sql "$stage" "CREATE ROLE hospital_owner LOGIN CREATEROLE" &&
    sql "$stage" "CREATE ROLE hospital_member LOGIN IN ROLE hospital_owner" &&
    sql "$stage" "CREATE ROLE hospital_bypass LOGIN BYPASSRLS" &&
    sql "$stage" "CREATE ROLE \"Hospital server\" LOGIN" &&
    sql "$stage" "CREATE DATABASE hospital OWNER hospital_owner"
} >"$root/roles.log" || { cat "$root/roles.log"; fail roles_are_made; exit 1; }
owner="KERF_DATABASE_OWNER_URL=$(as hospital_owner)"
server="$KERF_STAGE_OWNER_URL dbname=hospital user='Hospital server'"

refused a_superuser_is_refused kerf_owner "$owner"
refused a_role_with_bypassrls_is_refused hospital_bypass "$owner"
refused the_owner_is_refused hospital_owner "$owner"
refused one_url_for_both_is_refused hospital_owner
refused a_member_of_the_owner_is_refused hospital_member "$owner"
expect a_refusal_leaves_the_database_alone "$(sql "$super" "SELECT count(*) FROM pg_namespace WHERE nspname = 'kerf'")" 0
expect a_refusal_makes_no_cluster "$(ls -d "$root/refused/pg" 2>/dev/null)" ""

up "KERF_DATABASE_URL=$server" "$owner"
expect no_private_cluster_is_made "$(ls -d "$data/pg" "$data/run/pg" 2>/dev/null)" ""
expect no_postgres_runs_below_kerf_up "$(pgrep -P "$up_pid" -x postgres)" ""
"$BIN/kerf" phantom head --size 64x64x64 --spacing 3x3x3 --out "$root/study" >"$root/phantom.log" 2>&1 ||
    fail phantom "$(tail -n 1 "$root/phantom.log")"
if "$BIN/kerf" check "$root/study" --data "$data" --ready-file "$root/ready" >"$root/check" 2>"$root/check.log"; then
    pass "a_phantom_becomes_a_case ($(tail -n 1 "$root/check"))"
else
    tail -n 5 "$root/check.log"
    fail a_phantom_becomes_a_case
fi

expect the_servers_role_is_nothing_special "$(sql "$server" "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb,
    (SELECT count(*) FROM pg_class c WHERE c.relowner = r.oid), (SELECT count(*) FROM pg_namespace n WHERE n.nspowner = r.oid),
    pg_has_role(r.oid, 'hospital_owner', 'MEMBER'), pg_has_role(r.oid, 'kerf_app', 'MEMBER')
    FROM pg_roles r WHERE rolname = session_user")" "f|f|f|f|0|0|f|t"
expect only_that_role_is_connected "$(sql "$super" "SELECT DISTINCT usename FROM pg_stat_activity
    WHERE datname = 'hospital' AND pid <> pg_backend_pid() AND backend_type = 'client backend'")" "Hospital server"
expect the_owner_has_a_case "$(sql "$(as hospital_owner)" "SELECT count(*) FROM kerf.cases")" 1
expect the_servers_role_sees_none_without_an_organisation "$(sql "$server" "SELECT count(*) FROM kerf.cases")" 0
told=$(for pid in $(pgrep -P "$up_pid"); do tr '\0' '\n' <"/proc/$pid/environ" | grep -c hospital_owner; done | sort -u)
expect no_daemon_is_told_of_the_owner "$told" 0
stop
expect the_database_goes_on "$(sql "$(as hospital_owner)" "SELECT count(*) FROM kerf.cases")" 1

# Migrated and granted: from now on the server's role is enough, as it is for a further machine.
up "KERF_DATABASE_URL=$server"
expect the_servers_role_is_enough_later "$(grep -c "Sign in as before" "$root/sign-in")" 1
stop
sql "$stage" "CREATE DATABASE empty OWNER hospital_owner"
rc=0
KERF_DATABASE_URL="$KERF_STAGE_OWNER_URL dbname=empty user='Hospital server'" timeout 60 "$BIN/kerf" up --data "$root/empty" \
    --http 0 --dicom 0 >"$root/empty.log" 2>&1 || rc=$?
expect but_not_before_the_first_migration "$rc $(grep -o '\[not_migrated\]' "$root/empty.log")" "1 [not_migrated]"
# A role that could see more is refused also when all is there.
refused the_owner_of_a_migrated_schema_is_refused hospital_owner "$owner"
[ "$failures" = 0 ]

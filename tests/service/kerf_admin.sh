#!/usr/bin/env bash
# The administration tool against a real `kerf up`: first start, accounts, tokens, peers, jobs, verify; then a second
# `kerf up` on a database of its own choosing. Usage: kerf_admin.sh FOLDER_WITH_PROGRAMS
set -uo pipefail
bin=${1:?folder with the programs}
work=$(mktemp -d /tmp/kerf-admin.XXXXXX)
chmod 755 "$work"
failures=0
pids=()

# shellcheck disable=SC2329 # called by the trap
clean() {
    for pid in "${pids[@]}"; do kill -INT "$pid" 2>/dev/null; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null; done
    rm -rf "$work"
}
trap clean EXIT

# expect NAME EXIT_CODE PATTERN COMMAND…: the exit code and what standard output and error must hold.
expect() {
    local name=$1 code=$2 pattern=$3 out rc=0
    shift 3
    out=$("$@" 2>&1) || rc=$?
    if [ "$rc" = "$code" ] && grep -qE -- "$pattern" <<<"$out"; then
        echo "pass $name"
    else
        printf '%s\n' "$out" | tail -n 5
        echo "FAIL $name (exit code $rc, wanted $code and /$pattern/)"
        failures=1
    fi
}

# up DATA [ENV=VALUE…]: starts kerf up and waits until it is ready.
up() {
    local data=$1
    shift
    env "$@" "$bin/kerf" up --data "$data" --http 0 --dicom 0 --ready-file "$data.ready" --sign-in-file "$data.sign-in" \
        >"$data.log" 2>&1 &
    pids+=($!)
    for _ in $(seq 600); do
        [ -s "$data.ready" ] && return 0
        kill -0 "${pids[-1]}" 2>/dev/null || break
        sleep 0.1
    done
    tail -n 20 "$data.log"
    echo "FAIL kerf up --data $data did not get ready"
    exit 1
}

one=$work/one
up "$one"
kerf() { "$bin/kerf" "$@" --data "$one"; }
expect a_first_start_tells_a_one_time_password_once 0 'one-time password ([A-Z0-9]{5}-){3}[A-Z0-9]{5}' cat "$one.sign-in"
expect the_first_administrator_must_change_it 0 '^admin.admin.*must-change-password' kerf user list
expect an_account_is_added 0 'one-time password: ([A-Z0-9]{5}-){3}[A-Z0-9]{5}' kerf user add Eve@example.org --role planner
expect logins_are_lower_case 0 '^eve@example.org.planner' kerf user list
expect a_taken_login_is_refused 1 'login_taken' kerf user add eve@example.org --role viewer
expect an_unknown_role_is_refused 1 'bad_role' kerf user add other --role emperor
expect the_last_administrator_stays 1 'last_admin' kerf user disable admin
expect an_account_is_disabled 0 '' kerf user disable eve@example.org
expect and_shown_so 0 'eve@example.org.*disabled' kerf user list
expect a_password_is_reset 0 'one-time password' kerf user reset-password eve@example.org
expect an_unknown_login_is_not_found 1 'not_found' kerf user unlock nobody
expect bad_usage_is_told 2 'kerf user add LOGIN' kerf user frobnicate
expect a_peer_is_added 0 '^[0-9a-f-]{36}$' kerf peer add CT1 --address 10.0.0.0/8
expect host_bits_in_a_network_are_refused 1 'bad_peer' kerf peer add CT2 --address 10.0.0.1/8
expect peers_are_listed 0 'CT1 -> .*10.0.0.0/8' kerf peer list
expect no_job_is_dead 0 '^$' kerf job list
expect a_strange_job_is_not_found 1 'not_found' kerf job retry 00000000-0000-0000-0000-000000000000
expect a_strange_job_is_not_acknowledged 1 'not_found' kerf job acknowledge 00000000-0000-0000-0000-000000000000
expect verify_finds_nothing_bad 0 ' 0 bad$' kerf verify
expect migrate_again_does_nothing 0 ', 0 migrations applied' kerf migrate
expect an_unknown_organisation_is_named 1 'organisation' kerf user list --organisation Nobody
expect settings_are_listed 0 '^KERF_SETTLE_S=2' kerf settings
expect a_second_up_on_the_same_folder_is_refused 1 'data_in_use' "$bin/kerf" up --data "$one" --http 0 --dicom 0

token=$(kerf token add --name test --role admin)
http=$(sed -n 's/.*"http": "\(.*\)".*/\1/p' "$one.ready")
expect a_token_opens_the_api 0 '"items"' curl -sf -H "Authorization: Bearer $token" "$http/api/v1/cases"
token_id=$(kerf token list | cut -f 1)
expect a_token_is_revoked 0 '' kerf token revoke "$token_id"
sleep 6 # sessions may be remembered for five seconds
expect and_opens_nothing_any_more 22 '' curl -sf -H "Authorization: Bearer $token" "$http/api/v1/cases"

# Somebody else's PostgreSQL: a database beside the first one, named by its URLs; no private one is started.
owner=$(sed -n 's/.*"database_url": "\(.*\)".*/\1/p' "$one.ready")
if psql -Xqc 'CREATE DATABASE other' "$owner" 2>"$work/psql.log"; then
    two=$work/two
    up "$two" "KERF_DATABASE_URL=$owner dbname=other user=kerf_server" "KERF_DATABASE_OWNER_URL=$owner dbname=other"
    expect no_second_postgres_runs 1 '' test -e "$two/pg"
    expect the_other_database_has_its_own_people 0 '^admin.admin' env "KERF_DATABASE_URL=$owner dbname=other user=kerf_server" \
        "KERF_DATABASE_OWNER_URL=$owner dbname=other" "$bin/kerf" user list --data "$two"
else
    echo "skip kerf_up_on_another_database: $(head -n 1 "$work/psql.log")"
fi

# Root takes programs, settings and files from its data folder: nobody else may have a hand in it or above it.
if [ "$(id -u)" = 0 ]; then
    strangers=$work/strangers
    at() { timeout 60 "$bin/kerf" up --data "$1" --http 0 --dicom 0; }
    mkdir -p "$strangers/own" "$work/open" "$work/linked"
    chown nobody "$strangers"
    chmod 777 "$work/open"
    ln -s "$strangers/own" "$work/linked/data"
    expect a_data_folder_of_another_is_refused 1 'data_untrusted' at "$strangers"
    expect a_folder_of_another_above_it_too 1 'data_untrusted' at "$strangers/own"
    expect a_link_to_it_too 1 'data_untrusted' at "$work/linked/data"
    expect a_data_folder_that_others_write_to_too 1 'data_untrusted' at "$work/open"
    chmod 1777 "$work/open"
    expect even_a_sticky_one 1 'data_untrusted' at "$work/open"
    expect nothing_was_written_there 1 '' test -e "$strangers/run" -o -e "$strangers/own/run" -o -e "$work/open/run"
else
    echo "skip a_data_folder_of_another_is_refused: only root has to fear it"
fi

# As root: the daemons get the database's user, to whom what earlier starts wrote as root is handed over, once.
down() { kill -INT "${pids[-1]}"; wait "${pids[-1]}"; unset 'pids[-1]'; rm -f "$1.ready"; }
owners() { find "$three/blobs" "$three/scratch" -printf '%u\n' | sort -u | tr '\n' ' '; }
if [ "$(id -u)" != 0 ]; then
    echo "skip daemons_run_as_a_user: only root can give them one"
elif ! setpriv --reuid=postgres --regid=postgres --clear-groups test -x "$bin/kerf-server"; then
    echo "skip daemons_run_as_a_user: the programs lie where nobody but root may go"
else
    three=$work/three
    "$bin/kerf" phantom head --out "$work/head" --size 64x64x64 --spacing 3x3x3 >/dev/null 2>&1
    up "$three"
    expect a_case_is_made_as_root 0 '"case"' "$bin/kerf" check --ready-file "$three.ready" --data "$three" "$work/head"
    down "$three"
    expect everything_was_roots 0 '^root $' owners
    refused() { env "$@" "$bin/kerf" up --data "$three" --http 0 --dicom 0; }
    expect another_user_than_the_databases_is_refused 1 'user_differs' refused KERF_USER=nobody
    expect a_user_that_does_not_exist_is_named 1 'no_such_user' refused KERF_USER=nobody.at.all
    up "$three" KERF_USER=postgres
    daemons() { ps -o user=,comm= --ppid "${pids[-1]}" | sed -n 's/ \+kerf-/ kerf-/p' | sort | tr '\n' ';'; }
    expect the_daemons_are_no_root 0 '^postgres kerf-intake;postgres kerf-server;postgres kerf-workerd;$' daemons
    expect it_was_handed_over 0 '^postgres $' owners
    "$bin/kerf" phantom spine --out "$work/spine" --spacing 3x3x3 >/dev/null 2>&1
    expect a_case_is_made_as_the_user 0 '"case"' "$bin/kerf" check --ready-file "$three.ready" --data "$three" "$work/spine"
    expect what_root_wrote_is_whole 0 ' 0 bad$' "$bin/kerf" verify --data "$three"
    down "$three"
    expect nothing_of_roots_was_added 0 '^postgres $' owners
    expect root_itself_keeps_away 1 'data_of_another' refused KERF_USER=
    up "$three" KERF_USER=postgres
    expect and_the_user_comes_back 0 '"status"' curl -sf "$(sed -n 's/.*"http": "\(.*\)".*/\1/p' "$three.ready")/readyz"
fi
exit $failures

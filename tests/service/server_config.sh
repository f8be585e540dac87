#!/usr/bin/env bash
# kerf-server --check-config: a wrong setting is named before anything starts; a right one is called right.
# KERF_BIN: folder of our programs.
set -uo pipefail
bin=${KERF_BIN:?"KERF_BIN: the folder of the built programs"}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0
mkdir -p "$work/web" "$work/data"
echo '<!doctype html>' >"$work/web/index.html"
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
    -keyout "$work/key.pem" -out "$work/cert.pem" 2>/dev/null
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$work/other.pem" 2>/dev/null

# expect NAME STATUS WORD SETTING…: runs --check-config with these settings only; its output must hold the word.
expect() {
    local name=$1 wanted=$2 word=$3 out status
    shift 3
    out=$(env -i PATH="$PATH" KERF_DATA="$work/data" KERF_WEB_ROOT="$work/web" "$@" "$bin/kerf-server" --check-config 2>&1)
    status=$?
    if [ "$status" = "$wanted" ] && [[ $out == *"$word"* ]]; then
        echo "pass $name"
    else
        printf 'status %s: %s\n' "$status" "$out"
        echo "FAIL $name"
        failures=1
    fi
}
url=KERF_DATABASE_URL=postgresql:///none
expect good_settings_are_ok 0 ok $url
expect tls_with_its_files_is_ok 0 ok $url KERF_TLS_PORT=8443 KERF_TLS_CERT="$work/cert.pem" KERF_TLS_KEY="$work/key.pem"
expect a_missing_database_is_named 1 KERF_DATABASE_URL
expect tls_without_files_is_named 1 KERF_TLS_CERT $url KERF_TLS_PORT=8443
expect a_key_of_another_certificate_is_refused 1 key $url KERF_TLS_PORT=8443 KERF_TLS_CERT="$work/cert.pem" \
    KERF_TLS_KEY="$work/other.pem"
expect a_proxy_that_is_no_network_is_named 1 KERF_TRUSTED_PROXY $url KERF_TRUSTED_PROXY='10.0.0.1, proxy.example'
expect proxies_may_be_networks 0 ok $url KERF_TRUSTED_PROXY='10.0.0.0/8, ::1, loopback'
expect a_web_root_without_a_page_is_refused 1 'web application' $url KERF_WEB_ROOT="$work/data"
expect a_number_that_is_none_is_named 1 KERF_HTTP_PORT $url KERF_HTTP_PORT=eighty
exit $failures

#!/usr/bin/env bash
# DICOM TLS: mutual by default; nobody without a certificate of our authority, nobody in the clear on that port.
. "$(dirname "${BASH_SOURCE[0]}")/intake_lib.sh"
need echoscu storescu openssl psql
cd "$work"
issue() { # issue NAME AUTHORITY
    openssl req -newkey rsa:2048 -nodes -keyout "$1.key" -out "$1.csr" -subj "/CN=$1" 2>/dev/null &&
        openssl x509 -req -in "$1.csr" -CA "$2.crt" -CAkey "$2.key" -CAcreateserial -days 2 -out "$1.crt" 2>/dev/null
}
for ca in authority stranger; do
    openssl req -x509 -newkey rsa:2048 -nodes -keyout $ca.key -out $ca.crt -subj "/CN=$ca" -days 2 2>/dev/null
done
issue server authority && issue client authority && issue intruder stranger || fail certificates "openssl failed"

tls_settings="KERF_DICOM_TLS_PORT=$(free_port) KERF_DICOM_TLS_CERT=$work/server.crt KERF_DICOM_TLS_KEY=$work/server.key KERF_DICOM_TLS_CA=$work/authority.crt"
start_intake $tls_settings
secure() { # secure NAME AET
    timeout 60 echoscu -aet "$2" -aec KERF +tls "$1.key" "$1.crt" +cf authority.crt localhost "$tls_port" >"$work/echo.log" 2>&1
}
secure client SECURE && pass mutual || fail mutual "$(tail -2 "$work/echo.log")"
secure client TESTER && pass tls_is_open_to_plain_peers || fail tls_is_open_to_plain_peers "$(tail -2 "$work/echo.log")"
secure intruder SECURE && fail foreign_certificate "it was let in" || pass foreign_certificate
timeout 60 echoscu -aet SECURE -aec KERF +tla +cf authority.crt localhost "$tls_port" >/dev/null 2>&1 && fail no_certificate "it was let in" || pass no_certificate
timeout 60 echoscu -to 5 -aet SECURE -aec KERF localhost "$tls_port" >/dev/null 2>&1 && fail plain_on_tls "it was let in" || pass plain_on_tls
"$TOOLS/intake_series" "$work/s" 5 64 64 1
TCP_NODELAY=1 timeout 60 storescu -aet SECURE -aec KERF +tls client.key client.crt +cf authority.crt -R +sd localhost "$tls_port" "$work/s" &&
    pass store_over_tls || fail store_over_tls "storescu failed"
expect rows "$(sql "SELECT count(*) FROM kerf.instance")" 5
stop_intake

start_intake $tls_settings KERF_DICOM_TLS_CLIENT=0
timeout 60 echoscu -aet SECURE -aec KERF +tla +cf authority.crt localhost "$tls_port" && pass server_only || fail server_only "echoscu failed"
secure intruder SECURE && fail foreign_certificate_shown "it was let in" || pass foreign_certificate_shown
stop_intake

# A key that is not the certificate's: it does not start, and says why.
KERF_DICOM_PORT=0 KERF_DICOM_TLS_PORT=1 KERF_DICOM_TLS_CERT=server.crt KERF_DICOM_TLS_KEY=client.key KERF_DICOM_TLS_CA=authority.crt \
    timeout 60 "$BIN/kerf-intake" 2>&1 | grep -q dicom_tls_mismatch && pass mismatched_key || fail mismatched_key "no such reason"
finish

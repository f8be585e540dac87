#!/usr/bin/env bash
# HTTP beside nginx in the same run: a cached immutable small body and a 20 MB file, plain and over TLS. Rounds alternate
# between the two servers; medians and their ratio are printed, and the CPU time that each spent per request.
#   http.sh [SECONDS_PER_RUN [ROUNDS]]        KERF_BIN: folder of our programs (build/release/bin)
# Needs nginx, wrk, openssl. Everything that is started is ended. Exits 1 when a ratio is under its target.
set -uo pipefail
seconds=${1:-1}
rounds=${2:-5}
bin=${KERF_BIN:-$(cd "$(dirname "$0")/../.." && pwd)/build/release/bin}
for tool in nginx wrk openssl; do
    command -v "$tool" >/dev/null || { echo "skip http: $tool is missing"; exit 77; }
done
[ -x "$bin/http_bench_server" ] || { echo "skip http: $bin/http_bench_server is missing"; exit 77; }

work=$(mktemp -d)
nginx_pid='' kerf_pid=''
cleanup() {
    [ -n "$nginx_pid" ] && kill "$nginx_pid" 2>/dev/null
    exec 9>&-
    [ -n "$kerf_pid" ] && wait "$kerf_pid" 2>/dev/null
    rm -rf "$work"
}
trap cleanup EXIT
mkdir -p "$work/www/blobs" "$work/t"
head -c 20000000 /dev/urandom >"$work/www/blobs/big"
head -c 1024 /dev/urandom | base64 -w0 | head -c 1024 >"$work/www/blobs/small"

mkfifo "$work/in"
"$bin/http_bench_server" "$work/www/blobs" 4 "$work/cert.pem" "$work/key.pem" <"$work/in" >"$work/ports" 2>"$work/log" &
kerf_pid=$!
exec 9>"$work/in"
for _ in $(seq 50); do [ -s "$work/ports" ] && break; sleep 0.1; done
# shellcheck disable=SC1091
. "$work/ports" || exit 1

free_port() { python3 -c 'import socket; s=socket.socket(); s.bind(("127.0.0.1",0)); print(s.getsockname()[1])'; }
nginx_plain=$(free_port)
nginx_tls=$(free_port)
cat >"$work/nginx.conf" <<CONF
worker_processes 2; pid $work/nginx.pid; error_log $work/nginx.log; daemon off;
events { worker_connections 1024; }
http {
  access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_requests 100000000; open_file_cache max=100;
  default_type application/octet-stream;
  client_body_temp_path $work/t/b; proxy_temp_path $work/t/p; fastcgi_temp_path $work/t/f;
  uwsgi_temp_path $work/t/u; scgi_temp_path $work/t/s;
  ssl_certificate $work/cert.pem; ssl_certificate_key $work/key.pem; ssl_protocols TLSv1.2 TLSv1.3;
  server { listen 127.0.0.1:$nginx_plain; listen 127.0.0.1:$nginx_tls ssl; root $work/www; }
}
CONF
user=''
[ "$(id -u)" = 0 ] && user='user root;'
nginx -c "$work/nginx.conf" -g "$user" 2>>"$work/nginx.log" &
nginx_pid=$!
for _ in $(seq 50); do curl -s -o /dev/null "http://127.0.0.1:$nginx_plain/blobs/small" && break; sleep 0.1; done

# CPU seconds that a process and its children have used.
cpu() {
    local total=0 pid
    for pid in "$1" $(cat "/proc/$1/task/$1/children" 2>/dev/null); do
        total=$((total + $(awk '{print $14+$15}' "/proc/$pid/stat" 2>/dev/null || echo 0)))
    done
    echo "$total"
}
# requests per second of one run
rate() { wrk -t1 -c"$2" -d"${seconds}s" -H 'Cookie: kerf_session=bench' "$1" | awk '/Requests\/sec/{print $2}'; }
median() { sort -n | awk '{v[NR]=$1} END{print v[int((NR+1)/2)]}'; }

failed=0
printf '%-28s %12s %12s %7s %7s   %s\n' case nginx kerf ratio target 'CPU us per request (nginx, kerf)'
row() { # NAME TARGET CONNECTIONS FILE SCHEME NGINX_PORT KERF_PORT
    local name=$1 target=$2 connections=$3 file=$4 scheme=$5 n='' k='' r
    local nc kc c0 nsum=0 ksum=0 ncpu=0 kcpu=0
    for _ in $(seq "$rounds"); do
        c0=$(cpu "$nginx_pid"); r=$(rate "$scheme://127.0.0.1:$6/blobs/$file" "$connections")
        ncpu=$((ncpu + $(cpu "$nginx_pid") - c0)); n+="$r"$'\n'; nsum=$(echo "$nsum + $r" | bc)
        c0=$(cpu "$kerf_pid"); r=$(rate "$scheme://127.0.0.1:$7/blobs/$file" "$connections")
        kcpu=$((kcpu + $(cpu "$kerf_pid") - c0)); k+="$r"$'\n'; ksum=$(echo "$ksum + $r" | bc)
    done
    n=$(printf %s "$n" | median); k=$(printf %s "$k" | median)
    nc=$(echo "scale=1; $ncpu * 10000 / ($nsum * $seconds)" | bc); kc=$(echo "scale=1; $kcpu * 10000 / ($ksum * $seconds)" | bc)
    awk -v name="$name" -v n="$n" -v k="$k" -v t="$target" -v nc="$nc" -v kc="$kc" \
        'BEGIN{r=k/n; printf "%-28s %12.1f %12.1f %6.2fx %6.2fx   %s, %s%s\n", name, n, k, r, t, nc, kc, r<t ? "   UNDER TARGET" : ""; exit r<t}' || failed=1
}
row 'small GET, 1 client' 0.5 1 small http "$nginx_plain" "$plain"
row 'small GET, 16 clients' 0.5 16 small http "$nginx_plain" "$plain"
row '20 MB, 1 client' 0.8 1 big http "$nginx_plain" "$plain"
row '20 MB, 4 clients' 0.8 4 big http "$nginx_plain" "$plain"
row 'small GET, TLS, 16 clients' 0.4 16 small https "$nginx_tls" "$tls"
row '20 MB, TLS, 1 client' 0.8 1 big https "$nginx_tls" "$tls"
row '20 MB, TLS, 4 clients' 0.8 4 big https "$nginx_tls" "$tls"
exit "$failed"

# Shared by the scripts in deploy/ and tests/: saying what goes on, asking for root, installing packages, building.
# shellcheck shell=bash
kerf_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
kerf_started=$SECONDS

say() { printf '[%4ds] %s\n' $((SECONDS - kerf_started)) "$*" >&2; }

die() {
    printf 'kerf: %s\n' "$*" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "this needs root: run it as root, or install sudo and allow $(id -un) to use it"
    fi
}

# install_packages GROUP…: the packages of deploy/packages.txt in these groups that are not there yet.
install_packages() {
    command -v dpkg-query >/dev/null || die "this is no Debian: install what deploy/packages.txt lists by hand, then set KERF_SKIP_PACKAGES=1"
    [ "${KERF_SKIP_PACKAGES:-}" = 1 ] && return
    local missing=() group name
    while read -r group name; do
        case " $* " in *" $group "*) ;; *) continue ;; esac
        dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || missing+=("$name")
    done < <(grep -v '^#' "$kerf_root/deploy/packages.txt")
    case " $* " in *" build "*)
        # Any Node 18 or newer will do for the web app, wherever it comes from.
        if ! node_is_new_enough; then missing+=(nodejs npm); elif ! command -v npm >/dev/null; then missing+=(npm); fi ;;
    esac
    [ ${#missing[@]} = 0 ] && return
    say "installing ${#missing[@]} packages: ${missing[*]}"
    keep_services_down
    local log
    log=$(mktemp)
    if ! { as_root apt-get update -q && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q \
        --no-install-recommends -o Dpkg::Options::=--force-confold "${missing[@]}"; } >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        rm -f "$log"
        services_as_before
        die "apt-get could not install the packages named above; its last lines are shown"
    fi
    rm -f "$log"
    services_as_before
}

node_is_new_enough() {
    command -v node >/dev/null && [ "$(node -p 'parseInt(process.versions.node)' 2>/dev/null || echo 0)" -ge 18 ]
}

# Debian starts what it installs. Kerf runs its own PostgreSQL, so the package must neither make nor start a cluster;
# the same holds for the peers of the benchmarks. Undone as soon as apt-get has finished.
keep_services_down() {
    if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
        as_root mkdir -p /etc/postgresql-common
        echo 'create_main_cluster = false' | as_root tee /etc/postgresql-common/createcluster.conf >/dev/null
    fi
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        printf '#!/bin/sh\nexit 101\n' | as_root tee /usr/sbin/policy-rc.d >/dev/null
        as_root chmod 755 /usr/sbin/policy-rc.d
        kerf_policy_made=1
    fi
}

services_as_before() {
    [ "${kerf_policy_made:-}" = 1 ] && as_root rm -f /usr/sbin/policy-rc.d
    kerf_policy_made=
}

# build_kerf PRESET [TARGET…]: configures and builds into build/PRESET.
build_kerf() {
    local preset=$1 dir=$kerf_root/build/$1 log
    shift
    log=$(mktemp)
    say "building ($preset)"
    if ! (cd "$kerf_root" && cmake --preset "$preset" ${KERF_CMAKE_ARGS:-} && cmake --build "$dir" ${1:+--target "$@"}) >"$log" 2>&1; then
        grep -E 'error|Error|FAILED|missing' "$log" | head -n 30 >&2
        tail -n 5 "$log" >&2
        rm -f "$log"
        die "the build failed; the lines above say where"
    fi
    rm -f "$log"
}

# build_web: web/dist from web/, only when something in web/ has changed since.
build_web() {
    local web=$kerf_root/web stamp=$kerf_root/web/dist/.built-from now log
    now=$(cd "$web" && find . \( -name node_modules -o -name dist \) -prune -o -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum)
    [ "$(cat "$stamp" 2>/dev/null)" = "$now" ] && return
    say "building the web app"
    log=$(mktemp)
    # Not `npm ci`: from a lock file that names no registry, npm 11 cannot match packages of other platforms. This installs
    # exactly what the lock file pins, too.
    if ! (cd "$web" && npm install --no-save --no-audit --no-fund && npm run build) >"$log" 2>&1; then
        tail -n 30 "$log" >&2
        rm -f "$log"
        die "the web app could not be built; the lines above say why"
    fi
    rm -f "$log"
    echo "$now" >"$stamp"
}

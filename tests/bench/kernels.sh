#!/usr/bin/env bash
# Kernels beside their peers, one after the other in one run: `tests/bench/kernels.sh [NAME…]`, from build/release.
#
# Everything in it prints lines of ten fields, separated by tabs:
#   bench NAME SIZE THREADS PEER PEER_MS OUR_MS RATIO TARGET NOTE
# and the end of the run makes a table of them. To add a kernel, add a line to `rows`; to add a program of its own, add it
# to `others`: it is run as PROGRAM HEAD256.nii HEAD512.nii THREADS and prints such lines (NAME may be that of a program).
# KERF_BENCH_S: seconds after which no further pair is started (600); 90 s later what still runs is stopped. The other
# programs then get as long again. KERF_BENCH_DATA: where the volumes are kept.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
bin=build/release/bin
data=${KERF_BENCH_DATA:-build/release/bench}
limit=${KERF_BENCH_S:-600}
others=(bench_mesh bench_register bench_deform)
wanted=" $* "

# name | what to ask for | our program | its peer | edge of the cube in head256, head512 (0: whole, -: none) | target
rows='
threshold|threshold|bench_image|bench_peer_image|0|0|10
otsu|otsu|bench_image|bench_peer_image|0|0|-
components+relabel|components|bench_image|bench_peer_image|0|0|8
fill-holes|fill|bench_image|bench_peer_image|0|0|8
closing-r2|closing|bench_image|bench_peer_image|0|0|60
closing-r4|closing4|bench_image|bench_peer_image|0|0|60
closing-r8|closing8|bench_image|bench_peer_image|0|0|60
bias-n4|bias|bench_image|bench_peer_image|0|-|-
distance|distance|bench_image|bench_peer_image|0|0|5
median|median|bench_image|bench_peer_image|0|0|100
gaussian|gaussian|bench_image|bench_peer_image|0|0|15
gradient|gradient|bench_image|bench_peer_image|0|0|25
diffusion|diffusion|bench_image|bench_peer_image|0|0|40
resample-linear|linear|bench_image|bench_peer_image|0|0|3
resample-nearest|nearest|bench_image|bench_peer_image|0|0|3
resample-cubic|cubic|bench_image|bench_peer_image|0|0|3
fast-marching|march|bench_regions|bench_peer_regions|0|160|10
watershed|watershed|bench_regions|bench_peer_regions|0|160|5
grow-from-seeds-6|grow6|bench_regions|bench_peer_regions|0|160|5
grow-from-seeds-26|grow26|bench_regions|bench_peer_regions|0|160|5
graph-cut|cut|bench_regions|peer_maxflow|128|128|2.5
random-walker|walk|bench_regions|recorded|128|128|15
'
serial='fast-marching watershed grow-from-seeds-6 grow-from-seeds-26 graph-cut' # their peers know one thread: run once
peer_names='bench_peer_image ITK bench_peer_regions ITK peer_maxflow BK recorded skimage'

build() {
    local targets=(bench_image bench_regions bench_phantom)
    for target in bench_peer_image bench_peer_regions peer_maxflow "${others[@]}"; do
        if ninja -C build/release -t query "$target" >/dev/null 2>&1; then targets+=("$target"); fi
    done
    cmake --build build/release --target "${targets[@]}" >&2
    mkdir -p "$data"
    for size in 256 512; do
        [ -s "$data/head$size.labels.nii" ] || "$bin/bench_phantom" $size "$data/head$size.nii"
    done
}

line() { printf 'bench\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$@"; }

# Runs a program with what is left of the time.
in_time() { timeout $((SECONDS < limit + 85 ? limit + 90 - SECONDS : 5)) "$@"; }

least() { sort -g | head -n 1; }

# Peer, ours, peer, ours: the least of each. On head512, and where the peer knows only one thread, the peer runs once.
declare -A known
pair() {
    local name=$1 ask=$2 ours=$3 peer=$4 size=$5 edge=$6 target=$7 threads=$8 volume=$data/head$5.nii
    local got our='' his='' bytes=0 input=1 label=head$size round who repeats=1
    [ "$ours" != bench_image ] || [ "$size" = 512 ] || repeats=3
    [ "$edge" = 0 ] || label=head$size/$edge
    who=$(set -- $peer_names; while [ "$1" != "$peer" ]; do shift 2; done; echo "$2")
    case $name in grow-*) who=Dijkstra ;; esac
    case " $serial " in *" $name "*) his=${known[$name $size]:-} ;; esac
    for round in 1 2; do
        if [ -x "$bin/$peer" ] && { [ -z "$his" ] || { [ $round = 2 ] && [ "$size" = 256 ] && [ "$ours" = bench_image ]; }; }; then
            got=$(in_time "$bin/$peer" "$volume" "$ask" "$threads" 1 "$edge" 2>/dev/null) && his+="${got%% *}"$'\n'
        fi
        got=$(in_time "$bin/$ours" "$volume" "$ask" "$threads" $repeats "$edge") || {
            line "$name" "$label" "$threads" "$who" - - - "$target" failed
            return
        }
        read -r got bytes input _ <<<"$got"
        our+="$got"$'\n'
    done
    our=$(printf %s "$our" | least)
    his=$(printf %s "$his" | least)
    known[$name $size]=$his
    # scikit-image is not always there: its recorded 2438 ns per voxel stand in, and the line says so.
    [ "$peer" != recorded ] || his=$(awk -v b="$input" 'BEGIN { printf "%.0f", 2438e-6 * b / 3 }')
    line "$name" "$label" "$threads" "$who" "${his:--}" "$our" \
        "$(awk -v p="${his:-0}" -v o="$our" 'BEGIN { if (p > 0) printf "%.2f", p / o; else printf "-" }')" "$target" \
        "$(awk -v b="$bytes" -v i="$input" -v r="$peer" 'BEGIN {
            printf "%.1fx input, %.0f MB%s", b / i, b / 1e6, r == "recorded" ? ", peer recorded" : "" }')$([ -n "$his" ] || echo ", no peer")"
}

run_rows() {
    local size=$1 threads=$2 name ask ours peer small large target edge
    while IFS='|' read -r name ask ours peer small large target; do
        [ -n "$name" ] || continue
        [ "$wanted" = "  " ] || [[ $wanted == *" $name "* ]] || continue
        edge=$([ "$size" = 256 ] && echo "$small" || echo "$large")
        [ "$edge" != - ] || continue
        if [ $SECONDS -ge "$limit" ]; then
            line "$name" "head$size" "$threads" - - - - "$target" "not run: out of time"
            continue
        fi
        pair "$name" "$ask" "$ours" "$peer" "$size" "$edge" "$target" "$threads"
    done <<<"$rows"
}

run_others() {
    local program
    for program in "${others[@]}"; do
        [ -x "$bin/$program" ] || continue
        [ "$wanted" = "  " ] || [[ $wanted == *" $program "* ]] || continue
        in_time "$bin/$program" "$data/head256.nii" "$data/head512.nii" "$1" | grep -P '^bench\t' ||
            line "$program" - "$1" - - - - - failed
    done
}

table() {
    awk -F '\t' 'BEGIN { f = "%-20s %-12s %2s  %-8s %10s %10s %8s %7s %-7s %s\n"
            printf f, "kernel", "volume", "T", "peer", "peer ms", "our ms", "ratio", "target", "", "memory, notes" }
        $1 == "bench" { met = ($8 == "-" || $9 == "-") ? "" : $8 + 0 >= $9 + 0 ? "ok" : "missed"
            printf f, $2, $3, $4, $5, $6, $7, $8, $9, met, $10; count[met]++ }
        END { printf "%d ok, %d missed\n", count["ok"], count["missed"] }' "$1"
}

build
SECONDS=0
lines=$(mktemp)
trap 'rm -f "$lines"' EXIT
for size in 256 512; do
    for threads in 1 2; do
        run_rows $size $threads
    done
done | tee "$lines" >&2
rows_s=$SECONDS SECONDS=0
for threads in 1 2; do run_others $threads; done | tee -a "$lines" >&2
table "$lines"
echo "$((rows_s + SECONDS)) s"
! grep -q 'failed$' "$lines"

#!/bin/sh
# Jobs that take a foreign mesh, given ones that nobody means well with (hostile_make.c): each ends within its bound,
# with a result or a refusal by name, and hears a cancel meanwhile. Bounds are some ten times what it takes on two cores.
# Usage: mesh_hostile_job.sh KERF_JOB HOSTILE_MAKE
set -u
job=$1
make=$2
# shellcheck source=tests/kernel/lib.sh
. "$(dirname "$0")/lib.sh"

for shape in fan spindle same book thread queue swarm heap; do
    "$make" $shape 1000000 "$work/$shape.ply" || exit 1
done
for shape in far nowhere; do
    "$make" $shape 1 "$work/$shape.ply" || exit 1
done

# repair SECONDS SHAPE [PARAMETER…]
repair() {
    bound=$1 shape=$2
    shift 2
    timeout "$bound" "$job" repair --mesh "$work/$shape.ply" --out "$work/$shape.stl" \
        --certificate "$work/$shape.json" --quiet --threads 2 "$@"
}
# refused CODE COMMAND…: fails and names CODE
refused() {
    code=$1
    shift
    ! "$@" 2>"$work/why" && grep -q "\[$code\]" "$work/why"
}
says() { grep -q "$2" "$work/$1.json"; }

expect a_fan_is_repaired_as_far_as_that_goes repair 150 fan
expect its_intersections_are_said_to_be_unknown says fan '"self_intersections": null'
expect a_spindle_is_checked repair 150 spindle
expect it_is_closed_and_manifold says spindle '"manifold": true'
expect one_triangle_a_million_times_is_dropped refused nothing_left repair 60 same
expect triangles_at_one_edge_are_parted refused nothing_left repair 60 book
expect triangles_on_a_line_are_looked_at repair 60 thread
expect pieces_behind_each_other_are_refused refused mesh_intricate repair 300 queue
expect pieces_beside_rays_are_refused refused mesh_intricate repair 300 swarm
expect triangles_through_each_other_are_looked_at repair 150 heap --hole-edges 0
expect what_is_too_far_away_is_refused refused mesh_far repair 10 far
expect what_is_nowhere_is_refused refused ply_format repair 10 nowhere

compare() {
    bound=$1 first=$2 second=$3
    shift 3
    timeout "$bound" "$job" compare.mesh --a "$work/$first.ply" --b "$work/$second.ply" --quiet --threads 2 "$@"
}
expect a_heap_is_not_measured refused mesh_intricate compare 300 same spindle --spacing-mm 0
expect samples_without_end_are_refused refused mesh_intricate compare 60 heap heap --spacing-mm 0.001
expect what_is_too_far_away_is_not_measured refused mesh_far compare 10 far far

# cancelled COMMAND…: is told to stop after a second, and has stopped, with nothing written, some 10 s later at most.
cancelled() {
    "$@" 2>"$work/why" &
    pid=$!
    sleep 1
    kill -TERM $pid || return 1
    for _ in $(seq 100); do
        kill -0 $pid 2>/dev/null || break
        sleep 0.1
    done
    ! kill -0 $pid 2>/dev/null || { kill -KILL $pid; return 1; }
    ! wait $pid && grep -qi cancel "$work/why" && [ ! -e "$work/out.stl" ] && [ ! -e "$work/out.json" ]
}
expect a_repair_hears_a_cancel cancelled "$job" repair --mesh "$work/queue.ply" --out "$work/out.stl" \
    --certificate "$work/out.json" --quiet --threads 2
expect a_comparison_hears_a_cancel cancelled "$job" compare.mesh --a "$work/same.ply" --b "$work/fan.ply" \
    --out "$work/out.json" --quiet --threads 2
exit $failed

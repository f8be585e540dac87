# Sourced by job_*.sh: wants $work and failed=0.

# expect NAME COMMAND…: the command must succeed
expect() {
    name=$1
    shift
    if "$@" >"$work/log" 2>&1; then
        echo "pass $name"
    else
        echo "FAIL $name: $(tail -c 300 "$work/log")"
        failed=1
    fi
}

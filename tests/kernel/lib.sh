# shellcheck shell=sh
# Sourced by the scripts of this folder that make several checks: a folder $work that goes when they end, and $failed.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

# expect NAME COMMAND…: the command must succeed
expect() {
    name=$1
    shift
    # The sanitizer that looks for leaks gives up at times where the machine is busy, and then says nothing of the program.
    if "$@" >"$work/log" 2>&1 || { grep -q 'LeakSanitizer has encountered a fatal error' "$work/log" && "$@" >"$work/log" 2>&1; }; then
        echo "pass $name"
    else
        echo "FAIL $name: $(tail -c 300 "$work/log")"
        failed=1
    fi
}

# fails CODE COMMAND…: the command must fail and name CODE; what it said is in $work/why
fails() {
    code=$1
    shift
    if "$@" >"$work/why" 2>&1; then
        echo "it succeeded"
        return 1
    fi
    cat "$work/why"
    grep -q "\[$code\]" "$work/why"
}

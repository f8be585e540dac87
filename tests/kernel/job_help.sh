#!/bin/sh
# `kerf-job KIND --help` of every kind: each parameter says its unit or that it has none, its default and what it does;
# each flag says what it does; an --image may be a folder of DICOM. Usage: job_help.sh KERF_JOB
set -u
job=$1
# shellcheck source=tests/kernel/lib.sh
. "$(dirname "$0")/lib.sh"

# lines FILE: complaints about a help page.
lines() {
    awk '
        function sentence(text) { return text ~ /^      [A-Za-z0-9].*[.]$/ && split(text, words, " ") >= 3 }
        waiting { if (!sentence($0)) print "no explanation of " waiting; waiting = "" }
        /^Examples:/ { exit }
        /^Parameters:/ { params = 1; next }
        /^Files:/ { files = 1; next }
        params && /^  --/ {
            if ($0 !~ /^  --[a-z0-9_]+ (NUMBER|INTEGER|true\|false|TEXT) \[[^]]+\], default ("[^"]*"|[-+.e0-9]+|true|false)(, [-+.e0-9]+ to [-+.e0-9]+)?$/)
                print "no unit or default: " $0
            if ($1 ~ /_(mm|mm3|ml|hu|deg|s)$/) {
                unit = $1; sub(/.*_/, "", unit)
                if (index(tolower($0), "[" unit "]") == 0) print "another unit than its name: " $0
            }
            waiting = $1; count++
        }
        !params && files && /^  --/ { waiting = $1 }
        END { if (waiting) print "no explanation of " waiting; print count + 0 >"/dev/stderr" }' "$1" 2>"$2"
}

"$job" --describe >"$work/kinds.json" || exit 1
for kind in $("$job" --help | sed -n '/^Kinds:/,$s/^  \([a-z.]*\) .*/\1/p'); do
    "$job" "$kind" --help >"$work/help" || { echo "FAIL help_of_$kind"; failed=1; continue; }
    lines "$work/help" "$work/count" >"$work/complaints"
    # What is described to the server and what the page shows are as many.
    described=$(awk -v kind="\"$kind\"," '$1 == "\"name\":" && $2 == kind && !inside { inside = 1 }
        inside && /"params"/ { params = 1 } inside && params && $1 == "\"unit\":" { n++ }
        inside && params && (/^      \]/ || /"params": \[\]/) { exit } END { print n + 0 }' "$work/kinds.json")
    [ "$kind" != mesh ] || [ "$described" -ge 5 ] || echo "the parameters were not counted" >>"$work/complaints"
    [ "$(cat "$work/count")" = "$described" ] || echo "$(cat "$work/count") parameters shown, $described described" >>"$work/complaints"
    if grep -q '^  --image ' "$work/help" && ! grep -q '^  --image IMAGE|DICOM_FOLDER' "$work/help"; then
        echo "--image takes no folder of DICOM (KF_CLI_VOLUME)" >>"$work/complaints"
    fi
    if [ -s "$work/complaints" ]; then
        cat "$work/complaints"
        echo "FAIL help_of_$kind"
        failed=1
    else
        echo "pass help_of_$kind"
    fi
done
exit $failed

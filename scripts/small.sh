#!/bin/sh
# Run the tests on one core, in 512 MiB for all that they start: servers, PostgreSQL, browser, npm. Says the peaks.
#
#     scripts/small.sh [FOLDER or FILE …]        # else all of tests/, part after part: some 30 minutes
#
# Each part is a pytest of its own in a memory cgroup (v1 or v2) without swap: the kernel kills what needs more, and the
# part has failed. It needs Linux, and root to make the cgroup. A peak is all that is charged to the part but the pages
# of files, which the kernel takes back when it needs them; it is looked at five times a second.
set -u
cd "$(dirname "$0")/.."

LIMIT_MIB=512
limit=$((LIMIT_MIB << 20))

if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
    root=/sys/fs/cgroup maximum=memory.max swap="memory.swap.max 0" used=memory.current kills=memory.events
    echo +memory >$root/cgroup.subtree_control
else
    root=/sys/fs/cgroup/memory maximum=memory.limit_in_bytes swap="memory.memsw.limit_in_bytes $limit"
    used=memory.usage_in_bytes kills=memory.oom_control
fi
group=$root/headgate-small-$$
mkdir "$group" || { echo "small.sh cannot make a memory cgroup here: it needs Linux and root." >&2; exit 1; }
rmdir "$group"
report=$(mktemp)
trap 'rm -f "$report"' EXIT

parts() { # one a line; of `llm`, `api` and `e2e` several, since what a process has imported it keeps
    for folder in tests/*/; do
        case $folder in
            tests/llm/) ls tests/llm/test_token*.py | xargs; ls tests/llm/test_*.py | grep -v test_token | xargs -n 11 ;;
            tests/api/) echo tests/api/auth; ls tests/api/test_*.py | xargs -n 12 ;;
            tests/e2e/) ls tests/e2e/test_*.py | xargs -n 6 ;;
            *) ! ls "$folder"test_*.py >/dev/null 2>&1 || echo "$folder" ;;
        esac
    done
    ls tests/test_*.py | xargs -n 6
}

charged() { # MiB that the kernel cannot take back
    awk -v used="$(cat "$group/$used")" '$1 ~ /^total_/ { v1 = "total_" }
        { of[$1] = $2 }
        END { print int((used - of[v1 "active_file"] - of[v1 "inactive_file"]) / 1048576) }' "$group/memory.stat"
}

run() { # run FOLDER or FILE…
    mkdir "$group"
    echo $limit >"$group/$maximum"
    [ ! -e "$group/${swap% *}" ] || echo "${swap#* }" >"$group/${swap% *}"
    # Ctrl-C is asked of some tests, and a shell's job in the background would ignore it.
    sh -c 'echo $$ >"$0/cgroup.procs" && exec env --default-signal=INT,QUIT taskset -c 0 .venv/bin/python -m pytest -q "$@"' "$group" "$@" </dev/null &
    peak=0
    while kill -0 $! 2>/dev/null; do
        now=$(charged)
        [ "$now" -le $peak ] || peak=$now
        sleep 0.2
    done
    wait $!
    code=$? killed=$(awk '$1 == "oom_kill" { print $2 }' "$group/$kills")
    [ "$code$killed" = 00 ] && said=passed || said="FAILED (exit code $code, killed for memory: $killed)"
    echo "$said, peak $peak of $LIMIT_MIB MiB: $*" | tee -a "$report"
    until rmdir "$group" 2>/dev/null; do # what the part has left behind ends with it
        xargs -r kill -9 <"$group/cgroup.procs" 2>/dev/null
        sleep 0.2
    done
}

if [ $# -gt 0 ]; then
    run "$@"
else
    # shellcheck disable=SC2086  # a part is a list of files
    parts | while read -r part; do run $part; done
    printf '\n%s\n' "$(cat "$report")"
fi
! grep -q ^FAILED "$report"

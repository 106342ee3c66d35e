#!/bin/sh
# See that the programs are there that some tests want: a browser for pages, a pooler for PostgreSQL; by apt-get where
# that is there and we are root.
#
# Where they are there already this takes no time. It never fails: the tests that want a program and find none say so
# loudly, and fail under CI=true. What was tried, and what to do, is said here.
set -u

APT_SECONDS_MAX=420

said=$(mktemp)
trap 'rm -f "$said"' EXIT

apt() {
    DEBIAN_FRONTEND=noninteractive timeout "$APT_SECONDS_MAX" apt-get -qq -o Acquire::Retries=3 \
        -o Acquire::http::Timeout=30 -o DPkg::Lock::Timeout=60 "$@" >"$said" 2>&1 </dev/null
}

# see_to PACKAGE TESTS ADVICE NAME...: whichever program of these names is there will do.
see_to() {
    package=$1 tests=$2 advice=$3
    shift 3
    for name; do
        command -v "$name" >/dev/null && return
    done
    command -v apt-get >/dev/null || { without "there is none here, and no apt-get to install one with."; return; }
    [ "$(id -u)" = 0 ] || { without "there is none here, and apt-get needs root: sudo apt-get install $package"; return; }
    echo "Installing $package for the tests of $tests" >&2
    apt install -y --no-install-recommends "$package" && return
    # Its lists may be old, or not there at all.
    apt update || { tail -n 5 "$said" >&2; without "apt-get update failed (see above); is there a network?"; return; }
    apt install -y --no-install-recommends "$package" && return
    tail -n 5 "$said" >&2
    without "apt-get install $package failed (see above); if it was the network, say \`make test\` again."
}

without() {
    printf 'No %s for the tests of %s: %s\n' "$package" "$tests" "$*" >&2
    printf 'All other tests run. %s\n' "$advice" >&2
}

see_to chromium pages 'Install Chromium, or name a browser: HEADGATE_TEST_BROWSER=/its/path make test' \
    ${HEADGATE_TEST_BROWSER:+"$HEADGATE_TEST_BROWSER"} chromium chromium-browser google-chrome google-chrome-stable chrome
see_to pgbouncer poolers 'Install PgBouncer.' pgbouncer /usr/sbin/pgbouncer
exit 0

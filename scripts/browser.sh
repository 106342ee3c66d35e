#!/bin/sh
# See that there is a browser for the tests that open pages: Chromium, by apt-get where that is there and we are root.
#
# Where there is one already this takes no time. It never fails: the tests that want a browser and find none say so
# loudly, and fail under CI=true. What was tried, and what to do, is said here.
set -u

APT_SECONDS_MAX=420

for name in ${HEADGATE_TEST_BROWSER:+"$HEADGATE_TEST_BROWSER"} chromium chromium-browser google-chrome \
    google-chrome-stable chrome; do
    command -v "$name" >/dev/null && exit 0
done

without() {
    printf 'No browser for the tests of pages: %s\n' "$*" >&2
    printf 'All other tests run. Install Chromium, or name a browser: HEADGATE_TEST_BROWSER=/its/path make test\n' >&2
    exit 0
}

command -v apt-get >/dev/null || without "there is none here, and no apt-get to install one with."
[ "$(id -u)" = 0 ] || without "there is none here, and apt-get needs root: sudo apt-get install chromium"

said=$(mktemp)
trap 'rm -f "$said"' EXIT

apt() {
    DEBIAN_FRONTEND=noninteractive timeout "$APT_SECONDS_MAX" apt-get -qq -o Acquire::Retries=3 \
        -o Acquire::http::Timeout=30 -o DPkg::Lock::Timeout=60 "$@" >"$said" 2>&1 </dev/null
}

echo "Installing Chromium for the tests of pages" >&2
apt install -y --no-install-recommends chromium && exit 0
# Its lists may be old, or not there at all.
apt update || { tail -n 5 "$said" >&2; without "apt-get update failed (see above); is there a network?"; }
apt install -y --no-install-recommends chromium && exit 0
tail -n 5 "$said" >&2
without "apt-get install chromium failed (see above); if it was the network, say \`make test\` again."

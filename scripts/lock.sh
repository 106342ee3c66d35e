#!/bin/sh
# Write requirements/*.txt anew: the newest versions that pyproject.toml allows, with hashes, for every platform
# and Python that we support. With package names as arguments only those move: `scripts/lock.sh jinja2`.
#
# The files hold no index address and no path, so that they work behind any mirror; what the environment would add
# (extra indexes, find-links) is dropped here, and tests/test_house.py reads what came out.
set -eu
cd "$(dirname "$0")/.."

command -v uv >/dev/null || { echo "lock.sh needs uv (https://docs.astral.sh/uv/): pip install uv" >&2; exit 1; }
unset UV_FIND_LINKS PIP_FIND_LINKS UV_EXTRA_INDEX_URL PIP_EXTRA_INDEX_URL

upgrade="--upgrade"
if [ $# -gt 0 ]; then
    upgrade=""
    for package in "$@"; do upgrade="$upgrade --upgrade-package $package"; done
fi

lock() { # lock NAME SOURCE…: requirements/NAME.txt from what SOURCE names
    name=$1
    shift
    # shellcheck disable=SC2086  # $upgrade is a list of words
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --custom-compile-command "make lock" --output-file "requirements/$name.txt" $upgrade "$@"
}

lock base pyproject.toml
lock postgres --extra postgres --constraint requirements/base.txt pyproject.toml
lock build --group build
lock dev --all-extras --constraint requirements/base.txt --constraint requirements/build.txt pyproject.toml --group build --group dev

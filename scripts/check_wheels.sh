#!/bin/sh
# Say which locked base requirements have no wheel for small machines: 64-bit and 32-bit ARM, CPython 3.11 to 3.13.
#
# Each is looked for by itself, with pip's own rules, and nothing is installed. A line per requirement that would have
# to be compiled there; ends with 1 if there is one. Requirements given as arguments are looked for, too.
# docs/LIMITS.md says what was found.
set -u
cd "$(dirname "$0")/.."

python=${PYTHON:-.venv/bin/python}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
missing=0

requirements=$(sed -n "/== 'emscripten'/d; s/^\([a-z0-9][a-z0-9._-]*==[^ ]*\) .*/\1/p" requirements/base.txt)

platforms() { # platforms MACHINE: every glibc from that of 2014 to that of Debian 12
    for minor in $(seq 36 -1 17); do printf -- '--platform manylinux_2_%s_%s ' "$minor" "$1"; done
    printf -- '--platform manylinux2014_%s' "$1"
}

for machine in aarch64 armv7l; do
    for version in 3.11 3.12 3.13; do
        for requirement in $requirements "$@"; do
            # shellcheck disable=SC2046  # a list of words
            "$python" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: \
                --implementation cp --python-version "$version" $(platforms "$machine") \
                --dest "$folder" "$requirement" >/dev/null 2>&1 && continue
            echo "$machine, CPython $version: no wheel of $requirement"
            missing=1
        done
    done
done
exit $missing

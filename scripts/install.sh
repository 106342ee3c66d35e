#!/bin/sh
# Make .venv and install the named lock files (requirements/NAME.txt) and Headgate itself into it.
#
# Uses uv where it is, else venv and pip. Installs nothing without a hash and builds without a network; a second call
# finds everything in place. When something is missing the last line says what, and what to do.
set -eu
cd "$(dirname "$0")/.."

PYTHON_MIN="3.11"
python=.venv/bin/python
report=$(mktemp)
trap 'rm -f "$report"' EXIT

missing() {
    printf '\nHeadgate cannot be set up: %s\n' "$*" >&2
    exit 1
}

new_enough() { # new_enough PYTHON: is it there, does it start, and is it of a version that we support?
    "$1" -c "import sys; sys.exit(sys.version_info < tuple(map(int, '$PYTHON_MIN'.split('.'))))" >/dev/null 2>&1
}

system_python() {
    for candidate in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11 python; do
        if new_enough "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
}

make_venv() {
    found=$(system_python)
    if command -v uv >/dev/null; then
        uv venv --quiet --clear --python "${found:->=$PYTHON_MIN}" .venv ||
            missing "uv found no Python $PYTHON_MIN or newer and could not fetch one. Install Python, or say PYTHON=/its/path."
    elif [ -z "$found" ]; then
        missing "it needs Python $PYTHON_MIN or newer, and here is $(python3 --version 2>/dev/null || echo 'no python3')." \
            "Install one, or say where it is: PYTHON=/its/path make …"
    elif ! "$found" -c 'import venv, ensurepip' 2>/dev/null; then
        missing "$found has no venv module. On Debian and Ubuntu: apt install python3-venv. Or install uv."
    else
        "$found" -m venv --clear .venv || missing "$found -m venv failed, see above."
    fi
}

install() {
    if command -v uv >/dev/null; then
        uv pip install --quiet --python "$python" "$@" 2>"$report"
    else
        "$python" -m pip install --quiet --disable-pip-version-check "$@" 2>"$report"
    fi || explain_failure
}

explain_failure() {
    cat "$report" >&2
    if grep -qiE 'from versions: none|name resolution|getaddrinfo|dns error|connection (refused|reset)|timed out|unreachable|error sending request' "$report"; then
        missing "the package index cannot be reached (see above). It needs a network once; behind a mirror or proxy" \
            "set PIP_INDEX_URL (UV_DEFAULT_INDEX for uv) or HTTPS_PROXY."
    fi
    missing "installing its requirements failed, see above."
}

if ! new_enough "$python"; then
    echo "Setting up .venv" >&2
    make_venv
elif ! command -v uv >/dev/null && ! "$python" -m pip --version >/dev/null 2>&1; then
    # uv had made it, without pip, and is no longer here.
    "$python" -m ensurepip >/dev/null 2>&1 || missing "pip is not in .venv. Say \`make clean\` and try again, or install uv."
fi

for name in "$@"; do
    echo "Installing requirements/$name.txt" >&2
    install --require-hashes --requirement "requirements/$name.txt"
done
install --no-deps --no-build-isolation --editable .

#!/bin/sh
# Install Headgate from this checkout into a new virtual environment that has no pip:
#
#     deploy/install.sh FOLDER [base|postgres]
#
# Everything is of the named lock file and must have its hash. The image, the systemd unit's /opt/headgate and the
# figure in deploy/README.md are made by it. PYTHON names the interpreter.
set -eu
cd "$(dirname "$0")/.."

folder=$1
requirements=${2:-base}
python=${PYTHON:-python3}
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT

"$python" -m venv "$tools/venv"
pip="$tools/venv/bin/python -m pip --quiet --disable-pip-version-check --no-cache-dir"
$pip install --require-hashes --requirement requirements/build.txt
$pip wheel --no-deps --no-build-isolation --wheel-dir "$tools/wheel" .

"$python" -m venv --without-pip "$folder"
$pip --python "$folder/bin/python" install --require-hashes --requirement "requirements/$requirements.txt"
$pip --python "$folder/bin/python" install --no-deps --no-index "$tools"/wheel/*.whl

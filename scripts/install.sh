#!/bin/sh
# Make the environment: torch first and pinned, then everything else under the same constraints.
#
# Asking for torch by its exact version first matters: any looser request, also by another package, may pull a build
# with gigabytes of CUDA libraries. On a machine with an NVIDIA GPU that build is the right one; elsewhere pip's CPU
# build is used where pip has one, and TORCH_INDEX can name an index of CPU builds.
set -eu
VENV=${VENV:-.venv}
PYTHON=${PYTHON:-python3}

"$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "unteach needs Python 3.11 or newer; this is $("$PYTHON" --version). Try: make PYTHON=python3.12 ..." >&2
    exit 2
}
[ -x "$VENV/bin/python" ] || "$PYTHON" -m venv "$VENV"
PIP="$VENV/bin/python -m pip --disable-pip-version-check"
torch=$(grep '^torch==' constraints.txt)
if ! $PIP show --quiet torch 2>/dev/null; then
    echo "installing $torch ..."
    $PIP install --quiet ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "$torch"
fi
echo "installing unteach and what it needs ..."
$PIP install --quiet --constraint constraints.txt --editable '.[embedded,dev]'

#!/usr/bin/env bash
# The oldest and the newest releases of what the package stands on, side by side:
#
#     tests/matrix.sh [FOLDER]
#
# Makes an environment for each line of ROWS in FOLDER (build/matrix), lets each write a model with
# its energies, forces and dipoles, and lets each read every other's: all agree to 1e-6. A line whose
# interpreter is not here, or whose packages do not install, is named and left out; with fewer than
# two the result is 1. torch is taken where pip finds it: on Linux show pip an index of CPU builds
# by PIP_FLAGS="--extra-index-url URL", or it brings several GB of CUDA packages for each line.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-build/matrix}
# name    interpreter  what is pinned; the rest is as new as that allows
ROWS="
oldest    python3.10   torch==2.10.0 e3nn==0.5.1 ase==3.23.0 rdkit==2023.9.1 numpy<2
middle    python3.11   torch==2.13.0 e3nn==0.5.1 ase==3.23.0 rdkit==2023.9.1 numpy==1.26.4
pinned    python3.11   -c constraints.txt
newest    python3.13   torch
next      python3.14   torch
"

# make_environment NAME INTERPRETER PIP-ARGUMENTS...
make_environment() {
    local place=$folder/$1 python=$2
    [ -x "$place/bin/python" ] && [ -e "$place/.whole" ] && return 0
    command -v "$python" > /dev/null || { echo "$1: there is no $python here"; return 1; }
    "$python" -m venv "$place"
    # shellcheck disable=SC2086
    if "$place/bin/python" -m pip install --quiet ${PIP_FLAGS:-} "${@:3}" . > "$place/log" 2>&1
    then touch "$place/.whole"
    else echo "$1: pip failed: $(tail -n 1 "$place/log")"; return 1
    fi
}

mkdir -p "$folder/models"
names=()
while read -r name python pins; do
    [ -n "$name" ] || continue
    # shellcheck disable=SC2086
    if make_environment "$name" "$python" $pins; then names+=("$name"); fi
done <<< "$ROWS"
for name in "${names[@]}"; do
    "$folder/$name/bin/python" tests/support/matrix_models.py write "$folder/models/$name"
done
for name in "${names[@]}"; do
    "$folder/$name/bin/python" tests/support/matrix_models.py compare "$folder/models"
done
[ "${#names[@]}" -ge 2 ]

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds the wheel, installs it in two fresh environments, and uses it from an empty folder: with
# Blender it builds one category, without any extra it reads and checks what was built.
# Everything is made in a temporary folder. Usage: [PYTHON=python3.11] tools/wheel_test.sh
set -euo pipefail

python=${PYTHON:-python3.11}
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/wheel_test.XXXXXX")
trap 'rm -rf "$work"' EXIT
unset PYTHONPATH  # the packages must come from the wheel
mkdir "$work/empty"
plain=$work/plain/bin blender=$work/blender/bin

# Runs a command, and shows what it printed only if it fails.
quietly() { "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }; }
say() { printf '%3d s  %s\n' "$SECONDS" "$*" >&2; }

say "building the wheel"
"$python" -m venv "$work/plain"
"$python" -m venv "$work/blender"
"$plain/python" -m pip wheel --quiet --disable-pip-version-check --no-deps \
    --wheel-dir "$work" "$root"
wheel=$(echo "$work"/intravariance-*.whl)
"$plain/python" - "$root" "$wheel" <<'PYTHON'
"""Every file of the four packages must be in the wheel, data files above all."""
import sys
import zipfile
from pathlib import Path

root = Path(sys.argv[1])
held = set(zipfile.ZipFile(sys.argv[2]).namelist())
packages = ("intravariance", "blender_scripts", "mc4ad_model", "annotations")
files = [path for name in packages for path in (root / name).rglob("*") if path.is_file()]
wanted = {str(path.relative_to(root)) for path in files if "__pycache__" not in path.parts}
missing = sorted(wanted - held)
if missing or not any(name.endswith(".toml") for name in wanted):
    sys.exit(f"the wheel lacks {len(missing)} of {len(wanted)} files: {', '.join(missing)}")
data = sum(not name.endswith(".py") for name in wanted)
print(f"       the wheel holds all {len(wanted)} files, {data} of them data", file=sys.stderr)
PYTHON

say "installing it without extras, and with Blender"
"$plain/python" -m pip install --quiet --disable-pip-version-check "$wheel"
"$blender/python" -m pip install --quiet --disable-pip-version-check "$wheel[blender]"

cd "$work/empty"
say "with Blender: one category is built and checked"
quietly "$blender/iv" build --group 2 --category cone --out cone.h5 --cache "$work/cache" --quiet
quietly "$blender/iv" verify cone.h5

say "without extras: the same file is read, checked, drawn and described"
"$plain/python" - "$work/plain" <<'PYTHON'
import sys
from importlib.util import find_spec
from pathlib import Path

import annotations
import intravariance
import mc4ad_model

for package in (annotations, intravariance, mc4ad_model):
    assert Path(package.__file__).is_relative_to(sys.argv[1]), package.__file__
extras = ("bpy", "torch", "open3d", "pyarrow", "sklearn")
assert not any(find_spec(name) for name in extras), "an extra is installed"
with intravariance.open_dataset("cone.h5") as dataset:
    assert dataset.categories == ["cone"], dataset.categories
    defective = [record for record in dataset if record.labels.any()]
    assert defective and len(defective) < len(dataset)
    assert all(len(record.points) == len(record.labels) for record in dataset)
PYTHON
quietly "$plain/iv" verify cone.h5
quietly "$plain/iv" card cone.h5 --out card.md
quietly "$plain/iv" preview cone.h5 --out sheet.png --quiet
status=0
"$plain/iv" train --data cone.h5 --out run 2>"$work/train.txt" || status=$?
if [ $status -ne 2 ] || ! grep -qF "pip install 'intravariance[model]'" "$work/train.txt"; then
    echo "iv train without torch: expected status 2 and the extra's name; status $status and" >&2
    cat "$work/train.txt" >&2
    exit 1
fi
say "done"

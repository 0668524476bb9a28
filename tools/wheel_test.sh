#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs a wheel in fresh environments and uses it from an empty folder: without any extra it
# imports scans, and checks, draws, describes and exports them; with Blender, for which Python must
# be 3.11, it builds one category, which the other environment reads.
# Everything is made in a temporary folder. Usage: [PYTHON=python3.11] tools/wheel_test.sh WHEEL
set -euo pipefail

wheel=$(realpath "${1:?usage: [PYTHON=python3.11] tools/wheel_test.sh WHEEL}")
python=${PYTHON:-python3.11}
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/iv_wheel.XXXXXX")
trap 'rm -rf "$work"' EXIT
unset PYTHONPATH  # the packages must come from the wheel
unset PYTHONDONTWRITEBYTECODE  # pip compiles nothing: what is imported is compiled once
mkdir "$work/empty"
plain=$work/plain/bin blender=$work/blender/bin

# Runs a command, and shows what it printed only if it fails.
quietly() { "$@" >"$work/log" 2>&1 || { echo "failed: $*" >&2; cat "$work/log" >&2; exit 1; }; }
say() { printf '%3d s  %s\n' "$SECONDS" "$*" >&2; }

say "$(basename "$wheel") on $("$python" --version): installing it without extras"
"$python" -m venv "$work/plain"
"$plain/python" - "$root" "$wheel" <<'PYTHON'
"""Every file of the four packages must be in the wheel, data files above all, and no other."""
import sys
import zipfile
from pathlib import Path

root = Path(sys.argv[1])
held = {name for name in zipfile.ZipFile(sys.argv[2]).namelist() if ".dist-info/" not in name}
packages = ("intravariance", "blender_scripts", "mc4ad_model", "annotations")
files = [path for name in packages for path in (root / name).rglob("*") if path.is_file()]
wanted = {str(path.relative_to(root)) for path in files if "__pycache__" not in path.parts}
if wanted != held or not any(name.endswith(".toml") for name in wanted):
    sys.exit(f"the wheel lacks {sorted(wanted - held)}, and has {sorted(held - wanted)} besides")
data = sum(not name.endswith(".py") for name in wanted)
print(f"       the wheel holds all {len(wanted)} files, {data} of them data", file=sys.stderr)
PYTHON
"$plain/python" -m pip install --quiet --disable-pip-version-check --no-compile "$wheel"

cd "$work/empty"
say "without extras: scans are imported, checked, drawn, described and exported"
"$plain/python" - "$work/plain" <<'PYTHON'
import sys
from importlib.util import find_spec
from pathlib import Path

import annotations
import intravariance
import mc4ad_model
import numpy as np

for package in (annotations, intravariance, mc4ad_model):
    assert Path(package.__file__).is_relative_to(sys.argv[1]), package.__file__
extras = ("bpy", "torch", "open3d", "pyarrow", "sklearn")
assert not any(find_spec(name) for name in extras), "an extra is installed"
for number, kind in enumerate(("train", "train", "test/good", "test/dent")):
    points = np.random.default_rng(number).normal(size=(2500, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    dented = (points[:, 2] > 0.9) & (kind == "test/dent")
    points[dented] *= 0.85
    folder = Path("scans/ball", kind)
    folder.mkdir(parents=True, exist_ok=True)
    columns = np.column_stack([points, dented]) if dented.any() else points
    np.savetxt(folder / f"scan_{number}.txt", columns)
PYTHON
version=$(basename "$wheel" | cut -d- -f2)
[ "$("$plain/iv" --version)" = "iv, version $version" ] || {
    echo "expected version $version; found: $("$plain/iv" --version)" >&2
    exit 1
}
quietly "$plain/iv" --help
quietly "$plain/iv" import folder scans --out scans.h5
quietly "$plain/iv" info scans.h5
quietly "$plain/iv" verify scans.h5
quietly "$plain/iv" card scans.h5 --out card.md
quietly "$plain/iv" preview scans.h5 --out sheet.png --quiet
quietly "$plain/iv" export scans.h5 --layout anomaly-shapenet --out tree
find tree -path '*/GT/*.txt' | grep -q . # the labels of the defective scan
status=0
"$plain/iv" train --data scans.h5 --out run 2>"$work/train.txt" || status=$?
if [ $status -ne 2 ] || ! grep -qF "pip install 'intravariance[model]'" "$work/train.txt"; then
    echo "iv train without torch: expected status 2 and the extra's name; status $status and" >&2
    cat "$work/train.txt" >&2
    exit 1
fi

if ! "$plain/python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then
    say "done; nothing is built, for Blender's wheel is for Python 3.11 only"
    exit 0
fi
say "installing it with Blender"
"$python" -m venv "$work/blender"
"$blender/python" -m pip install --quiet --disable-pip-version-check --no-compile "$wheel[blender]"
say "with Blender: one category is built; without extras: it is checked and read"
quietly "$blender/iv" build --group 2 --category cone --out cone.h5 --cache "$work/cache" --quiet
quietly "$plain/iv" verify cone.h5
"$plain/python" - <<'PYTHON'
import intravariance

with intravariance.open_dataset("cone.h5") as dataset:
    assert dataset.categories == ["cone"], dataset.categories
    defective = [record for record in dataset if record.labels.any()]
    assert defective and len(defective) < len(dataset)
    assert all(len(record.points) == len(record.labels) for record in dataset)
PYTHON
say "done"

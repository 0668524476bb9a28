#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Collects wheels for a Linux machine without a network that has torch:
#   tools/offline_wheels.sh FOLDER [PYTHON_VERSION]         e.g. tools/offline_wheels.sh wheels 3.12
#   tools/offline_wheels.sh --all FOLDER [PYTHON_VERSION]
# By default what machines with torch, NumPy, SciPy and h5py lack; with --all everything that
# `mc4ad_model` and benchmarks/gpu.py need besides torch. There, from the source tree:
#   python3 -m pip install --no-index --no-deps --target site FOLDER/*.whl
#   PYTHONPATH=site python3 benchmarks/gpu.py
# --target leaves the machine's own packages as they are; PYTHONPATH puts these before them.
set -euo pipefail
all=
if [[ ${1:-} == --all ]]; then
  all=yes
  shift
fi
folder=${1:?usage: tools/offline_wheels.sh [--all] FOLDER [PYTHON_VERSION]}
version=${2:-3.12}
platforms=()
for number in 39 34 31 28 27 24 17; do platforms+=(--platform "manylinux_2_${number}_x86_64"); done
platforms+=(--platform manylinux2014_x86_64)
collect() {
  python3 -m pip download --quiet --only-binary=:all: --python-version "$version" \
    --implementation cp "${platforms[@]}" --dest "$folder" "$@"
}
collect pydantic # with the one pydantic-core that fits it
collect --no-deps click filelock platformdirs point-cloud-utils tqdm trimesh
if [[ $all ]]; then
  collect h5py numpy pillow psutil pytest safetensors scikit-learn scipy tifffile
fi
du -sh "$folder"

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Collects wheels of what `mc4ad_model` needs besides torch, for a Linux machine without a network:
#   tools/offline_wheels.sh FOLDER [PYTHON_VERSION]      e.g. tools/offline_wheels.sh wheels 3.12
# There: python -m pip install --no-index --no-deps FOLDER/*.whl, and run from the source tree.
set -euo pipefail
folder=${1:?usage: tools/offline_wheels.sh FOLDER [PYTHON_VERSION]}
version=${2:-3.12}
platforms=()
for number in 39 34 31 28 27 24 17; do platforms+=(--platform "manylinux_2_${number}_x86_64"); done
platforms+=(--platform manylinux2014_x86_64)
python3 -m pip download --quiet --only-binary=:all: --python-version "$version" \
  --implementation cp "${platforms[@]}" --dest "$folder" \
  click filelock h5py numpy pillow platformdirs point-cloud-utils psutil pydantic pytest \
  safetensors scikit-learn scipy tifffile tqdm trimesh
du -sh "$folder"

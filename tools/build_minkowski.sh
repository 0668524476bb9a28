#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds MinkowskiEngine 0.5.4 against the torch of one virtual environment and installs it there.
# Nobody needs it: the torch backend is the default. docs/minkowski.md says what it patches and why.
set -euo pipefail

version=0.5.4
sha256=b1879c00d0b0b1d30ba622cce239886a7e3c78ee9da1064cdfe2f64c2ab15f94
python=${PYTHON:-.venv/bin/python}
variant=auto
sdist=
wheel_dir=

usage() {
    cat <<'USAGE'
Usage: [PYTHON=.venv/bin/python] tools/build_minkowski.sh [OPTION...]

  --cpu-only        build without CUDA
  --cuda            build with CUDA (neither: CUDA where torch has it and nvcc is there)
  --sdist FILE      a MinkowskiEngine-0.5.4.tar.gz that is there already, instead of fetching it
  --wheel-dir DIR   keep the wheel in DIR too

From the environment: PYTHON, CXX, MAX_JOBS, TORCH_CUDA_ARCH_LIST; CPATH and LIBRARY_PATH where
OpenBLAS lies outside the compiler's own folders. Exit: 0 done, 1 a step failed, 2 something is
missing or wrong in the request.
USAGE
}

say() { printf '%s\n' "build_minkowski: $*" >&2; }
# Exit status 2: the user can put it right. 1: a step failed.
refuse() { say "$*"; exit 2; }
fail() { say "$*"; exit 1; }

while [ $# -gt 0 ]; do
    case $1 in
    --cpu-only) variant=cpu ;;
    --cuda) variant=cuda ;;
    --sdist | --wheel-dir)
        [ $# -ge 2 ] || refuse "$1 wants a value"
        if [ "$1" = --sdist ]; then sdist=$2; else wheel_dir=$2; fi
        shift
        ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; refuse "unknown option $1" ;;
    esac
    shift
done

if [ -n "$wheel_dir" ]; then
    mkdir -p "$wheel_dir" && [ -w "$wheel_dir" ] || refuse "--wheel-dir $wheel_dir: cannot be written"
    wheel_dir=$(cd "$wheel_dir" && pwd)
fi
work=$(mktemp -d "${TMPDIR:-/tmp}/build_minkowski.XXXXXX")
trap 'rm -rf "$work"' EXIT

# ---- what must be there ------------------------------------------------------------------------

[ "$(uname -s)" = Linux ] || refuse "MinkowskiEngine builds on Linux only; this is $(uname -s)"
found=$(command -v "$python") || refuse "PYTHON=$python: no such program. Run 'make test' first, which makes .venv, or set PYTHON"
# Absolute, for the build runs elsewhere; a link is not followed, which would leave the environment.
python=$(cd "$(dirname "$found")" && pwd)/$(basename "$found")

"$python" -m pip --version >/dev/null 2>&1 || refuse "$python has no pip. Run: $python -m ensurepip"
"$python" - <<'PYTHON' || refuse "$python belongs to the system. Set PYTHON to that of a virtual environment"
import pathlib, sys, sysconfig
managed = pathlib.Path(sysconfig.get_path("stdlib"), "EXTERNALLY-MANAGED").exists()
sys.exit(sys.prefix == sys.base_prefix and managed)
PYTHON
for module in torch numpy; do
    "$python" -c "import $module" 2>"$work/import.log" || {
        tail -n 1 "$work/import.log" >&2
        refuse "$python cannot import $module. Install it there first: $python -m pip install $module"
    }
done
torch_version=$("$python" -c 'import torch; print(torch.__version__)')
torch_cuda=$("$python" -c 'import torch; print(torch.version.cuda or "")')

# CUDA_HOME as torch itself finds it: the build uses the same.
cuda_home=
if [ -n "$torch_cuda" ]; then
    cuda_home=$("$python" -c 'from torch.utils.cpp_extension import CUDA_HOME; print(CUDA_HOME or "")')
fi
if [ "$variant" = auto ]; then
    variant=cpu
    if [ -z "$torch_cuda" ]; then
        say "torch $torch_version has no CUDA: building for the CPU only"
    elif [ ! -x "$cuda_home/bin/nvcc" ]; then
        say "torch $torch_version has CUDA $torch_cuda, but there is no nvcc: building for the CPU only"
    else
        variant=cuda
    fi
fi
if [ "$variant" = cuda ]; then
    [ -n "$torch_cuda" ] || refuse "--cuda: torch $torch_version was built without CUDA. Install a CUDA build of torch, or use --cpu-only"
    [ -x "$cuda_home/bin/nvcc" ] || refuse "--cuda: no nvcc. Install the CUDA $torch_cuda toolkit and set CUDA_HOME to it, or use --cpu-only"
    nvcc_cuda=$("$cuda_home/bin/nvcc" --version | sed -n 's/.*release \([0-9.]*\),.*/\1/p')
    [ "${nvcc_cuda%%.*}" = "${torch_cuda%%.*}" ] || refuse "torch $torch_version wants CUDA ${torch_cuda%%.*}, $cuda_home/bin/nvcc is CUDA $nvcc_cuda. Set CUDA_HOME to a CUDA ${torch_cuda%%.*} toolkit, or use --cpu-only"
    printf '#include <cublas_v2.h>\n#include <cusolverDn.h>\n#include <cusparse.h>\n' >"$work/probe.cu"
    "$cuda_home/bin/nvcc" -E "$work/probe.cu" -o /dev/null 2>"$work/probe.log" || {
        head -n 3 "$work/probe.log" >&2
        refuse "the CUDA toolkit in $cuda_home is not whole. Install cuBLAS', cuSOLVER's and cuSPARSE's development files, or use --cpu-only"
    }
fi

# A compiler, Python's headers and OpenBLAS: tried, not looked for, so that any way of installing
# them will do.
compiler=${CXX:-c++}
compiles() { "$compiler" -x c++ - -o "$work/probe" "$@" 2>"$work/probe.log"; }
has_compiler() { compiles <<<'int main() { return 0; }'; }
python_headers=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include"))')
has_openblas() { compiles -lopenblas <<<'#include <cblas.h>
int main() { return cblas_ddot(0, nullptr, 1, nullptr, 1) != 0.0; }'; }
missing() {
    has_compiler || { [ -n "${CXX:-}" ] && refuse "CXX=$CXX compiles nothing: $(tail -n 1 "$work/probe.log")"; printf ' g++ libopenblas-dev'; }
    [ -f "$python_headers/Python.h" ] || printf ' %s-dev' "$(basename "$python_headers")"
    ! has_compiler || has_openblas || printf ' libopenblas-dev'
}
packages=$(missing)
if [ -n "$packages" ]; then
    command -v apt-get >/dev/null 2>&1 || refuse "missing:$packages (Debian's names), and there is no apt-get here. Install the same with your system's package manager"
    sudo=
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null 2>&1 || refuse "missing:$packages. As root, run: apt-get update && apt-get install --no-install-recommends$packages"
        sudo=sudo
    fi
    say "installing system packages:$packages"
    $sudo apt-get update -qq >&2
    # shellcheck disable=SC2086  (a list of package names)
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >&2
    packages=$(missing)
    [ -z "$packages" ] || fail "still missing after the installation:$packages"
fi

# ---- the check that what is installed computes rightly -----------------------------------------

check() {
    # In its folder, lest a MinkowskiEngine beside the caller is imported. One thread: it is small.
    (cd "$work" && OMP_NUM_THREADS=1 "$python" -W ignore - "$variant") <<'PYTHON'
import sys

import MinkowskiEngine as ME
import torch

if sys.argv[1] == "cuda" and not ME.is_cuda_available():
    sys.exit("MinkowskiEngine is installed without CUDA")
devices = ["cpu"]
if sys.argv[1] == "cuda" and torch.cuda.is_available():
    devices.append("cuda")
random = torch.Generator().manual_seed(0)
present = torch.rand(8, 8, 8, generator=random) < 0.3
coordinates = present.nonzero().int()  # (V, 3)
features = torch.randn(len(coordinates), 3, generator=random, dtype=torch.float64)
for device in devices:
    convolution = ME.MinkowskiConvolution(3, 5, kernel_size=3, bias=True, dimension=3)
    convolution = convolution.double().to(device)
    batched = ME.utils.batched_coordinates([coordinates]).to(device)
    output = convolution(ME.SparseTensor(features.to(device), coordinates=batched))
    x, y, z = output.C[:, 1:].long().T
    volume = features.new_zeros(1, 3, 8, 8, 8)
    volume[0, :, *coordinates.long().T] = features.T
    # Rows of the kernel: x fastest.
    weight = convolution.kernel.view(3, 3, 3, 3, 5).permute(4, 3, 2, 1, 0)
    bias = convolution.bias.view(-1)
    dense = torch.nn.functional.conv3d(volume.to(device), weight, bias, padding=1)
    difference = (output.F - dense[0, :, x, y, z].T).abs().max().item()
    print(f"MinkowskiEngine {ME.__version__}, torch {torch.__version__}, {device}: "
          f"a convolution differs from the dense one by {difference:.1e}", file=sys.stderr)
    if not difference < 1e-12:
        sys.exit(1)
PYTHON
}

if [ -z "$wheel_dir" ] && check 2>"$work/check.log"; then
    cat "$work/check.log" >&2
    say "already installed and right: nothing done. To build it anew: $python -m pip uninstall MinkowskiEngine"
    exit 0
fi

# ---- the source --------------------------------------------------------------------------------

if [ -z "$sdist" ]; then
    # From pip's own index, so that mirrors, proxies and certificates work as ever. But even
    # 'pip download' runs the package's setup.py for its metadata, which fails (and uninstalls any
    # MinkowskiEngine first). So pip is given a build backend that states the metadata.
    mkdir -p "$work/backend/setuptools" "$work/sdist"
    : >"$work/backend/setuptools/__init__.py"
    cat >"$work/backend/setuptools/build_meta.py" <<PYTHON
import pathlib
import sys

__legacy__ = sys.modules[__name__]  # the backend's name for packages without a pyproject.toml


def prepare_metadata_for_build_wheel(directory, config_settings=None):
    folder = pathlib.Path(directory, "MinkowskiEngine-$version.dist-info")
    folder.mkdir()
    (folder / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: MinkowskiEngine\nVersion: $version\n"
    )
    return folder.name
PYTHON
    say "fetching MinkowskiEngine $version"
    PYTHONPATH=$work/backend "$python" -m pip download --quiet --disable-pip-version-check \
        --no-deps --no-binary MinkowskiEngine --no-build-isolation --use-pep517 \
        --dest "$work/sdist" "MinkowskiEngine==$version" >&2 ||
        fail "pip could not fetch it. Download MinkowskiEngine-$version.tar.gz yourself and pass --sdist FILE"
    sdist=$(find "$work/sdist" -type f)
fi
[ -f "$sdist" ] || refuse "--sdist $sdist: no such file"
actual=$(sha256sum "$sdist")
actual=${actual%% *}
[ "$actual" = "$sha256" ] || refuse "$sdist: expected sha256 $sha256, found $actual. Fetch it again"
tar -xzf "$sdist" -C "$work"
source=$work/MinkowskiEngine-$version
[ -f "$source/setup.py" ] || fail "$sdist has no MinkowskiEngine-$version/setup.py"

# ---- the patches, each stated in docs/minkowski.md ---------------------------------------------

# patch FILE EXPRESSION: sed, which must change something.
patch() {
    cp "$source/$1" "$work/before"
    sed -i "$2" "$source/$1"
    ! cmp -s "$source/$1" "$work/before" || fail "patch: '$2' changes nothing in $1"
}

patch setup.py '/^run_command("pip", "uninstall"/d'
abc='s/^from collections import Sequence$/from collections.abc import Sequence/'
patch MinkowskiEngine/MinkowskiCommon.py "$abc"
patch MinkowskiEngine/MinkowskiCoordinateManager.py "$abc"
patch MinkowskiEngine/MinkowskiTensorField.py "$abc"
patch MinkowskiEngine/utils/quantization.py "$abc"
patch MinkowskiEngine/MinkowskiKernelGenerator.py \
    's/^from collections import Sequence, namedtuple$/from collections import namedtuple\nfrom collections.abc import Sequence/'

if [ "$variant" = cuda ]; then
    # include FILE HEADER...: the headers before the file's first own one.
    include() {
        local lines
        printf -v lines '#include <%s>\\n' "${@:2}"
        patch "$1" "0,/^#include/s|^#include|$lines&|"
    }
    # thrust's headers no longer include one another.
    include src/3rdparty/concurrent_unordered_map.cuh thrust/execution_policy.h
    include src/broadcast_kernel.cu thrust/execution_policy.h thrust/fill.h thrust/sort.h
    include src/convolution_kernel.cuh thrust/execution_policy.h
    include src/coordinate_map_gpu.cu thrust/for_each.h thrust/iterator/zip_iterator.h \
        thrust/remove.h thrust/scan.h thrust/sequence.h thrust/transform.h thrust/unique.h
    include src/kernel_map.cuh thrust/iterator/zip_iterator.h thrust/reduce.h
    include src/pooling_max_kernel.cu thrust/sequence.h
    # torch's before its ATen/cuda/CUDAUtils.h, which needs the whole at::Tensor.
    include src/spmm.cu torch/extension.h thrust/execution_policy.h \
        thrust/iterator/zip_iterator.h thrust/reduce.h thrust/sort.h
    # CUDA 13 has no thrust::unary_function; nothing uses what it declared.
    patch src/coordinate_map_functors.cuh \
        '/^    : public thrust::unary_function<uint32_t,$/{N;s/.*/{/}'
    map=src/3rdparty/concurrent_unordered_map.cuh
    # Its copy of nvtx3.hpp collides with CUDA's; it only marks a range for the profiler.
    patch $map 's|^#include <cudf/detail/nvtx/ranges.hpp>$|#define CUDF_FUNC_RANGE()|'
    # A shared_ptr from a unique_ptr finds both std::__to_address and cuda::std::__to_address.
    patch $map 's/return std::unique_ptr<Self, std::function<void(Self\*)>>{/return std::shared_ptr<Self>{/'
    # CUDA 13 has a new signature for the prefetch of managed memory.
    patch $map 's/\(cudaMemPrefetchAsync(.*\), dev_id, stream)/\1, PREFETCH_TO(dev_id), stream)/'
    patch $map 's/^#define CONCURRENT_UNORDERED_MAP_CUH$/&\
#if CUDART_VERSION >= 13000\
#define PREFETCH_TO(device) cudaMemLocation{cudaMemLocationTypeDevice, device}, 0\
#else\
#define PREFETCH_TO(device) device\
#endif/'
fi

# ---- the build ---------------------------------------------------------------------------------

if [ "$variant" = cuda ]; then
    flags=(--blas=openblas --force_cuda)
    job_memory=4.5 # GiB that one compiler takes at most: 3.9 measured
else
    flags=(--blas=openblas --cpu_only)
    job_memory=2.5 # 2.1 measured
fi
if [ -z "${MAX_JOBS:-}" ]; then
    MAX_JOBS=$(awk -v cores="$(nproc)" -v each="$job_memory" '/^MemAvailable:/ {
        jobs = int($2 / 1048576 / each); if (jobs > cores) jobs = cores; print jobs < 1 ? 1 : jobs }' /proc/meminfo)
fi
# Into the temporary folder, not into the environment. 77.0.3 is the least that torch takes, 84 the
# last tried.
"$python" -m pip install --quiet --disable-pip-version-check --target "$work/tools" \
    'setuptools>=77.0.3,<85' wheel ninja >&2 || fail "pip could not install setuptools, wheel and ninja"

say "compiling against torch $torch_version, $variant, MAX_JOBS=$MAX_JOBS: 10 minutes or more with one job"
progress() {
    local line
    while IFS= read -r line; do
        if [[ $line =~ ^\[([0-9]+/[0-9]+)\].*\ -o\ ([^\ ]*/)?([^\ /]+)\.o ]]; then
            say "$(printf '%3d:%02d  %s %s' $((SECONDS / 60)) $((SECONDS % 60)) "${BASH_REMATCH[1]}" "${BASH_REMATCH[3]}")"
        fi
    done
}
if ! (
    cd "$source"
    # -g0: without the debugging data that Python's own flags ask for, which cost time and memory.
    export MAX_JOBS CFLAGS="${CFLAGS:-} -g0" PYTHONPATH="$work/tools" PATH="$work/tools/bin:$PATH"
    "$python" setup.py bdist_wheel --dist-dir "$work/wheel" "${flags[@]}" 2>&1
) | tee "$work/build.log" | progress; then
    grep -E '(error|Error)\b' "$work/build.log" | head -n 20 >&2 || true
    tail -n 20 "$work/build.log" | cut -c -500 >&2
    fail "the build failed; above: its errors and its last lines"
fi
wheel=$(find "$work/wheel" -name '*.whl')
[ -f "$wheel" ] || fail "the build made no wheel"
if [ -n "$wheel_dir" ]; then
    cp "$wheel" "$wheel_dir/"
    say "kept $wheel_dir/$(basename "$wheel")"
fi

"$python" -m pip install --quiet --disable-pip-version-check --no-index --no-deps --force-reinstall "$wheel" >&2
check || fail "MinkowskiEngine is installed, but the check failed"
say "done in $((SECONDS / 60)) min $((SECONDS % 60)) s"

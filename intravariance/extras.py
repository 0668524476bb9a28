# SPDX-License-Identifier: Apache-2.0
"""The extras of this package: which of them brings a library, and the command that installs it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

# Libraries by the name that is imported; pyproject.toml has the distributions.
EXTRAS = {
    "bpy": "blender",
    **dict.fromkeys(("torch", "safetensors"), "model"),
    "triton": "triton",
    "pyarrow": "layouts",
    "huggingface_hub": "hub",
    **dict.fromkeys(("tensorboard", "mlflow", "sqlalchemy", "alembic"), "logging"),
    **dict.fromkeys(("open3d", "matplotlib", "k3d", "sklearn"), "inspect"),
    **dict.fromkeys(("fastapi", "starlette", "uvicorn", "python_multipart"), "serve"),
    **dict.fromkeys(("laspy", "lazrs", "pye57"), "scans"),
    **dict.fromkeys(("cryptography", "dask", "distributed", "fsspec", "s3fs"), "scale"),
}
_ROOT = Path(__file__).parents[1]


def how_to_install(extra: str) -> str:
    """Return the command that installs an extra, of a clone or of an installed package."""
    if (_ROOT / "pyproject.toml").is_file():
        return f"pip install -e '.[{extra}]' in {_ROOT}"
    return f"pip install 'intravariance[{extra}]'"


def not_installed(libraries: Iterable[str], extra: str = "") -> str:
    """Say that libraries are missing, and what to do about it. extra : the one that brings them,
    where it is not that of EXTRAS."""
    names = list(libraries)
    extra = extra or EXTRAS[names[0]]
    verb = "is" if len(names) == 1 else "are"
    return (
        f"{' and '.join(names)} {verb} not installed; the extra {extra} brings "
        f"{'it' if len(names) == 1 else 'them'}: {how_to_install(extra)}"
    )


def missing_package(error: Exception) -> str:
    """Say which extra brings the library that an import lacks; "" for another error."""
    if not isinstance(error, ModuleNotFoundError):
        return ""
    library = (error.name or "").partition(".")[0]
    return not_installed([library]) if library in EXTRAS else ""

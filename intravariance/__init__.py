# SPDX-License-Identifier: Apache-2.0
"""iv: builds, checks and reads the Anomaly-IntraVariance 3D anomaly-detection dataset."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from intravariance.dataset.store import open_dataset

__all__ = ["open_dataset"]


def __getattr__(name: str) -> Any:
    # Imported when first used: `import intravariance` stays instant, without h5py.
    if name == "open_dataset":
        from intravariance.dataset.store import open_dataset

        return open_dataset
    raise AttributeError(f"module 'intravariance' has no attribute {name!r}")

# SPDX-License-Identifier: Apache-2.0
"""Dataset files as the community's folders, one module a layout; each opens with its tree drawn.

`write_tree` writes the layouts in LAYOUTS; `parquet` writes Hugging Face's. What each has room for
is in its HOLDS.
"""

from intravariance.exporting import anomaly_shapenet, mvtec_like, real3d_ad
from intravariance.exporting.entries import CONTENTS, Layout, Options
from intravariance.exporting.tree import Written, write_tree

__all__ = ["CONTENTS", "LAYOUTS", "Layout", "Options", "Written", "write_tree"]

LAYOUTS: dict[str, Layout] = {
    layout.NAME: layout for layout in (anomaly_shapenet, real3d_ad, mvtec_like)
}

# SPDX-License-Identifier: Apache-2.0
"""Build, check and read the Anomaly-IntraVariance 3D anomaly-detection dataset.

    from intravariance import open_dataset

    with open_dataset("group2.h5") as dataset:
        for record in dataset.filter(category="bowl", split="test"):
            print(record.id, record.defect, record.points.shape, record.labels.sum())

The names in `__all__` are the public interface. All others may change.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from intravariance.errors import BackendUnavailable, InputError, IntegrityError, IVError

if TYPE_CHECKING:
    from intravariance.dataset.added_defects import AddedDefect
    from intravariance.dataset.schema import Sample
    from intravariance.dataset.specification import Category, Specification
    from intravariance.dataset.specification_reader import load_group, load_specification
    from intravariance.dataset.store import Dataset, Record, open_dataset
    from intravariance.geometry.mesh import Mesh
    from intravariance.notebooks import picture
    from intravariance.seeds import generator, seed_of
    from intravariance.verification.verify import Check, Report, verify

__all__ = [
    "AddedDefect",
    "BackendUnavailable",
    "Category",
    "Check",
    "Dataset",
    "IVError",
    "InputError",
    "IntegrityError",
    "Mesh",
    "Record",
    "Report",
    "Sample",
    "Specification",
    "generator",
    "load_group",
    "load_specification",
    "open_dataset",
    "picture",
    "seed_of",
    "verify",
]

# They are imported when first used: `import intravariance` stays instant, without NumPy and h5py.
_PLACES = {
    "AddedDefect": "dataset.added_defects",
    "Category": "dataset.specification",
    "Check": "verification.verify",
    "Dataset": "dataset.store",
    "Mesh": "geometry.mesh",
    "Record": "dataset.store",
    "Report": "verification.verify",
    "Sample": "dataset.schema",
    "Specification": "dataset.specification",
    "generator": "seeds",
    "load_group": "dataset.specification_reader",
    "load_specification": "dataset.specification_reader",
    "open_dataset": "dataset.store",
    "picture": "notebooks",
    "seed_of": "seeds",
    "verify": "verification.verify",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'intravariance' has no attribute {name!r}")
    return getattr(import_module(f"intravariance.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _show_in_notebooks() -> None:
    """Have IPython, where it runs, show samples and datasets as `intravariance.notebooks` says."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is None:
        return
    for name, kind, shown in (
        ("Record", "image/png", "record_png"),
        ("Dataset", "text/html", "dataset_html"),
    ):

        def show(thing: Any, shown: str = shown) -> Any:
            return getattr(import_module("intravariance.notebooks"), shown)(thing)

        formatter = shell.display_formatter.formatters[kind]
        formatter.for_type_by_name("intravariance.dataset.store", name, show)


_show_in_notebooks()

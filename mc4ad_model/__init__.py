# SPDX-License-Identifier: Apache-2.0
"""The reference benchmark on datasets made by `intravariance`: methods, and what evaluates them.

    from intravariance import open_dataset
    from mc4ad_model import evaluate_category, method_class, read_templates

Only `CloudDataset` and `collate_clouds` need torch; a method loads its own libraries when it is
used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mc4ad_model.evaluation.evaluate import CategoryEvaluation, evaluate_category
    from mc4ad_model.evaluation.metrics import (
        anomalous_regions,
        au_pro,
        auroc,
        auroc_interval,
        average_precision,
        end_point_error,
        mean_cosine,
    )
    from mc4ad_model.machine.device import Machine
    from mc4ad_model.methods import METHODS, method_class, method_names
    from mc4ad_model.methods.method import Aggregation, FittedOn, Method, Prediction
    from mc4ad_model.methods.settings import STRICT, Count, Positive, Settings, Share, Weight
    from mc4ad_model.methods.templates import Template, Templates, read_templates
    from mc4ad_model.prediction.detector import ScanPrediction, predict
    from mc4ad_model.torch_data import CloudDataset, collate_clouds

__all__ = [
    "METHODS",
    "STRICT",
    "Aggregation",
    "CategoryEvaluation",
    "CloudDataset",
    "Count",
    "FittedOn",
    "Machine",
    "Method",
    "Positive",
    "Prediction",
    "ScanPrediction",
    "Settings",
    "Share",
    "Template",
    "Templates",
    "Weight",
    "anomalous_regions",
    "au_pro",
    "auroc",
    "auroc_interval",
    "average_precision",
    "collate_clouds",
    "end_point_error",
    "evaluate_category",
    "mean_cosine",
    "method_class",
    "method_names",
    "predict",
    "read_templates",
]

# They are imported when first used: `import mc4ad_model` works without the extra `model`.
_NAMES = {
    "evaluation.evaluate": ("CategoryEvaluation", "evaluate_category"),
    "evaluation.metrics": (
        "anomalous_regions",
        "au_pro",
        "auroc",
        "auroc_interval",
        "average_precision",
        "end_point_error",
        "mean_cosine",
    ),
    "machine.device": ("Machine",),
    "methods": ("METHODS", "method_class", "method_names"),
    "methods.method": ("Aggregation", "FittedOn", "Method", "Prediction"),
    "methods.settings": ("STRICT", "Count", "Positive", "Settings", "Share", "Weight"),
    "methods.templates": ("Template", "Templates", "read_templates"),
    "prediction.detector": ("ScanPrediction", "predict"),
    "torch_data": ("CloudDataset", "collate_clouds"),
}
_PLACES = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'mc4ad_model' has no attribute {name!r}")
    return getattr(import_module(f"mc4ad_model.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

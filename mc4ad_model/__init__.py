# SPDX-License-Identifier: Apache-2.0
"""The reference benchmark on datasets made by `intravariance`: methods, and what evaluates them.

    from intravariance import open_dataset
    from mc4ad_model import evaluate_category, method_class, read_templates

None of these names needs torch; a method loads its own libraries when it is used.
"""

from mc4ad_model.evaluation.evaluate import CategoryEvaluation, evaluate_category
from mc4ad_model.machine.device import Machine
from mc4ad_model.methods import METHODS, method_class, method_names
from mc4ad_model.methods.method import Aggregation, FittedOn, Method, Prediction
from mc4ad_model.methods.templates import Template, Templates, read_templates

__all__ = [
    "METHODS",
    "Aggregation",
    "CategoryEvaluation",
    "FittedOn",
    "Machine",
    "Method",
    "Prediction",
    "Template",
    "Templates",
    "evaluate_category",
    "method_class",
    "method_names",
    "read_templates",
]

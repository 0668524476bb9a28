# SPDX-License-Identifier: Apache-2.0
"""Every row against the best baseline, from the scores that the evaluations keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from intravariance.dataset.store import Dataset
from intravariance.errors import InputError, IntegrityError
from intravariance.progress import track
from intravariance.seeds import generator
from mc4ad_model.evaluation.metrics import won_pairs
from mc4ad_model.evaluation.results import evaluated_samples, read_results
from mc4ad_model.leaderboard.queue import Measured
from mc4ad_model.leaderboard.significance import (
    Difference,
    Pairs,
    Ranking,
    difference,
    ranking,
)
from mc4ad_model.leaderboard.standings import (
    MEASURES,
    RANKED,
    Standing,
    category_table,
    mean_ranks,
)


@dataclass(frozen=True)
class Comparison:
    """By one measure: the best baseline's name, differences from it by row, ranks over categories.

    baseline : "" where no baseline works, and then there are no differences.
    """

    measure: str
    baseline: str
    differences: dict[str, Difference]
    ranks: dict[str, float]
    ranking: Ranking | None


def compare_rows(
    standings: Sequence[Standing], dataset: Dataset, quiet: bool = False
) -> list[Comparison]:
    """Compare working rows, by each measure that they are ranked by.

    Parameters
    ----------
    standings
        Rows over the same categories; those that are not working are left out.

    Raises
    ------
    InputError, IntegrityError
        An evaluation is gone, or its scores are not those of the dataset's samples.
    """
    working = [one for one in standings if not one.fault]
    if not working:
        return []
    most = max(working, key=lambda one: len(one.categories)).categories
    if gone := [one.row.name for one in working if one.categories != most]:
        raise InputError(
            f"results of {', '.join(gone)} are gone, removed while the leaderboard was made; the "
            "same command makes them again"
        )
    pairs = {
        one.row.name: _pairs(one, dataset) for one in track(working, len(working), "compare", quiet)
    }
    return [_compared(working, measure, pairs) for measure in RANKED]


def _compared(
    working: Sequence[Standing], measure: str, pairs: dict[str, dict[str, list[Pairs]]]
) -> Comparison:
    means = {one.row.name: one.spread(MEASURES[measure]) for one in working if one.row.baseline}
    known = {name: spread.mean for name, spread in means.items() if spread is not None}
    best = max(known, key=lambda name: known[name]) if known else ""
    names = [one.row.name for one in working if best and one.row.name != best]
    return Comparison(
        measure=measure,
        baseline=best,
        differences={
            name: difference(
                pairs[name][measure],
                pairs[best][measure],
                generator(0, "leaderboard", measure, name),
            )
            for name in names
        },
        ranks=mean_ranks(working, measure),
        ranking=ranking(category_table(working, measure)),
    )


def _pairs(standing: Standing, dataset: Dataset) -> dict[str, list[Pairs]]:
    """Return the won pairs of each category by measure, means over seeds."""
    found: dict[str, list[Pairs]] = {measure: [] for measure in RANKED}
    for category in standing.categories:
        measured = [one for (_, own), one in standing.measured.items() if own == category]
        for measure in RANKED:
            each = [_won(one, measure, dataset) for one in measured]
            won = np.mean([one.won for one in each], axis=0)
            found[measure].append(Pairs(won, each[0].anomalous, each[0].normal))
    return found


def _won(measured: Measured, measure: str, dataset: Dataset) -> Pairs:
    results = read_results(measured.evaluation)
    records, evaluation = evaluated_samples(results, dataset), results.evaluation
    if measure == "O-AUROC":
        stated: float | None = evaluation.metrics.o_auroc
        labels = [np.array([row.anomalous]) for row in evaluation.rows]
        scores = [np.array([row.object_score]) for row in evaluation.rows]
    else:
        stated = evaluation.metrics.p_auroc
        known = [record for record in records if record.labelled]
        labels = [record.labels for record in known]
        scores = [evaluation.point_scores[record.id] for record in known]
    pairs = Pairs(*won_pairs(labels, scores))
    if stated is None or abs(pairs.auroc - stated) > 1e-9:
        raise IntegrityError(
            f"{measured.evaluation}: its scores give an {measure} of {pairs.auroc}, its metrics "
            f"say {stated}; move the folder away, and the same command makes it again"
        )
    return pairs

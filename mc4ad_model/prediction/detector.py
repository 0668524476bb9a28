# SPDX-License-Identifier: Apache-2.0
"""A trained run that scores clouds one after another: scores, p-values, decisions.

Frame. Methods expect clouds in the frame and unit that the templates had. A run that was trained on
imported clouds knows the length that `iv import` divided them by, and scans are treated alike: each
is thinned, where these were, moved so that its centroid is 0, and divided by that length. Samples
of a dataset file are in that frame already. Results are for all points of the cloud, and force
is in its unit again.

Time. The seconds of a cloud run from its file to its scores on the CPU.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intravariance.cloud_files import ReadingChoices
from intravariance.dataset.store import Dataset
from intravariance.errors import InputError, IntegrityError
from intravariance.progress import say
from mc4ad_model.evaluation.calibration import NormalScores
from mc4ad_model.evaluation.evaluate import checked_prediction
from mc4ad_model.evaluation.scoring import predicted_object_score
from mc4ad_model.machine.device import Machine
from mc4ad_model.machine.memory import enough_device_memory
from mc4ad_model.methods.method import Method
from mc4ad_model.prediction.clouds import NamedCloud, Points, checked, find_clouds
from mc4ad_model.prediction.treatment import (
    kept_scan_points,
    spread,
    training_length,
    training_thinning,
)
from mc4ad_model.runs.calibration import read_calibration, stored_calibration
from mc4ad_model.runs.run_folder import CALIBRATION, Run, choose_runs, method_code

# float32 keeps 24 bits: a cloud this many of its radii away from 0 loses a thousandth of a radius.
_FAR_AWAY = 1e4


@dataclass(frozen=True, eq=False)
class ScanPrediction:
    """A run's results for one cloud of N points, in their order.

    Parameters
    ----------
    file
        Name of the file, FILE.h5:SAMPLE of a sample, "cloud 0" of the first array.
    seconds
        From the file to the scores.
    points : (N, 3), as the file has them; None where there is an error
    scores : (N,) float32, higher is more anomalous; None where there is an error
        A point that was thinned out, as those of the training clouds were, has the score and the
        force of the nearest one that was kept.
    force : (N, 3) float32
        What displaced each point from the pristine surface, in the unit of the points; None for a
        method that does not predict it.
    object_score
        Score of the whole cloud; None where there is an error.
    p_value
        Share of normal products that score as high, see `mc4ad_model.evaluation.alarms`; None
        without a calibration for such clouds.
    anomalous
        Whether the score is above the threshold; None where no rate of false alarms was asked for,
        and without a p-value.
    notes
        Anything else that a person should know.
    error
        Why the cloud could not be scored; "" where it was.
    """

    file: str
    seconds: float
    points: Points | None = None
    scores: NDArray[np.float32] | None = None
    force: NDArray[np.float32] | None = None
    object_score: float | None = None
    p_value: float | None = None
    anomalous: bool | None = None
    notes: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True)
class Judge:
    """Decides by the scores of normal products.

    normal : these scores; None without a calibration for the clouds. unusable : why a calibration
    that is there cannot be used. conditions : how these products were made, for scans whose making
    is not known; else empty.
    """

    normal: NormalScores | None
    unusable: str = ""
    conditions: dict[str, Any] = field(default_factory=dict)

    def problem(self, count: int) -> str:
        """Say what keeps a cloud of so many points from being judged; "" where nothing does."""
        if self.normal is None:
            return self.unusable
        low, high = self.conditions.get("points", (count, count))
        if low <= count <= high:
            return ""
        return (
            f"calibrated for {low:,} to {high:,} points, and this has {count:,}; thin it out, or "
            "train and calibrate on a file of clouds like it"
        )


class Detector:
    """A run's method, ready to score.

    Parameters
    ----------
    run
        A trained run of one category.
    rate
        Share of false alarms; None decides nothing.
    length
        What scans are divided by once they are centred, instead of the run's own; 0 keeps them.

    Raises
    ------
    InputError
        The run is unfinished or damaged, is not calibrated for the rate, or knows several lengths.
    """

    def __init__(
        self,
        run: Run,
        rate: float | None = None,
        length: float | None = None,
        machine: Machine | None = None,
    ) -> None:
        if length is not None and not 0 <= length < np.inf:
            raise InputError(f"--length {length}: expected a length, or 0 to keep coordinates")
        self.run, self.rate = run, rate
        self.length = (training_length(run) if length is None else length) or None
        self.thinning = training_thinning(run, self.length)
        self.method: Method = run.load_method(machine)
        self._judges = dict[Path | None, Judge]()
        self.judge()

    def judge(self, dataset: Dataset | None = None) -> Judge:
        """Return what decides on scans, or on the test clouds of a dataset.

        Raises
        ------
        InputError
            A rate was asked for, and the run is not calibrated for such clouds.
        """
        place = None if dataset is None else dataset.path
        if place not in self._judges:
            self._judges[place] = self._found_judge(dataset)
        return self._judges[place]

    def threshold(self, judge: Judge) -> float | None:
        """Return the largest object score that is no alarm; None without a rate."""
        if self.rate is None or judge.normal is None:
            return None
        return judge.normal.threshold(self.rate)

    def predict(self, cloud: NamedCloud) -> ScanPrediction:
        """Score a cloud. One that cannot be used is no exception: its prediction has the error."""
        start = time.perf_counter()
        try:
            points, notes = cloud.load()
            keep = self._kept(cloud, checked(points))
            prediction = self._scored(cloud, points[keep])
        except (InputError, IntegrityError) as error:
            reason = str(error).removeprefix(f"{cloud.name}: ")
            return ScanPrediction(cloud.name, time.perf_counter() - start, error=reason)
        score = predicted_object_score(prediction, self.method.aggregation)
        seconds = time.perf_counter() - start
        judge = self.judge(cloud.dataset)
        problem = judge.problem(len(keep))
        normal = None if problem else judge.normal
        limit = None if problem else self.threshold(judge)
        if prediction.note:
            notes = (*notes, prediction.note)
        if cloud.dataset is None:
            notes = (*notes, *self._far(points))
        if len(keep) < len(points):
            notes = (
                *notes,
                f"scored by {len(keep):,} of its {len(points):,} points, as the training clouds "
                f"were thinned (iv import {self.thinning}); others have the nearest one's score",
            )
            prediction = spread(prediction, points, keep)
        notes = (*notes, f"no p-value: {problem}") if problem else notes
        force = None if prediction.force is None else np.asarray(prediction.force, np.float32)
        if force is not None and self._divides(cloud):
            force = force * np.float32(self.length or 1)
        return ScanPrediction(
            file=cloud.name,
            seconds=seconds,
            points=points,
            scores=prediction.points,
            force=force,
            object_score=score,
            p_value=None if normal is None else normal.p_value(score),
            anomalous=None if limit is None else score > limit,
            notes=notes,
        )

    def _found_judge(self, dataset: Dataset | None) -> Judge:
        rates = () if self.rate is None else (self.rate,)
        if self.rate is None and not (self.run.folder / CALIBRATION).exists():
            return Judge(None)
        try:
            if dataset is not None:
                return Judge(read_calibration(self.run, dataset, rates))
            found = stored_calibration(self.run, rates)
        except InputError as error:
            if rates:
                raise
            return Judge(None, str(error))
        return Judge(found.scores, "", found.conditions)

    def _kept(self, cloud: NamedCloud, points: Points) -> NDArray[np.intp]:
        """Return which points a method gets: of samples all, as they were thinned by the import."""
        if cloud.dataset is not None:
            return np.arange(len(points))
        return kept_scan_points(points, self.thinning)

    def _divides(self, cloud: NamedCloud) -> bool:
        return cloud.dataset is None and self.length is not None

    def _scored(self, cloud: NamedCloud, points: Points) -> Any:
        if self._divides(cloud):
            points = (points - points.mean(axis=0)) / self.length
        with np.errstate(over="ignore"):
            plain = np.ascontiguousarray(points, dtype=np.float32)
        if not np.isfinite(plain).all():
            raise InputError(
                f"its coordinates reach {np.abs(points).max():.3g}, divided by the length "
                f"{self.length or 1:g}, which float32 cannot hold; see --length"
            )
        with enough_device_memory(f"scoring {len(plain):,} points"):
            return checked_prediction(self.method.score(plain), len(plain), "scores")

    def _far(self, points: Points) -> tuple[str, ...]:
        if self.length is not None:  # centred in float64
            return ()
        middle = points.mean(axis=0)
        if np.abs(middle).max() <= _FAR_AWAY * np.abs(points - middle).max():
            return ()
        return ("it lies so far from 0 that float32 rounds its coordinates noticeably",)


def open_detector(
    folder: Path,
    category: str | None = None,
    rate: float | None = None,
    length: float | None = None,
    machine: Machine | None = None,
) -> Detector:
    """Load the run in a folder that `iv train` wrote, of its only category or of the one named.

    Raises
    ------
    InputError
        There is no run, there are several and none is named, or as of `Detector`.
    """
    runs = choose_runs(folder, [] if category is None else [category])
    if len(runs) > 1:
        raise InputError(
            f"--run {folder}: was trained on {', '.join(run.category for run in runs)}; say with "
            "--category which of them the clouds are of"
        )
    run = runs[0]
    if run.code != method_code(run.method):
        say(
            f"note: {run.folder} was trained with other code of {run.method} than is installed "
            "here; its scores may differ",
            machine is not None and machine.quiet,
        )
    return Detector(run, rate, length, machine)


def predict(
    run_folder: str | Path,
    clouds: Iterable[str | Path | Points],
    *,
    category: str | None = None,
    false_alarms: float | None = None,
    length: float | None = None,
    drop_no_return: bool = False,
    machine: Machine | None = None,
) -> Iterator[ScanPrediction]:
    """Score clouds with a trained run, as `iv predict` does, each when it is asked for.

    Parameters
    ----------
    run_folder
        A folder that `iv train` wrote.
    clouds
        Each a cloud file, a folder, a dataset file (its test samples), FILE.h5:SAMPLE, or an array
        (N, 3) of floats. Files of other kinds in a folder are left out.
    category
        Which of the run's, where there are several.
    false_alarms
        Rate of false alarms at which to decide; takes a calibration (`iv calibrate`).
    length
        Scans and arrays are centred and divided by this, instead of by the length that the run's
        import divided by; 0 keeps their coordinates.
    drop_no_return
        Leave out points of files that are not finite or (0, 0, 0).

    Raises
    ------
    InputError
        The run cannot be used, or a name is of nothing. A cloud that cannot be used is no
        exception: its prediction has the error.
    """
    detector = open_detector(Path(run_folder), category, false_alarms, length, machine)
    found = find_clouds(clouds, detector.run.category, ReadingChoices(drop_no_return))
    return map(detector.predict, found.clouds)

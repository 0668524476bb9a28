# SPDX-License-Identifier: Apache-2.0
"""The samples that CFP-Net is trained on: normal products with pseudo-anomalies.

A training sample is a function of the run's seed, its category, and the sample's number, and of
nothing else: not of the number of workers, of processes or of interruptions. (In the released code
all workers share one random stream: each seeds NumPy with its torch seed divided by 2^32, which is
the same number for all. Its 12 workers so make the same rotations and deformations.)

Frames. "Stored": as in the file. "Network": what the network is given; see `DataConfig.frame`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from intravariance.errors import InputError
from intravariance.seeds import generator
from mc4ad_model.machine.interruption import children_unaware, serve_main_process
from mc4ad_model.machine.shared_arrays import SharedSamples
from mc4ad_model.methods.mc4ad.anomalies import deform, draw_frozen
from mc4ad_model.methods.mc4ad.configuration import RunConfig
from mc4ad_model.methods.mc4ad.deviations.samples import DeviationBatch, DeviationSamples
from mc4ad_model.methods.templates import Template, Templates, surface_points


class TrainingSamples(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
    """The samples of a run, numbered through from its first epoch to its last.

    Item i is (points, displacement), both (N, 3) float32 in the network's frame, where displacement
    is what deformed the cloud, without the noise.
    """

    batch: ClassVar[type[CollatedBatch]]

    def __init__(self, data: Templates, config: RunConfig, seed: int) -> None:
        self._data, self._config, self._seed = data, config, seed
        self.per_epoch = len(data.templates) * config.training.repeats
        self._frozen = draw_frozen(config.anomalies, self._generator("frozen"))

    def __len__(self) -> int:
        return self.per_epoch * self._config.training.epochs

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        epoch, position = divmod(index, self.per_epoch)
        template = self._data.templates[self._order(epoch)[position]]
        rng = self._generator("sample", str(index))
        points, displacement = self._make(template, rng)
        return tuple(torch.from_numpy(a.astype(np.float32)) for a in (points, displacement))  # type: ignore[return-value]

    def _generator(self, *purpose: str) -> np.random.Generator:
        return generator(self._seed, "training", self._data.category, *purpose)

    def _order(self, epoch: int) -> NDArray[np.intp]:
        """Template of each sample of an epoch: every one equally often, shuffled."""
        order = np.repeat(np.arange(len(self._data.templates)), self._config.training.repeats)
        return self._generator("order", str(epoch)).permutation(order)

    def _make(
        self, template: Template, rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        config, data = self._config.data, self._data
        points, normals = surface_points(
            template, data.points, rng, stored=config.points == "stored"
        )
        turn = random_rotation(config.rotation, rng)
        points, normals = points @ turn, normals @ turn
        noise = np.zeros_like(points)
        if config.points == "mesh" and template.mesh is not None:
            noise = rng.normal(scale=data.noise_sigma, size=points.shape)
        if config.frame == "own":  # of the noisy cloud, as in a test cloud
            centroid, scale = centre_and_scale(points + noise)
            points, noise = (points - centroid) * scale, noise * scale
        displacement = deform(points, normals, self._config.anomalies, rng, self._frozen)
        points = points + displacement + noise
        if config.pose_rotation or config.pose_shift:
            vector = rng.normal(scale=np.radians(config.pose_rotation), size=3)
            error = Rotation.from_rotvec(vector).as_matrix()
            shift = rng.normal(scale=config.pose_shift, size=3)
            points, displacement = points @ error + shift, displacement @ error
        return points, displacement


def random_rotation(kind: str, rng: np.random.Generator) -> NDArray[np.float64]:
    """(3, 3), for row vectors: points @ rotation.

    The released code turns about other centres than 0, which centring the cloud undoes.
    """
    if kind == "none":
        return np.eye(3)
    if kind == "so3":  # a normalised Gaussian quaternion is uniform on SO(3)
        return np.asarray(Rotation.from_quat(rng.normal(size=4)).as_matrix())
    z, y, x = rng.uniform(-np.pi, np.pi, size=3)
    return np.asarray(Rotation.from_euler("zyx", [z, y, x]).as_matrix().T)


def centre_and_scale(points: NDArray[Any]) -> tuple[NDArray[np.float64], float]:
    """Centroid (3,) and the factor that brings the farthest point to distance 1 from it.

    Raises
    ------
    InputError
        All points coincide, or one is not finite.
    """
    points = np.asarray(points, dtype=np.float64)
    centroid = points.mean(axis=0)
    radius = float(np.sqrt(((points - centroid) ** 2).sum(axis=1).max()))
    if not 0 < radius < np.inf:
        raise InputError("point cloud: expected finite coordinates that differ from each other")
    return centroid, 1 / radius


class CollatedBatch:
    """A batch: B clouds (N_b, 3) and their displacements, concatenated (N, 3)."""

    def __init__(self, samples: Sequence[tuple[Tensor, Tensor]]) -> None:
        self.clouds = [points for points, _ in samples]
        self.displacement = torch.cat([displacement for _, displacement in samples])

    def pin_memory(self) -> CollatedBatch:
        """Pin the memory, for faster copies to the GPU; the loader calls this."""
        self.clouds = [cloud.pin_memory() for cloud in self.clouds]
        self.displacement = self.displacement.pin_memory()
        return self

    def to(self, device: torch.device) -> CollatedBatch:
        self.clouds = [cloud.to(device, non_blocking=True) for cloud in self.clouds]
        self.displacement = self.displacement.to(device, non_blocking=True)
        return self


TrainingSamples.batch = CollatedBatch
Samples = TrainingSamples | DeviationSamples | SharedSamples


def load_batches(
    samples: Samples, steps: range, steps_per_epoch: int, batch: int, workers: int,
    rank: int = 0, ranks: int = 1, pin_memory: bool = False,
) -> Iterator[CollatedBatch | DeviationBatch]:  # fmt: skip
    """Return the batches of some steps, counted through all epochs; of each, one process's share.

    Parameters
    ----------
    steps_per_epoch
        Steps of an epoch; samples that are left over after them are not used.
    rank, ranks
        This process takes every `ranks`-th sample of a batch, from number `rank` on.
    """
    chosen = []
    for step in steps:
        epoch, number = divmod(step, steps_per_epoch)
        first = epoch * samples.per_epoch + number * batch
        chosen.append(list(range(first + rank, first + batch, ranks)))
    loader = torch.utils.data.DataLoader(
        samples,
        batch_sampler=chosen,
        num_workers=workers,
        collate_fn=samples.batch,
        pin_memory=pin_memory,
        # fork would copy the state of torch's threads
        multiprocessing_context="forkserver" if workers else None,
        worker_init_fn=serve_main_process,
    )
    with children_unaware():
        return iter(loader)

# SPDX-License-Identifier: Apache-2.0
"""MC4AD behind the protocol of all methods: CFP-Net, trained on pseudo-anomalies of the templates.

    network.safetensors|json     the network after the last epoch; written last
    templates.safetensors|json   points that clouds are registered to (data.frame = "registered")
    deviations.safetensors|json  the templates, and what normal clouds and the network do on them
                                 (network.input = "deviation")
    checkpoint-00000480.*        network, and ...-optimiser.* : to resume from; only the last
    metrics.jsonl                a line an epoch: losses and learning rate
    timing.json                  seconds, steps and memory of the process that finished, and a note
                                 where earlier ones had trained a part

The network is always the one after the last epoch: nothing of a run is chosen by its test data.
docs/training.md says what the presets themselves were chosen on.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from intravariance.errors import IVError
from intravariance.seeds import seed_of
from mc4ad_model.machine.device import Machine
from mc4ad_model.machine.ranks import Ranks
from mc4ad_model.methods.mc4ad.configuration import RunConfig
from mc4ad_model.methods.method import FittedOn, Prediction
from mc4ad_model.methods.saved_files import load_arrays, reading, save_arrays, write_json, writing
from mc4ad_model.methods.settings import Settings
from mc4ad_model.methods.template_deviations import check_templates
from mc4ad_model.methods.templates import Templates, check_scale, registration_points
from mc4ad_model.pseudo_anomalies.added import check_added
from mc4ad_model.registration.placing import Placing
from mc4ad_model.registration.poses import DEFAULT_NOISE, Registration, saved_noise

if TYPE_CHECKING:
    from mc4ad_model.methods.mc4ad.deviations.detector import DeviationDetector
    from mc4ad_model.methods.mc4ad.network import CFPNet
    from mc4ad_model.methods.mc4ad.training_state import Trained, TrainingRun

SHARED = "joint"  # where one network for many categories is
NETWORK, TEMPLATES, DEVIATIONS, TIMING = "network", "templates", "deviations", "timing.json"


class MC4AD:
    """Examine the source of defects: train CFP-Net to predict the force behind each point."""

    title: ClassVar[str] = "MC4AD"
    shared: ClassVar[str] = SHARED
    Settings: ClassVar[type[Settings]] = RunConfig
    files: ClassVar[tuple[str, ...]] = (
        f"{NETWORK}.json", f"{NETWORK}.*", f"{TEMPLATES}.*", f"{DEVIATIONS}.*", "checkpoint-*",
        "metrics.jsonl", TIMING,
    )  # fmt: skip

    def __init__(self, settings: RunConfig, machine: Machine | None = None) -> None:
        self.settings = settings
        self.aggregation = settings.aggregation
        self.fitted_on: FittedOn | None = None
        self._machine = machine or Machine()
        self._network: CFPNet | None = None
        self._templates: dict[str, NDArray[np.float32]] = {}
        self._noise_sigma = DEFAULT_NOISE
        self._placing: Placing | None = None
        self._detector: DeviationDetector | None = None
        self._steps = 0
        self._timing: dict[str, Any] | None = None

    @property
    def parameters(self) -> int | None:
        """Number of the network's parameters."""
        return sum(p.numel() for p in self.network.parameters())

    @property
    def network(self) -> CFPNet:
        """The trained network, in evaluation mode, on the machine's device."""
        assert self._network is not None, "fit or load comes first"
        return self._network

    @property
    def detector(self) -> DeviationDetector | None:
        """The scorer of clouds by their deviations; None where the network takes the points."""
        return self._detector

    def check(self, templates: Templates) -> None:
        """Check what would keep a training from its end. Errors as of `Method.check`."""
        from mc4ad_model.methods.mc4ad import training  # noqa: PLC0415 - weight
        from mc4ad_model.sparse import get_backend  # noqa: PLC0415 - weight

        self._machine.torch_device()
        get_backend(self._machine.backend)
        if self.settings.network.input == "deviation":
            for one in (templates, *templates.learn_from):
                check_templates(one)
        else:
            self._check_surfaces(templates)
        learnt = [t for one in templates.learn_from or (templates,) for t in one.templates]
        names = [extension.name for extension in self.settings.extensions]
        for template in learnt:
            surface = template.points.astype(np.float64), template.normals.astype(np.float64)
            check_added(names, *surface)
        training.steps_per_epoch(
            len(learnt) * self.settings.training.repeats,
            self.settings.training,
            Ranks.here(self._machine),
        )

    def _check_surfaces(self, templates: Templates) -> None:
        if self.settings.data.frame == "registered":
            check_scale(
                templates,
                'Take another frame than data.frame = "registered": --set data.frame=own '
                "--set data.rotation=so3",
            )

    def fit(
        self, templates: Templates, rng: np.random.Generator, folder: Path | None = None
    ) -> None:
        """Train the network, from the last checkpoint in the folder if there is one.

        The samples are made in worker processes, by number, so that their generators are derived
        from the seed of `rng` and nothing is drawn from it. Interrupted in its last step, a
        training is saved in its folder before it says so.
        """
        from mc4ad_model.methods.mc4ad import training_state  # noqa: PLC0415 - weight

        self.check(templates)
        on = self.fitted_on = FittedOn(templates.category, seed_of(rng), templates.data_digest)
        ranks = Ranks.here(self._machine)
        with tempfile.TemporaryDirectory() as temporary:
            # within it: a network for several categories is kept beside the run's folder
            place = folder or Path(temporary, "run")
            place.mkdir(exist_ok=True)
            run = training_state.TrainingRun(place, self.settings, on)
            done = self._train(run, templates, ranks)
        self._network, self._steps, self._timing = done.network.eval(), done.step, done.timing
        if done.stopped:  # nothing is lost, but another category is not begun
            if folder is not None and ranks.first:
                self.save(folder)
            raise IVError(f"{templates.category}: interrupted, but trained to its end")

    def _train(self, run: TrainingRun, templates: Templates, ranks: Ranks) -> Trained:
        from mc4ad_model.methods.mc4ad import training, training_samples  # noqa: PLC0415 - weight

        if self.settings.network.input == "deviation":
            return self._train_on_deviations(run, templates, ranks)
        if self.settings.data.frame == "registered":
            self._register(registration_points(templates, run.seed), templates.registration_noise)
            if ranks.first:
                self._save_templates(run.folder)
        samples = training_samples.TrainingSamples(templates, self.settings, run.seed)
        return training.train(run, samples, self._machine, ranks)

    def _train_on_deviations(self, run: TrainingRun, templates: Templates, ranks: Ranks) -> Trained:
        from mc4ad_model.methods.mc4ad import deviation_training  # noqa: PLC0415 - weight
        from mc4ad_model.methods.mc4ad.deviations import detector  # noqa: PLC0415 - weight

        done, own, practised = deviation_training.train_on_deviations(
            run, templates, self._machine, ranks, SHARED
        )
        network = done.network.to(self._machine.torch_device()).eval()
        usual = detector.DeviationDetector(network, practised).evidence_of_normal_clouds(
            templates, run.seed
        )
        self._detector = detector.DeviationDetector(network, own, usual)
        return done

    def _register(self, points: dict[str, NDArray[np.float32]], noise_sigma: float) -> None:
        self._templates, self._noise_sigma = points, noise_sigma
        registration = Registration([points[name] for name in sorted(points)], noise_sigma)
        self._placing = Placing.ready(registration, noise_sigma)

    def score(self, points: NDArray[np.float32]) -> Prediction:
        """Predict the force on each point; its norm is the point's score.

        A network on deviations says how likely a point belongs to a defect, and scores by that.
        """
        if self._detector is not None:
            return self._detector.score(points)
        from mc4ad_model.methods.mc4ad.scoring import point_scores, predict_force  # noqa: PLC0415

        pose, note = None, None
        if self._placing is not None:
            placed = self._placing.place(points)
            pose, note = placed.pose, placed.note
        force = predict_force(self.network, points, pose)
        return Prediction(point_scores(force, self.settings.scoring), force=force, note=note)

    def save(self, folder: Path) -> None:
        """Write the network; its checkpoints are no longer needed, and are removed."""
        from mc4ad_model.methods.mc4ad.checkpoints import save_checkpoint  # noqa: PLC0415 - weight

        assert self.fitted_on is not None
        on = self.fitted_on
        if self._detector is not None:
            description = {"category": on.category, **self._detector.deviations.description}
            with writing(folder / DEVIATIONS):
                save_arrays(folder / DEVIATIONS, self._detector.arrays(), description)
        if self._templates and not (folder / f"{TEMPLATES}.json").is_file():
            self._save_templates(folder)
        metadata = {"step": self._steps, **vars(on)}
        if self._timing is not None:
            write_json(folder / TIMING, self._timing)
        with writing(folder / NETWORK):
            save_checkpoint(folder / NETWORK, self.network, metadata, force=True)
        for path in folder.glob("checkpoint-*"):
            path.unlink()

    def _save_templates(self, folder: Path) -> None:
        assert self.fitted_on is not None
        with writing(folder / TEMPLATES):
            description = {"category": self.fitted_on.category, "noise_sigma": self._noise_sigma}
            save_arrays(folder / TEMPLATES, self._templates, description)

    def load(self, folder: Path) -> None:
        """Take up the network, onto the machine's device. Errors as of `Method.load`."""
        from mc4ad_model.methods.mc4ad.checkpoints import load_checkpoint  # noqa: PLC0415 - weight

        path = folder / NETWORK
        with reading():
            network, metadata = load_checkpoint(
                path, self._machine.backend, expected=self.settings.network
            )
            if self.settings.network.input == "deviation":
                self._load_detector(folder, network)
            elif self.settings.data.frame == "registered":
                points, description = load_arrays(folder / TEMPLATES)
                self._register(points, saved_noise(description, folder / TEMPLATES))
        self.fitted_on = FittedOn.from_mapping(metadata, f"{path}.json: metadata")
        self._network, self._steps = network.to(self._machine.torch_device()).eval(), 0
        self._steps = int(metadata.get("step", 0))

    def _load_detector(self, folder: Path, network: CFPNet) -> None:
        from mc4ad_model.methods.mc4ad.deviations.detector import (  # noqa: PLC0415 - weight
            DeviationDetector,
        )

        path = folder / DEVIATIONS
        arrays, description = load_arrays(path)
        network = network.to(self._machine.torch_device()).eval()
        self._detector = DeviationDetector.from_arrays(network, arrays, description, path)

# SPDX-License-Identifier: Apache-2.0
"""Everything that a run depends on besides its data and its seed, and the presets that have a name.

The paper and its released code disagree in many places (pseudo-anomalies, losses, scores); each
disagreement is a field here, and a preset says which side it takes. A preset is a TOML file in
`presets/` with one table for each section; a user's own file has the same form and may name the
preset that it starts from: `base = "quick"`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field
from pydantic.dataclasses import dataclass as validated

from intravariance.errors import InputError
from intravariance.extensions import Extension
from mc4ad_model.methods.mc4ad.architectures import NetworkConfig
from mc4ad_model.methods.method import Aggregation, ObjectRule
from mc4ad_model.methods.settings import (
    STRICT,
    Count,
    Positive,
    Settings,
    Share,
    Weight,
    parse_change,
    read_section,
)
from mc4ad_model.pseudo_anomalies.added import added_extension
from mc4ad_model.pseudo_anomalies.mixture import MixtureConfig
from mc4ad_model.pseudo_anomalies.names import GENERATOR_NAMES, added_names

Range = tuple[Weight, Weight]


@validated(frozen=True, config=STRICT)
class AnomalyConfig:
    """How pseudo-anomalies are made (module `anomalies`). Lengths are in unit-ball radii.

    Parameters
    ----------
    generator
        "da_gen_paper": Eq. 5 as printed; "da_gen_radial": its text, largest at the centre;
        "da_gen_released" and "da_gen_prerelease": the two states of the authors' code; "norm_as"
        and "norm_as_signed": PO3AD's, with the normal's absolute value as in its code or without;
        "af3ad": AF3AD's families of shapes (module `anomaly_families`), which are not cut from
        patches, and of which magnitude, radius and deformed alone are asked for. Or the name of a
        pseudo-anomaly that an installed package adds, which none of the other fields concerns.
    patches
        Number G of patches that a cloud is cut into (paper A.1: 64).
    candidates
        Patches that may be deformed, the first so many, which are compact (released code: 32).
    deformed
        Patches deformed in each sample (released code: 1).
    magnitude
        Range of the largest displacement, gamma (paper: 0.06 to 0.12).
    normal_share
        Range of lambda, the normal's share of the direction (paper: 0.95 to 1).
    attenuation
        Range of sigma, DA-Gen's stretching (paper: 0 to 0.08).
    elongation
        Range of the pre-release code's stretching (0.95 to 1).
    radius
        Range of the size of AF3AD's shapes.
    frozen
        Whether normal_share, attenuation and elongation are drawn once for a run, as default
        arguments in the released code are, instead of once for each patch (paper).
    """

    generator: str = "da_gen_released"
    patches: Count = 64
    candidates: Count = 32
    deformed: Count = 1
    magnitude: Range = (0.06, 0.12)
    normal_share: Range = (0.95, 1.0)
    attenuation: Range = (0.0, 0.08)
    elongation: Range = (0.95, 1.0)
    radius: Range = (0.05, 0.25)
    frozen: bool = False

    def __post_init__(self) -> None:
        if self.generator not in GENERATOR_NAMES:
            if self.generator not in (known := added_names()):
                expected = ", ".join((*GENERATOR_NAMES, *known))
                raise ValueError(f"generator = {self.generator!r}: expected one of {expected}")
            added_extension(self.generator)  # not of two packages
        for name in ("magnitude", "normal_share", "attenuation", "elongation", "radius"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name} = [{low}, {high}]: expected the smaller number first")
        for name, limit in (("normal_share", 1), ("attenuation", 1), ("elongation", 1)):
            low, high = getattr(self, name)
            if high > limit:
                raise ValueError(f"{name} = [{low}, {high}]: expected numbers from 0 to {limit}")
        if not self.deformed <= self.candidates <= self.patches:
            raise ValueError(
                f"deformed = {self.deformed}, candidates = {self.candidates}, "
                f"patches = {self.patches}: expected deformed <= candidates <= patches"
            )


@validated(frozen=True, config=STRICT)
class DataConfig:
    """Settings of how a training sample is made.

    Parameters
    ----------
    points
        "mesh": sampled afresh from the template's mesh for each sample, with fresh noise of the
        file's standard deviation; "stored": the template's stored points with the noise that they
        have (the released code takes the vertices of a mesh, without noise, each time the same). In
        the track "clouds", where there is no mesh, "mesh" takes the stored points too.
    rotation
        How a training cloud is turned. "so3": uniformly; "three_axes": by uniform angles about z, y
        and x (released code; not uniform on SO(3)); "none".
    frame
        The frame that the network works in. "own": the cloud is centred on its centroid and scaled
        by its radius, before a training cloud is deformed (released code), and after, as cannot be
        otherwise, when a test cloud is. "registered": test clouds are registered to the templates
        (`mc4ad_model.registration.poses`, not in the paper) and both are in the templates' frame.
    pose_rotation, pose_shift
        Errors of the pose given to training clouds, for the network to live with those of the
        registration: standard deviation of a turn in degrees, and of a shift along each axis.
    learn_from
        Categories whose templates one network learns from, for all of them and for any other
        category of the file; ["all"]: every one. Empty: each category has a network of its own.
        Only with network.input = "deviation", which is given what a product looks like.
    """

    points: Literal["mesh", "stored"] = "mesh"
    rotation: Literal["so3", "three_axes", "none"] = "so3"
    frame: Literal["own", "registered"] = "own"
    pose_rotation: Weight = 0.0
    pose_shift: Weight = 0.0
    learn_from: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.frame == "registered" and self.rotation != "none":
            raise ValueError(
                f'rotation = "{self.rotation}": expected "none" with frame = "registered"'
            )


@validated(frozen=True, config=STRICT)
class LossConfig:
    """Weights of Eq. 10's terms (`mc4ad_model.methods.mc4ad.losses`).

    Parameters
    ----------
    distance, direction
        L_dist and L_dir (1 and 1). V3 and V2 of Table 3 set one to 0.
    distance_norm
        "l1" (released code) or "squared", the squared Euclidean norm; the paper does not say. The
        minimum of the first is at the median of what the force may be, which is 0 until a point is
        more likely deformed than not; of the second at the mean.
    symmetry
        Weight of L_sym (paper: 1; released code: 0.1; V1 of Table 3: 0).
    symmetry_magnitude, symmetry_direction
        Weights within L_sym (paper and released code: 1 and 1; pre-release: 0.7 and 0.3).
    balanced
        Whether L_dist and L_dir are the mean of their means over deformed and over other points,
        rather than the mean over all (paper, released code), of which 98 % have a zero target.
    evidence, object
        Weights of the cross-entropies of a voxel's and of an object's evidence for a defect
        (network.input = "deviation" only).
    """

    distance: Weight = 1.0
    distance_norm: Literal["l1", "squared"] = "l1"
    direction: Weight = 1.0
    symmetry: Weight = 0.1
    symmetry_magnitude: Weight = 1.0
    symmetry_direction: Weight = 1.0
    balanced: bool = False
    evidence: Weight = 1.0
    object: Weight = 0.5


@validated(frozen=True, config=STRICT)
class TrainingConfig:
    """Adam with a cosine schedule (released code: no weight decay, no clipping).

    Parameters
    ----------
    epochs
        Passes. Released code: 1,499, PO3AD 1,000; the paper gives none.
    repeats
        Samples of each template in an epoch (released code: 100).
    batch
        Point clouds in a batch (paper: 32). An epoch drops the samples that do not fill a batch.
    learning_rate, final_learning_rate
        Constant for `constant_epochs`, then one cosine down to the final one (1e-3, 1e-6; the
        released code counts epochs from 1 and holds the rate while that is below 10).
    output_scale
        Factor on the initial parameters of the head's last layer (released code: 1). With 1 the
        first forces are several times larger than any target, and most of a short training goes
        into making them small.
    precision
        "float32"; "tf32": a GPU rounds the factors of products to 10 bits; or "bfloat16": automatic
        mixed precision for the convolutions. The loss and scores are always in float32.
    checkpoint_epochs
        A checkpoint is written after each so many epochs, and after the last.
    """

    epochs: Count = 1499
    repeats: Count = 100
    batch: Count = 32
    learning_rate: Positive = 1e-3
    final_learning_rate: Weight = 1e-6
    constant_epochs: Annotated[int, Field(ge=0)] = 9
    output_scale: Weight = 1.0
    precision: Literal["float32", "tf32", "bfloat16"] = "float32"
    checkpoint_epochs: Count = 10


@validated(frozen=True, config=STRICT)
class ScoringConfig:
    """From forces to scores (`scoring`, and `mc4ad_model.evaluation.scoring` for objects).

    Parameters
    ----------
    point
        Norm of a point's force: "l1" (released code) or "l2".
    object
        Score of an object from those of its points: "max" (paper), "mean" (released code) or
        "top", the mean of the highest `top_share`.
    """

    point: Literal["l1", "l2"] = "l1"
    object: ObjectRule = "mean"
    top_share: Share = 0.01


DEFAULT_PRESET = "deviation"
SECTIONS: dict[str, type[Any]] = {
    "network": NetworkConfig,
    "anomalies": AnomalyConfig,
    "data": DataConfig,
    "mixture": MixtureConfig,
    "loss": LossConfig,
    "training": TrainingConfig,
    "scoring": ScoringConfig,
}
_FORM = "SECTION.KEY=VALUE, such as training.epochs=20; sections: " + ", ".join(SECTIONS)


@dataclass(frozen=True)
class RunConfig(Settings):
    """A resolved configuration: what `run.json` of a run holds."""

    default_preset: ClassVar[str] = DEFAULT_PRESET
    own_presets: ClassVar[tuple[str, ...]] = ()  # of those that have a name; () for all

    preset: str
    network: NetworkConfig = field(default_factory=NetworkConfig)
    anomalies: AnomalyConfig = field(default_factory=AnomalyConfig)
    data: DataConfig = field(default_factory=DataConfig)
    mixture: MixtureConfig = field(default_factory=MixtureConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    scoring: ScoringConfig = field(default_factory=ScoringConfig)

    @classmethod
    def load(cls, preset: str | None = None, changes: Sequence[str] = ()) -> Self:
        """Read the configuration of a preset, with some values changed.

        Parameters
        ----------
        preset
            Name of a preset, or a TOML file's path; None for `default_preset`.
        changes
            "section.key=value", the value in TOML's notation, quotes of a word may be left out.

        Raises
        ------
        InputError
            There is no such preset, file, section or key, or a value is not allowed; all named.
        """
        preset = cls.default_preset if preset is None else preset
        if cls.own_presets and preset in presets() and preset not in cls.own_presets:
            known = ", ".join(cls.own_presets)
            raise InputError(f"preset {preset!r}: another method's; expected {known} or a file")
        values, where = _read(preset), preset
        for change in changes:
            name, value = parse_change(change, _FORM)
            section, dot, key = name.partition(".")
            if not (dot and section in SECTIONS):
                raise InputError(f"--set {change}: expected {_FORM}")
            values.setdefault(section, {})[key] = value
            where = f"{preset} with {', '.join(changes)}"
        return cls.from_mapping(values, where, Path(preset).stem)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], where: str, preset: str = "") -> Self:
        """From plain values, a mapping for each section; what is left out has its default.

        Raises
        ------
        InputError
            As `load`; `where` is named.
        """
        values = dict(values)
        preset = values.pop("preset", preset)
        if not isinstance(preset, str):
            raise InputError(f"{where}: preset = {preset!r}: expected a name")
        if unknown := sorted(values.keys() - SECTIONS.keys()):
            known = ", ".join(SECTIONS)
            raise InputError(f"{where}: unknown {', '.join(unknown)}; expected some of: {known}")
        parts: dict[str, Any] = {
            name: NetworkConfig.from_mapping(values.get(name, {}), f"{where}: {name}")
            if kind is NetworkConfig
            else read_section(kind, values.get(name, {}), f"{where}: {name}", ".")
            for name, kind in SECTIONS.items()
        }
        config = cls(preset=preset, **parts)
        if config.data.learn_from and config.network.input != "deviation":
            raise InputError(
                f"{where}: data.learn_from = {list(config.data.learn_from)}: expected "
                '[] unless network.input = "deviation"'
            )
        return config

    def to_mapping(self) -> dict[str, Any]:
        """Plain values, for JSON; `from_mapping` reads them back."""
        return {"preset": self.preset, **{name: asdict(getattr(self, name)) for name in SECTIONS}}

    @property
    def label(self) -> str:
        """The preset's name."""
        return self.preset

    @property
    def learn_from(self) -> tuple[str, ...]:
        """Categories that a network learns from; where there are none, the run's own alone."""
        return self.data.learn_from

    @property
    def extensions(self) -> tuple[Extension, ...]:
        """The pseudo-anomalies of installed packages that are learnt from."""
        if self.network.input == "deviation":
            return tuple(map(added_extension, self.mixture.added))
        own = self.anomalies.generator in GENERATOR_NAMES
        return () if own else (added_extension(self.anomalies.generator),)

    @property
    def aggregation(self) -> Aggregation:
        """How an object's score is made of those of its points."""
        return Aggregation(self.scoring.object, self.scoring.top_share)

    def differences(self, base: RunConfig) -> dict[str, tuple[Any, Any]]:
        """Return the fields that differ, "section.key" to (own value, base's value), in the order
        of the sections. Names of presets are no difference."""
        found = {}
        for section in SECTIONS:
            own, other = asdict(getattr(self, section)), asdict(getattr(base, section))
            for key, value in own.items():
                if value != other[key]:
                    found[f"{section}.{key}"] = (value, other[key])
        return found


def presets() -> list[str]:
    """Names of the presets that come with the package."""
    files = resources.files(__package__).joinpath("presets").iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


def _read(preset: str) -> dict[str, dict[str, Any]]:
    """Return the tables of a preset or file, laid over those of its base."""
    if preset in presets():
        text = resources.files(__package__).joinpath("presets", f"{preset}.toml").read_text()
    else:
        path = Path(preset)
        if not path.is_file():
            known = ", ".join(presets())
            raise InputError(f"preset {preset!r}: expected one of {known}, or a TOML file")
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{preset}: cannot be read: {error}") from error
    try:
        values = tomllib.loads(text)
    except ValueError as error:  # an integer of thousands of digits is one too
        raise InputError(f"{preset}: not valid TOML: {error}") from error
    base = values.pop("base", None)
    if base is not None and base not in presets():
        raise InputError(f"{preset}: base = {base!r}: expected one of {', '.join(presets())}")
    if odd := [name for name, value in values.items() if not isinstance(value, dict)]:
        raise InputError(f"{preset}: {', '.join(odd)}: expected in a table such as [training]")
    merged = _read(base) if base else {}
    for name, table in values.items():
        merged[name] = {**merged.get(name, {}), **table}
    return merged

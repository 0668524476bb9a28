# SPDX-License-Identifier: Apache-2.0
import json
import subprocess
import sys
import tomllib
from dataclasses import asdict, fields, is_dataclass
from importlib import resources
from typing import Any

import pytest

pytest.importorskip("pydantic", reason="not installed: pip install '.[model]'")

from hypothesis import given
from hypothesis import strategies as st

from intravariance.errors import InputError
from mc4ad_model.methods.mc4ad.anomalies import GENERATORS
from mc4ad_model.methods.mc4ad.architectures import ARCHITECTURES
from mc4ad_model.methods.mc4ad.configuration import (
    SECTIONS,
    AnomalyConfig,
    RunConfig,
    TrainingConfig,
    presets,
)
from mc4ad_model.pseudo_anomalies.names import PATCH_GENERATORS


@pytest.fixture
def write(tmp_path):
    """Return a TOML file of that text; its path as a user gives it."""

    def write_file(text: str, name: str = "own.toml") -> str:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write_file


def message(call, *arguments) -> str:
    with pytest.raises(InputError) as caught:
        call(*arguments)
    return str(caught.value)


# --- presets


def test_the_named_presets_are_there():
    assert {"quick", "released", "paper"} <= set(presets())


@pytest.mark.parametrize("name", presets())
def test_preset_goes_through_json_and_back(name):
    config = RunConfig.load(name)
    assert config.preset == name
    plain = json.loads(json.dumps(config.to_mapping(), allow_nan=False))
    again = RunConfig.from_mapping(plain, "test")
    assert again == config
    # all that a section has is written down, not only what differs from its default
    for section, kind in SECTIONS.items():
        assert plain[section].keys() == {field.name for field in fields(kind)}


def written(name: str) -> dict[str, Any]:
    """Return the tables of a preset's file, laid over those of its base."""
    file = resources.files("mc4ad_model.methods.mc4ad").joinpath("presets", f"{name}.toml")
    own = tomllib.loads(file.read_text())
    tables = written(own.pop("base")) if "base" in own else {}
    return {s: {**tables.get(s, {}), **own.get(s, {})} for s in tables.keys() | own.keys()}


@pytest.mark.parametrize("name", presets())
def test_every_value_of_a_preset_is_written_in_its_file_or_a_default(name):
    """No value is changed on the way from the file."""
    tables, config = written(name), RunConfig.load(name)
    for section, kind in SECTIONS.items():
        table = dict(tables.get(section, {}))
        arch = table.pop("arch", "released")
        expected = asdict(ARCHITECTURES[arch] if section == "network" else kind())
        expected |= {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}
        assert asdict(getattr(config, section)) == expected


def test_released_and_paper_take_their_side():
    """Reference, sections 1 to 5: where the paper and its code disagree."""
    released, paper = RunConfig.load("released"), RunConfig.load("paper")
    assert released.network == ARCHITECTURES["released"]
    assert paper.network == ARCHITECTURES["paper"]
    sides = {
        "generator": [c.anomalies.generator for c in (released, paper)],
        "attenuation": [c.anomalies.attenuation for c in (released, paper)],
        "normal_share": [c.anomalies.normal_share for c in (released, paper)],
        "rotation": [c.data.rotation for c in (released, paper)],
        "symmetry": [c.loss.symmetry for c in (released, paper)],
        "point": [c.scoring.point for c in (released, paper)],
        "object": [c.scoring.object for c in (released, paper)],
    }
    assert sides == {
        "generator": ["da_gen_released", "da_gen_paper"],
        # what the released code draws once for all with its seed, 42
        "attenuation": [(0.0020009, 0.0020009), (0.0, 0.08)],
        "normal_share": [(0.9637515, 0.9637515), (0.95, 1.0)],
        "rotation": ["three_axes", "three_axes"],
        "symmetry": [0.1, 1.0],
        "point": ["l1", "l2"],
        "object": ["mean", "max"],
    }
    for config in (released, paper):
        assert (config.anomalies.patches, config.anomalies.candidates) == (64, 32)
        assert config.anomalies.deformed == 1
        assert config.anomalies.magnitude == (0.06, 0.12)
        assert config.network.voxel_size == 0.03
        assert config.data.points == "stored"
        assert config.data.frame == "own"
        training = config.training
        assert (training.epochs, training.repeats, training.batch) == (1499, 100, 32)
        assert (training.learning_rate, training.final_learning_rate) == (1e-3, 1e-6)
        assert training.constant_epochs == 9
        assert (config.loss.distance_norm, config.loss.balanced) == ("l1", False)


def test_generator_names_are_those_of_the_generators():

    assert set(PATCH_GENERATORS) == set(GENERATORS)


# --- files


def test_a_file_starts_from_its_base(write):
    path = write('base = "quick"\n[training]\nepochs = 7\n[network]\nwidth = 0.5\n')
    quick, own = RunConfig.load("quick"), RunConfig.load(path)
    assert own.preset == "own"  # not where it lies: the run is the same
    assert own.training.epochs == 7
    assert own.network.width == 0.5
    expected = quick.to_mapping()
    expected["preset"] = "own"
    expected["training"] |= {"epochs": 7}
    expected["network"] |= {"width": 0.5}
    assert own.to_mapping() == expected


def test_an_empty_file_is_the_defaults(write):
    path = write("")
    assert RunConfig.load(path) == RunConfig(preset="own")
    assert RunConfig("").network == ARCHITECTURES["released"]


def test_an_integer_may_stand_for_a_float(write):
    config = RunConfig.load(write("[loss]\nsymmetry = 1\n[anomalies]\nmagnitude = [0, 1]\n"))
    assert config.loss.symmetry == 1.0
    assert config.anomalies.magnitude == (0.0, 1.0)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[trainign]\nepochs = 3", ["trainign", "training"]),
        ("[training]\nepoch = 3", ["training: unknown epoch", "epochs"]),
        ("[network]\nwith = 3", ["network: unknown with", "width"]),
        ("[training]\nepochs = 0", ["training.epochs = 0", "greater than or equal to 1"]),
        ("[training]\nepochs = 2.5", ["training.epochs = 2.5", "integer"]),
        ("[training]\nepochs = true", ["training.epochs = True", "integer"]),
        ('[training]\nbatch = "8"', ["training.batch = '8'", "integer"]),
        ("[training]\nlearning_rate = 0", ["training.learning_rate = 0", "greater than 0"]),
        ("[training]\nlearning_rate = inf", ["training.learning_rate = inf", "finite"]),
        ("[training]\nlearning_rate = nan", ["training.learning_rate = nan", "finite"]),
        (
            "[training]\nprecision = 16",
            ["training.precision = 16", "'float32', 'tf32' or 'bfloat16'"],
        ),
        ("[training]\nconstant_epochs = -1", ["training.constant_epochs = -1", "equal to 0"]),
        ("[training]\nbatch = 1979-05-27", ["training.batch = '1979-05-27'", "integer"]),
        ("[loss]\nsymmetry = -0.1", ["loss.symmetry = -0.1", "greater than or equal to 0"]),
        ("[loss]\nbalanced = 1", ["loss.balanced = 1", "boolean"]),
        ('[loss]\ndistance_norm = "l2"', ["loss.distance_norm = 'l2'", "'l1' or 'squared'"]),
        ("[scoring]\ntop_share = 0", ["scoring.top_share = 0", "greater than 0"]),
        ("[scoring]\ntop_share = 1.5", ["scoring.top_share = 1.5", "less than or equal to 1"]),
        ("[scoring]\ntop_share = nan", ["scoring.top_share = nan"]),
        ('[anomalies]\ngenerator = "dagen"', ["anomalies.generator = 'dagen'", "norm_as"]),
        ("[anomalies]\nmagnitude = 0.1", ["anomalies.magnitude = 0.1"]),
        ("[anomalies]\nmagnitude = [0.1]", ["anomalies.magnitude"]),
        (
            "[anomalies]\nmagnitude = [0.2, 0.1]",
            ["anomalies.magnitude = [0.2, 0.1]", "smaller number first"],
        ),
        (
            "[anomalies]\nnormal_share = [0.5, 1.5]",
            ["anomalies.normal_share = [0.5, 1.5]", "from 0 to 1"],
        ),
        (
            "[anomalies]\ndeformed = 40",
            ["deformed = 40", "candidates = 32", "deformed <= candidates <= patches"],
        ),
        ("[anomalies]\ncandidates = 65", ["candidates = 65", "patches = 64"]),
        (
            '[data]\nframe = "registered"\nrotation = "so3"',
            ['data.rotation = "so3"', '"none" with frame = "registered"'],
        ),
        ("[data]\npose_shift = -1", ["data.pose_shift = -1"]),
        (
            '[data]\nlearn_from = ["all"]',
            ["data.learn_from = ['all']", 'expected [] unless network.input = "deviation"'],
        ),
        ('[data]\nlearn_from = "all"', ["data.learn_from = 'all'"]),
        (
            '[network]\ninput = "deviation"\nout_channels = 3',
            ["network: out_channels = 3", "expected 6 with input = deviation"],
        ),
        ('[network]\ninput = "depth"', ["input = 'depth'", "'coordinates' or 'deviation'"]),
        ("[mixture]\nturn_distance = [0.2, 0.1]", ["turn_distance = [0.2, 0.1]", "smaller"]),
        ("[mixture]\ncut_depth = [0.2, 1]", ["cut_depth = [0.2, 1.0]", "below 1"]),
        ("[loss]\nevidence = -1", ["loss.evidence = -1", "greater than or equal to 0"]),
        ('[network]\narch = "unet"', ["network: architecture 'unet'", "released"]),
        ("[network]\nwidth = 0", ["network: width = 0", "greater than 0"]),
        ("epochs = 3", ["epochs", "[training]"]),
        ("training = 3", ["training", "[training]"]),
        ('preset = "quick"', ["preset"]),
        ("[preset]\na = 1", ["preset"]),
        ('base = "fast"', ["base = 'fast'", "quick"]),
        ("base = 3", ["base = 3", "quick"]),
        ("[training", ["TOML"]),
    ],
)
def test_errors_name_file_key_value_and_what_is_allowed(write, text, named):
    path = write(text)
    found = message(RunConfig.load, path)
    for part in (path, *named):
        assert part in found
    assert "ValueError" not in found and "Value error" not in found
    assert len(found) < len(path) + 400  # the value, not the whole section


def test_a_preset_that_is_neither_name_nor_file(tmp_path, write):
    assert "quick" in message(RunConfig.load, "nosuch")
    assert str(tmp_path) in message(RunConfig.load, str(tmp_path))  # a folder
    path = tmp_path / "latin.toml"
    path.write_bytes(b"# \xe9\n")
    assert "latin.toml: cannot be read" in message(RunConfig.load, str(path))


def test_sections_must_be_tables():
    assert "training: expected a table, found 3" in message(
        RunConfig.from_mapping, {"training": 3}, "run.json"
    )
    assert "run.json: preset = 3" in message(RunConfig.from_mapping, {"preset": 3}, "run.json")


# --- --set


@pytest.mark.parametrize(
    ("change", "section", "key", "value"),
    [
        ("training.epochs=20", "training", "epochs", 20),
        (" training.epochs = 20 ", "training", "epochs", 20),
        ("training.learning_rate=1e-4", "training", "learning_rate", 1e-4),
        ("loss.distance_norm=squared", "loss", "distance_norm", "squared"),
        ('loss.distance_norm="squared"', "loss", "distance_norm", "squared"),
        ("loss.balanced=true", "loss", "balanced", True),
        ("anomalies.magnitude=[0.1, 0.3]", "anomalies", "magnitude", (0.1, 0.3)),
        ("network.encoder_blocks=[1,2,3,4]", "network", "encoder_blocks", (1, 2, 3, 4)),
    ],
)
def test_set_changes_one_value(change, section, key, value):
    changed, plain = RunConfig.load("released", [change]), RunConfig.load("released")
    assert getattr(getattr(changed, section), key) == value
    expected = plain.to_mapping()
    expected[section] |= {key: value}
    assert changed.to_mapping() == expected


def test_the_last_set_of_a_key_counts_and_arch_may_be_set():
    changes = ["training.epochs=2", "network.arch=po3ad", "training.epochs=3"]
    config = RunConfig.load("released", changes)
    assert config.training.epochs == 3
    assert config.network == ARCHITECTURES["po3ad"]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("training.epochs", ["--set training.epochs", "SECTION.KEY=VALUE"]),
        ("epochs=3", ["--set epochs=3", "SECTION.KEY=VALUE", "training"]),
        ("trainign.epochs=3", ["--set trainign.epochs=3", "training"]),
        ("training.epoch=3", ["quick with training.epoch=3", "unknown epoch", "epochs"]),
        ("training.epochs=many", ["quick with training.epochs=many", "'many'", "integer"]),
        ("training.epochs=", ["training.epochs = ''", "integer"]),
        ("training.epochs=1\nbatch = 0", ["training.epochs = '1\\nbatch = 0'", "integer"]),
        ("loss.balanced=True", ["loss.balanced = 'True'", "boolean"]),
        ("network.layers=5", ["network: layers = 5", "2, 4, 6 or 8"]),
    ],
)
def test_set_errors_name_what_was_given(change, named):
    found = message(RunConfig.load, "quick", [change])
    for part in named:
        assert part in found


# --- properties


counts = st.integers(1, 10**6)
weights = st.floats(0, 1e6, allow_nan=False)


@given(counts, counts, weights, st.floats(1e-9, 1e3), st.sampled_from(["float32", "bfloat16"]))
def test_any_training_section_goes_through_json_unchanged(epochs, batch, scale, rate, precision):
    training = TrainingConfig(
        epochs=epochs, batch=batch, output_scale=scale, learning_rate=rate, precision=precision
    )
    config = RunConfig("some", training=training)
    plain = json.loads(json.dumps(config.to_mapping()))
    assert RunConfig.from_mapping(plain, "test") == config


@given(st.integers(1, 80), st.integers(1, 80), st.integers(1, 80))
def test_patches_are_allowed_exactly_when_in_order(deformed, candidates, patches):
    values = {"deformed": deformed, "candidates": candidates, "patches": patches}
    good = sorted(values.values()) == list(values.values())
    try:
        config = RunConfig.from_mapping({"anomalies": values}, "test")
    except InputError:
        assert not good
    else:
        assert good
        assert isinstance(config.anomalies, AnomalyConfig)


def test_sections_are_frozen():
    config = RunConfig.load("quick")
    for part in (config, *(getattr(config, name) for name in SECTIONS)):
        assert is_dataclass(part)
        with pytest.raises(AttributeError):
            setattr(part, fields(part)[0].name, None)


def test_configuration_needs_no_torch():
    """So that --dry-run and --help stay quick."""
    code = (
        "import sys; from mc4ad_model.methods.mc4ad.configuration import RunConfig; "
        "RunConfig.load('quick'); "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

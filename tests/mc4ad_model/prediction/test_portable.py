# SPDX-License-Identifier: Apache-2.0
"""`iv export-detector`: a folder that scores as the run does, wherever it is."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

from intravariance.dataset.store import open_dataset
from intravariance.errors import InputError
from intravariance.files.checksums import NAME, files_in
from mc4ad_model import ScanPrediction, predict
from mc4ad_model.commands.train import train_command
from mc4ad_model.methods import METHODS, method_class
from mc4ad_model.runs.run_folder import find_runs
from mc4ad_model.runs.training_command import training_command
from tests import ROOT
from tests import conftest as processes
from tests.support.deviations import SHORT, small
from tests.support.encoders import encoder_settings
from tests.support.extensions import files_of, package, python_path
from tests.support.predictions import run_iv, small_data, small_runs

SHARED = [change for change in SHORT if not change.startswith("data.learn_from")]
WAYS = {
    "mc4ad": ["--preset", "deviation", *(w for change in SHARED for w in ("--set", change))],
    "calibrated_deviation": [],
    "btf": ["--set", "features=raw", "--set", "frame=registered"],
    "patchcore": [
        word
        for change in ("features=point_mae", "bank_size=50", *encoder_settings(20, 16))
        for word in ("--set", change)
    ],
    "signed_distance": ["--set", "field=exact", "--set", "frame=registered"],
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def clouds(data: Path) -> list[NDArray[np.float32]]:
    with open_dataset(data) as dataset:
        return [r.points for r in dataset.filter(category="brick", split="test")][:2]


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return runs of a quick method, bricks calibrated."""
    return small_runs(data, tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def detector(run: Path) -> Path:
    out = run.parent / "detector"
    result = run_iv("export-detector", "--run", run, "--out", out, "--quiet")
    assert result.exit_code == 0, result.output
    return out


def of_bricks(folder: Path, clouds: list[NDArray[np.float32]]) -> list[ScanPrediction]:
    return list(predict(folder, clouds, category="brick"))


def assert_same(found: list[ScanPrediction], expected: list[ScanPrediction]) -> None:
    """To the bit."""
    for one, other in zip(found, expected, strict=True):
        assert one.error == other.error == ""
        assert one.scores is not None and other.scores is not None
        assert one.scores.tobytes() == other.scores.tobytes()
        assert (one.object_score, one.p_value) == (other.object_score, other.p_value)
        assert (one.force is None) == (other.force is None)
        if one.force is not None and other.force is not None:
            assert one.force.tobytes() == other.force.tobytes()


def moved(out: Path, to: Path) -> Path:
    """Move a folder away and let nobody write into it."""
    shutil.move(out, to)
    for path in [*to.rglob("*"), to]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    return to


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "else where"
    for path in [tmp_path / "else where", *(tmp_path / "else where").rglob("*")]:
        path.chmod(0o755)


@pytest.mark.parametrize("method", WAYS)
def test_it_scores_as_the_run_without_dataset_and_run(
    method: str, data: Path, clouds: list[NDArray[np.float32]], tmp_path: Path, elsewhere: Path
) -> None:
    if method in ("btf", "patchcore", "signed_distance"):
        pytest.importorskip("open3d")
    copy = Path(shutil.copy(data, tmp_path / "small.h5"))
    words = ["--method", method, *WAYS[method], "--quiet", "--device", "cpu", "--workers", "0"]
    out = tmp_path / "run"
    with small() if method in ("mc4ad", "calibrated_deviation") else nullcontext():
        result = run_iv("train", "--data", copy, *words, "--out", out)
        assert result.exit_code == 0, result.output
        expected = of_bricks(out, clouds)
        folder = tmp_path / "detector"
        exported = run_iv("export-detector", "--run", out, "--out", folder, "--device", "cpu")
    assert exported.exit_code == 0, exported.output
    assert "detector of ball, brick" in exported.stdout
    names = files_in(folder)
    assert {Path(name).suffix for name in names} <= {".json", ".jsonl", ".md", ".safetensors"}
    assert not any(name.startswith("joint/") for name in names)
    text = "".join((folder / n).read_text() for n in names if not n.endswith(".safetensors"))
    assert str(tmp_path) not in text and os.path.dirname(encoder_folder()) not in text
    shutil.rmtree(out)
    copy.unlink()
    assert_same(of_bricks(moved(folder, elsewhere), clouds), expected)
    assert run_iv("verify", elsewhere).exit_code == 0


def encoder_folder() -> str:
    return encoder_settings()[0].partition("=")[2]


def test_a_calibrated_one_decides_as_the_run(
    run: Path, detector: Path, clouds: list[NDArray[np.float32]]
) -> None:
    found, expected = of_bricks(detector, clouds), of_bricks(run, clouds)
    assert_same(found, expected)
    rate = {"category": "brick", "false_alarms": 0.025}
    decided = [one.anomalous for one in predict(detector, clouds, **rate)]
    assert decided == [one.anomalous for one in predict(run, clouds, **rate)]
    assert None not in decided


def test_it_says_what_it_is_and_how_to_make_it_again(detector: Path, run: Path) -> None:
    readme = (detector / "README.md").read_text()
    digest = find_runs(run)[0].data_digest
    for word in (digest, "ball, brick", "registered_distance", "## Licence", "iv predict --run"):
        assert word in readme
    record = json.loads((detector / "detector.json").read_bytes())
    assert record["categories"] == ["ball", "brick"] and record["data_digest"] == digest
    train = next(line for line in record["commands"] if line.startswith("iv train"))
    assert "--method registered_distance --set neighbours=20" in train
    assert any(line.startswith("iv calibrate") for line in record["commands"])
    assert all(line in readme for line in record["commands"])
    statement = json.loads((detector / "provenance.json").read_bytes())
    build = statement["predicate"]["buildDefinition"]
    assert build["externalParameters"]["before"] == record["commands"]
    assert digest in {d.get("annotations", {}).get("contentDigest") for d in
                      build["resolvedDependencies"]}  # fmt: skip


def test_a_flipped_bit_in_any_file_is_refused_by_name(
    detector: Path, clouds: list[NDArray[np.float32]], tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(detector, tmp_path / "copy"))
    names = [name for name in files_in(copy) if name.startswith("brick/")]
    assert len(names) >= 4
    for name in names:
        content = (copy / name).read_bytes()
        damaged = bytearray(content)
        damaged[len(damaged) // 2] ^= 4
        (copy / name).write_bytes(damaged)
        with pytest.raises(InputError, match=f"{name}: is not as SHA256SUMS has it"):
            of_bricks(copy, clouds)
        (copy / name).unlink()
        with pytest.raises(InputError, match="brick" if name.endswith("run.json") else name):
            of_bricks(copy, clouds)
        (copy / name).write_bytes(content)
    (copy / NAME).unlink()
    with pytest.raises(InputError, match=NAME):
        of_bricks(copy, clouds)


def test_one_category(run: Path, clouds: list[NDArray[np.float32]], tmp_path: Path) -> None:
    words = ("--run", run, "--category", "brick", "--out", tmp_path / "one", "--json")
    result = run_iv("export-detector", *words)
    assert json.loads(result.stdout)["categories"] == ["brick"]
    assert_same(list(predict(tmp_path / "one", clouds)), of_bricks(run, clouds))
    assert_same(list(predict(tmp_path / "one" / "brick", clouds)), of_bricks(run, clouds))
    again = run_iv("export-detector", *words)
    assert again.exit_code == 2 and "--force" in again.stderr
    assert run_iv("export-detector", *words, "--force").exit_code == 0
    first = (tmp_path / "one" / NAME).read_bytes()
    shutil.rmtree(tmp_path / "one")
    assert run_iv("export-detector", *words).exit_code == 0
    assert (tmp_path / "one" / NAME).read_bytes() == first  # the same run gives the same bytes


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda run: (run / "ball/templates.json").unlink(), "training is unfinished"),
        (lambda run: shutil.rmtree(run / "ball"), "expected one that"),
        (lambda run: other_seed(run / "ball/run.json"), "has another seed than"),
    ],
)
def test_what_cannot_be_exported(change, said: str, run: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    change(copy)
    words = ("--category", "ball", "--category", "brick", "--out", tmp_path / "out")
    result = run_iv("export-detector", "--run", copy, *words)
    assert result.exit_code == 2 and said in result.stderr, result.output
    assert not (tmp_path / "out").exists()


def other_seed(path: Path) -> None:
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1', 1))


METHOD = files_of(ROOT / "docs/add_a_method.md")["nearest.py"]
PICKLING = METHOD.replace('("nearest.json",)', '("nearest.json", "nearest.pkl")').replace(
    "    def load(", '        (folder / "nearest.pkl").write_bytes(b"x")\n\n    def load('
)


def third_party(site: Path, code: str) -> dict[str, str]:
    package(site, "intravariance.methods", {"nearest": "nearest:Nearest"}, nearest=code)
    return {"PYTHONPATH": python_path(site)}


def test_a_method_of_another_package_is_named_and_required(data: Path, tmp_path: Path) -> None:
    environment = third_party(tmp_path / "site", METHOD)
    run, out, scan = tmp_path / "run", tmp_path / "detector", f"{data}:brick_test_000"
    with open_dataset(data) as dataset:
        scan = f"{data}:{next(r.id for r in dataset.filter(category='brick', split='test'))}"
    for words in (
        ["train", "--data", data, "--method", "nearest", "--out", run],
        ["export-detector", "--run", run, "--out", out],
        ["predict", "--run", out, "--category", "brick", scan, "--out", tmp_path / "a"],
        ["predict", "--run", run, "--category", "brick", scan, "--out", tmp_path / "b"],
    ):
        done = processes.run_iv(*words, **environment)
        assert done.returncode == 0, done.stderr
    (found,) = (tmp_path / "a/clouds").iterdir()
    (expected,) = (tmp_path / "b/clouds").iterdir()
    assert found.read_bytes() == expected.read_bytes()
    requires = json.loads((out / "detector.json").read_bytes())["requires"]
    assert requires["more-methods"] == "1.5"
    assert "more-methods 1.5" in (out / "README.md").read_text()
    words = ["predict", "--run", out, "--category", "brick", scan, "--out", tmp_path / "c"]
    missing = processes.run_iv(*words)
    assert missing.returncode == 2
    assert "install the package more-methods 1.5, which adds it" in missing.stderr
    (tmp_path / "site/nearest.py").write_text(METHOD + "# changed\n")
    changed = processes.run_iv(*words, **environment)
    assert changed.returncode == 0 and "was trained with other code of nearest" in changed.stderr


def test_pickles_are_refused(data: Path, tmp_path: Path) -> None:
    environment = third_party(tmp_path / "site", PICKLING)
    run = tmp_path / "run"
    train = ["train", "--data", data, "--method", "nearest", "--category", "brick", "--out", run]
    assert processes.run_iv(*train, **environment).returncode == 0
    words = ["export-detector", "--run", run, "--out", tmp_path / "detector"]
    refused = processes.run_iv(*words, **environment)
    assert refused.returncode == 2
    assert "nearest.pkl: is a pickle, which runs code" in refused.stderr


@pytest.mark.parametrize("method", METHODS)
def test_the_training_command_has_the_settings_of_the_run(method: str, run: Path) -> None:
    kind, changes = method_class(method).Settings, []
    plain = kind.load().to_mapping()
    if method == "mc4ad":
        changes = ["data.learn_from=[\"a b\", 'c']", "network.voxel_size=0.125"]
    elif changed := [k for k, v in plain.items() if isinstance(v, int | float) and v > 4]:
        changes = [f"{changed[0]}={plain[changed[0]] * 2}"]
    settings = kind.load(None, changes)
    made = find_runs(run)[:1]
    made = [type(made[0])(**{**fields_of(made[0]), "method": method, "settings": settings})]
    words = shlex.split(shlex.join(training_command(made)))
    assert words[:2] == ["iv", "train"]
    context = train_command.make_context("train", words[2:])
    given = context.params
    again = method_class(given["method"]).Settings.load(given["preset"], given["changes"])
    assert again == settings
    assert given["seed"] == 0 and given["categories"] == ("ball",)


def fields_of(run: object) -> dict[str, object]:
    return {name: getattr(run, name) for name in type(run).__dataclass_fields__}


def test_the_folder_is_checked_by_coreutils(detector: Path) -> None:
    if shutil.which("sha256sum"):
        command = ["sha256sum", "--check", "--strict", "--quiet", NAME]
        assert subprocess.run(command, cwd=detector, check=False).returncode == 0

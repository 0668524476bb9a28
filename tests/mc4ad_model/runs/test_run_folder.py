# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import pathlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

import torch

from intravariance.dataset.store import open_dataset
from intravariance.errors import InputError
from mc4ad_model.methods.mc4ad.checkpoints import read_tensors
from mc4ad_model.registration.poses import Registration
from mc4ad_model.runs.run_folder import Run, environment, find_runs, read_run
from tests.support.networks import sphere
from tests.support.runs import cpu, make_run, results, tiny, train_tiny
from tests.support.samples import make_dataset

CONFIG = tiny("network.layers=2", "training.repeats=2", "training.batch=2", "training.epochs=1")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a finished run; not to be changed."""
    return train_tiny(tmp_path_factory.mktemp("out") / "toys", CONFIG)


@pytest.fixture
def copied(trained: Run, tmp_path: Path) -> Run:
    """Return a copy of it that a test may spoil."""
    folder = tmp_path / "out" / "toys"
    folder.mkdir(parents=True)
    for path in trained.folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return read_run(folder)


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*")}


# --- written and read


def test_a_run_is_read_as_it_was_written(tmp_path):
    run = make_run(
        tmp_path / "a" / "b", CONFIG, seed=2**70,
        identity={"source": "procedural", "noise_sigma": 0.0447, "nested": {"points": [2, 3]}},
        environment=environment(cpu()),
    )  # fmt: skip
    assert read_run(run.folder) == run
    text = json.loads((run.folder / "run.json").read_text())
    assert (text["format"], text["version"]) == ("intravariance-run", 2)
    assert text["config"]["training"]["epochs"] == 1
    assert text["environment"].keys() >= {
        "python", "iv", "torch", "numpy", "scipy", "device", "processor", "threads",
    }  # fmt: skip


def test_run_json_is_written_once(tmp_path):
    """A run that is resumed on another machine keeps the record of where it began."""
    make_run(tmp_path, CONFIG, environment={"device": "cpu"})
    make_run(tmp_path, CONFIG, environment={"device": "cuda"})
    assert read_run(tmp_path).environment == {"device": "cpu"}


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "another file"),
        ('{"format": "other"}', "another file"),
        ('{"format": "intravariance-run", "version": 3}', "format version 3"),
        ('{"format": "intravariance-run", "version": 1}', "category, seed"),
    ],
)
def test_a_run_json_that_cannot_be_read(tmp_path, content, named):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(InputError, match=r"run\.json") as caught:
        read_run(tmp_path)
    assert named in str(caught.value)
    # a run of another configuration: named as such, and --force starts anew
    with pytest.raises(InputError):
        replace(FRESH, folder=tmp_path).check(force=False)
    run = replace(FRESH, folder=tmp_path)
    run.check(force=True)
    run.prepare(force=True)
    assert read_run(tmp_path) == run


FRESH = Run(Path(), "toys", 0, "mc4ad", CONFIG, "digest", {"noise_sigma": 0.0447}, {})


def test_an_unknown_key_in_the_configuration(copied):
    path = copied.folder / "run.json"
    content = json.loads(path.read_text())
    content["config"]["training"]["momentum"] = 0.9
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"run\.json: config: training: unknown momentum"):
        read_run(copied.folder)


def test_runs_are_found_below_the_folder_or_in_it(trained, tmp_path):
    assert find_runs(trained.folder) == [trained]
    assert find_runs(trained.folder.parent) == [trained]
    for name in ("b", "a"):
        make_run(tmp_path / name, CONFIG, category=name)
    (tmp_path / "other").mkdir()
    assert [run.category for run in find_runs(tmp_path)] == ["a", "b"]
    with pytest.raises(InputError, match=r"--run .*nothing.*iv train"):
        find_runs(tmp_path / "nothing")
    with pytest.raises(InputError, match=r"no training run.*iv train"):
        read_run(tmp_path / "other")


# --- what may be in a folder


def test_the_same_run_may_go_on_in_its_folder(copied):
    replace(copied, environment={"threads": 7}).check(force=False)
    make_run(copied.folder, CONFIG)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": 3}, "seed = 0, now 3"),
        ({"category": "pots"}, "category = 'toys', now 'pots'"),
        ({"data_digest": "x"}, "data_digest = 'digest', now 'x'"),
        ({"identity": {"noise_sigma": 0.002}}, "identity.noise_sigma = 0.0447, now 0.002"),
        (
            {"settings": tiny("network.layers=2", "training.epochs=3")},
            "config.training.batch = 2, now 4; config.training.epochs = 1, now 3",
        ),
    ],
)
def test_another_run_in_the_folder_is_named(copied, changes, named):
    before = {path: path.read_bytes() for path in copied.folder.iterdir()}
    with pytest.raises(InputError, match=r"holds another run.*--force") as caught:
        replace(copied, **changes).check(force=False)
    assert named in str(caught.value)
    assert {path: path.read_bytes() for path in copied.folder.iterdir()} == before
    replace(copied, **changes).check(force=True)


def test_force_starts_anew_and_leaves_what_is_no_runs(copied):
    (copied.folder / "notes.json").write_text("{}")
    (copied.folder / "checkpoint-00000002.json").touch()
    (copied.folder / "run.json.17.partial").touch()
    run = replace(copied, seed=9)
    run.check(force=True)
    run.prepare(force=True)
    assert files(run.folder) == {"run.json", "notes.json"}
    assert read_run(run.folder) == run


def test_force_keeps_an_evaluation_that_somebody_edited(copied):
    (copied.folder / "evaluation").mkdir()
    (copied.folder / "evaluation" / "my_notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"evaluation.*not"):
        copied.check(force=True)
    with pytest.raises(InputError, match=r"evaluation.*not"):
        copied.prepare(force=True)
    assert (copied.folder / "evaluation" / "my_notes.txt").read_text() == "mine"
    assert copied.finished


@pytest.mark.parametrize("force", [False, True])
def test_a_folder_with_other_files_is_left_alone(tmp_path, force):
    """Not with --force either: those files are somebody's."""
    (tmp_path / "network.json").write_text("{}")
    with pytest.raises(InputError, match="holds files, but no training run"):
        replace(FRESH, folder=tmp_path).check(force)
    assert files(tmp_path) == {"network.json"}


def test_a_kill_while_run_json_was_written_is_no_obstacle(tmp_path):
    (tmp_path / "run.json.4711.partial").write_text("{")
    run = make_run(tmp_path, CONFIG)
    assert files(run.folder) == {"run.json"}


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(InputError, match=r"--out .*no folder can be made"):
        replace(FRESH, folder=tmp_path / "out").check(force=False)
    with pytest.raises(InputError, match=r"--out .*no folder can be made"):
        replace(FRESH, folder=tmp_path / "out" / "toys").check(force=False)


def test_killed_while_an_earlier_run_is_removed(copied, monkeypatch):
    """At no moment does the folder seem to hold a finished network that is not whole, and the same
    command, with --force, goes on."""

    class Killed(BaseException):
        pass

    content = {path.name: path.read_bytes() for path in copied.folder.iterdir()}
    unlink = pathlib.Path.unlink
    for number in range(len(content)):
        for name, value in content.items():
            (copied.folder / name).write_bytes(value)
        done = []

        def dying(path: Path, missing_ok: bool = False, number=number, done=done) -> None:
            if len(done) == number:
                raise Killed
            done.append(path)
            unlink(path, missing_ok)

        with monkeypatch.context() as patch:
            patch.setattr(pathlib.Path, "unlink", dying)
            with pytest.raises(Killed):
                copied.prepare(force=True)
        if copied.finished:
            copied.load_method()
        copied.check(force=True)
        copied.prepare(force=True)
        assert files(copied.folder) == {"run.json"}


# --- the trained network


def test_the_network_is_the_trained_one_in_evaluation_mode(trained):
    network = trained.load_method().network
    assert not network.training
    assert network.config == CONFIG.network
    tensors, _ = read_tensors(trained.folder / "network")
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, tensors[name])


def test_an_unfinished_run_has_no_network(copied):
    (copied.folder / "network.json").unlink()
    assert not copied.finished
    with pytest.raises(InputError, match=r"training is unfinished.*iv train"):
        copied.load_method()


def test_a_damaged_network(copied):
    file = copied.folder / "network.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"network\.safetensors"):
        copied.load_method()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": 5}, "seed = 0, expected 5"),
        ({"category": "pots"}, "category = 'toys', expected 'pots'"),
        ({"data_digest": "x"}, "data_digest = 'digest', expected 'x'"),
        ({"settings": tiny("network.width=0.5")}, "another architecture"),
    ],
)
def test_another_runs_network(copied, changes, named):
    with pytest.raises(InputError, match=r"network\.json") as caught:
        replace(copied, **changes).load_method()
    assert named in str(caught.value)


def test_the_detector_in_the_clouds_own_frame(trained):
    points = (0.4 * sphere(200).numpy() + 3).astype(np.float32)
    force = trained.load_method().score(points).force
    assert force.shape == (200, 3) and force.dtype == np.float32
    given = torch.from_numpy(points - points.mean(axis=0))
    scale = 1 / given.norm(dim=1).max()
    expected = trained.load_method().network.predict([given * scale])[0].combined / scale
    assert np.allclose(force, expected.numpy(), atol=1e-5)


def test_the_detector_registers_to_the_templates_of_the_run(tmp_path):
    config = replace(CONFIG, data=replace(CONFIG.data, frame="registered", rotation="none"))
    run = train_tiny(tmp_path, config)
    templates, _ = read_tensors(tmp_path / "templates")
    points = templates["flat_brick"][:300].numpy() + np.float32([0.1, 0, 0])
    pose = Registration([templates[n].numpy() for n in sorted(templates)]).register(points)
    assert pose.template == 0
    moved = (points @ pose.rotation + pose.shift).astype(np.float32)
    expected = run.load_method().network.predict([torch.from_numpy(moved)])[0].combined.numpy()
    force = run.load_method().score(points).force
    assert np.allclose(force, expected @ pose.rotation.T, atol=1e-4)
    assert results(run.folder)  # looking changes nothing


def test_a_datasets_identity_survives_json(tmp_path):

    with open_dataset(make_dataset(tmp_path / "a.h5")) as dataset:
        values = {"identity": dataset.metadata["identity"], "data_digest": dataset.digest}
    run = make_run(tmp_path / "run", CONFIG, **values)
    assert read_run(run.folder) == run


def test_a_run_of_the_version_before_still_opens_and_goes_on(copied):
    """Version 1 of run.json named no method: it is MC4AD's."""
    path = copied.folder / "run.json"
    content = json.loads(path.read_text())
    del content["method"]
    path.write_text(json.dumps(content | {"version": 1}))
    found = read_run(copied.folder)
    assert (found.method, found.settings) == ("mc4ad", CONFIG)
    assert found.load_method().fitted_on == copied.load_method().fitted_on
    make_run(copied.folder, CONFIG)  # no error: it is the same run


def test_a_method_that_is_not_installed_is_named(copied):
    path = copied.folder / "run.json"
    path.write_text(path.read_text().replace('"mc4ad"', '"theirs"'))
    with pytest.raises(InputError, match=r"run\.json: method 'theirs'.*install the package"):
        read_run(copied.folder)

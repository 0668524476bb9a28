# SPDX-License-Identifier: Apache-2.0
"""`iv train` and `iv evaluate` with --tensorboard and --mlflow, read back by these libraries.

TensorBoard and MLflow show what metrics.jsonl and the evaluation's metrics.json hold.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

pytest.importorskip("torch", reason="torch is not installed: pip install '.[model]'")

from intravariance import cli
from mc4ad_model.methods.mc4ad.training_state import METRICS, Trainer
from mc4ad_model.runs import tracking, tracking_stores
from mc4ad_model.runs.run_folder import TRACKING, find_runs
from tests.support.runs import TINY
from tests.support.samples import make_dataset

TINIER = (*TINY, "network.layers=2", "training.repeats=2", "training.batch=2", "training.epochs=4")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("data") / "small.h5")


def iv(*words: object) -> Result:
    with warnings.catch_warnings():
        # of SQLAlchemy and protobuf, in the libraries that are tested here
        warnings.simplefilter("ignore", DeprecationWarning)
        return CliRunner().invoke(cli.main, [str(word) for word in words])


def train(data: Path, out: Path, *more: object) -> Result:
    sets = [word for change in TINIER for word in ("--set", change)]
    words = ("--preset", "released", "--device", "cpu", "--workers", 0, "--category", "ball")
    return iv("train", "--data", data, *words, *sets, "--out", out, *more)


def lines_of(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]


def check_points(found: dict[str, list[tuple[int, float]]], folder: Path) -> None:
    """Check that there is each number of each epoch, once."""
    lines = lines_of(folder)
    assert [line["epoch"] for line in lines] == list(range(4))
    for name in lines[0].keys() - {"epoch"}:
        points = found[name]
        assert [step for step, _ in points] == list(range(4)), name
        np.testing.assert_allclose(
            [value for _, value in points], [line[name] for line in lines], rtol=1e-6
        )


def interrupted(monkeypatch: pytest.MonkeyPatch, epochs: int) -> None:
    """Let the next training be interrupted in the middle of an epoch, as by Ctrl-C."""
    step = Trainer.step

    def stopping(self: Trainer, batch: Any) -> None:
        step(self, batch)
        if self.done.step == 2 * epochs + 1:
            monkeypatch.undo()
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Trainer, "step", stopping)


# --- TensorBoard


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import (  # noqa: PLC0415 - weight
        EventAccumulator,
    )

    found = EventAccumulator(str(folder)).Reload()
    return {n: [(p.step, p.value) for p in found.Scalars(n)] for n in found.Tags()["scalars"]}


def test_tensorboard_has_every_epoch_once_after_an_interruption(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorboard", reason="pip install '.[logging]'")
    out, board = tmp_path / "mine", tmp_path / "board"
    others = board / "mine/ball/events.out.tfevents.1.somebody"
    others.parent.mkdir(parents=True)
    others.touch()
    interrupted(monkeypatch, epochs=2)
    stopped = train(data, out, "--tensorboard", board)
    assert stopped.exit_code == 1 and "interrupted after step 5" in stopped.stderr
    assert len(scalars(board / "mine/ball")["total"]) == 2
    assert train(data, out, "--tensorboard", board).exit_code == 0
    found = scalars(board / "mine/ball")
    check_points(found, out / "ball")
    assert found["fit/seconds"][0][1] > 0 and found["training/seconds"][0][1] > 0
    assert others.exists()
    # trained already: the same once more
    assert train(data, out, "--tensorboard", board).exit_code == 0
    assert scalars(board / "mine/ball").keys() == found.keys()
    check_points(scalars(board / "mine/ball"), out / "ball")
    for _ in range(2):
        words = ("--run", out, "--force", "--tensorboard", board)
        assert iv("evaluate", "--data", data, *words).exit_code == 0
    metrics = json.loads((out / "ball/evaluation/metrics.json").read_bytes())["metrics"]
    ((_, value),) = scalars(board / "mine/ball/evaluation")["o_auroc"]
    assert value == pytest.approx(metrics["o_auroc"])
    check_points(scalars(board / "mine/ball"), out / "ball")


def test_settings_are_shown_in_tensorboard(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="pip install '.[logging]'")
    from tensorboard.backend.event_processing.event_accumulator import (  # noqa: PLC0415 - weight
        EventAccumulator,
    )

    out, board = tmp_path / "mine", tmp_path / "board"
    assert train(data, out, "--tensorboard", board).exit_code == 0
    found = EventAccumulator(str(board / "mine/ball")).Reload()
    (text,) = found.Tensors("settings/text_summary")
    run = find_runs(out)[0]
    shown = text.tensor_proto.string_val[0].decode()
    assert run.data_digest in shown and '"training.epochs": 4' in shown


# --- MLflow


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    for library in ("mlflow", "sqlalchemy", "alembic"):
        pytest.importorskip(library, reason="pip install '.[logging]'")
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'store.db'}"


def runs_of(uri: str, name: str) -> list[Any]:
    from mlflow import MlflowClient  # noqa: PLC0415 - weight

    client = MlflowClient(tracking_uri=uri)
    experiments = [one.experiment_id for one in client.search_experiments()]
    return list(client.search_runs(experiments, f"attributes.run_name = '{name}'"))


def history(uri: str, run: Any) -> dict[str, list[tuple[int, float]]]:
    from mlflow import MlflowClient  # noqa: PLC0415 - weight

    client = MlflowClient(tracking_uri=uri)
    return {
        name: [(p.step, p.value) for p in client.get_metric_history(run.info.run_id, name)]
        for name in run.data.metrics
    }


def test_mlflow_has_one_run_with_every_epoch_once_after_an_interruption(
    uri: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "mine"
    interrupted(monkeypatch, epochs=2)
    assert train(data, out, "--mlflow", uri).exit_code == 1
    (stopped,) = runs_of(uri, "mine/ball")
    assert stopped.info.status == "KILLED"
    for _ in range(2):  # carries on; is trained already
        assert train(data, out, "--mlflow", uri).exit_code == 0
    (run,) = runs_of(uri, "mine/ball")
    assert run.info.status == "FINISHED" and run.info.run_id == stopped.info.run_id
    check_points(history(uri, run), out / "ball")
    ours = find_runs(out)[0]
    assert run.data.tags["data_digest"] == ours.data_digest
    assert run.data.params["training.epochs"] == "4" and run.data.params["seed"] == "0"
    for _ in range(2):
        words = ("--run", out, "--force", "--mlflow", uri)
        assert iv("evaluate", "--data", data, *words).exit_code == 0
    (run,) = runs_of(uri, "mine/ball")
    metrics = json.loads((out / "ball/evaluation/metrics.json").read_bytes())["metrics"]
    assert history(uri, run)["evaluation/o_auroc"] == [(0, metrics["o_auroc"])]
    check_points(history(uri, run), out / "ball")
    # started anew, it is another training, and another run
    assert train(data, out, "--mlflow", uri, "--force").exit_code == 0
    assert len(runs_of(uri, "mine/ball")) == 2


def test_a_store_that_cannot_be_used_is_said_before_training(uri: str, data: Path, tmp_path: Path):
    out, wrong = tmp_path / "out", f"sqlite:///{tmp_path}/file/store.db"
    (tmp_path / "file").touch()
    for option, value in (("--mlflow", wrong), ("--tensorboard", tmp_path / "file")):
        result = train(data, out, option, value)
        assert result.exit_code == 2 and f"{option} {value}" in result.stderr
        assert not out.exists()
    assert tracking_stores._without_password("http://me:secret@host/x") == "http://host/x"


# --- without the libraries


class Broken:
    """A store whose server goes away."""

    name = "a server"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def points(self, entry: tracking.Entry, epochs: list[tracking.Numbers]) -> None:
        self.asked.append(f"{entry.name} {len(epochs)}")
        if len(epochs) == 2:
            raise ConnectionError("it is gone")

    values = close = lambda *_: None


def test_a_store_that_fails_does_not_stop_the_training(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Broken()
    open_stores: Callable[..., Any] = lambda *_: [broken]  # noqa: E731
    monkeypatch.setattr("mc4ad_model.commands.train.open_stores", open_stores)
    result = train(data, tmp_path / "out")
    assert result.exit_code == 1
    assert result.stderr.count("no longer tracked by a server: ConnectionError: it is gone") == 1
    assert "the same command tracks what is missing" in result.stderr
    assert broken.asked == ["out/ball 1", "out/ball 2"]
    assert find_runs(tmp_path / "out")[0].finished and len(lines_of(tmp_path / "out/ball")) == 4


def test_what_several_categories_share_has_an_entry_of_its_own(tmp_path: Path) -> None:
    joint = tmp_path / "mine/joint"
    joint.mkdir(parents=True)
    (joint / METRICS).write_text('{"epoch": 0, "total": 1.5}\n')
    content = {"category": "joint", "seed": 3, "data_digest": "d", "config": {"a": {"b": 1}}}
    (joint / "identity.json").write_text(json.dumps(content))
    broken = Broken()
    tracking.Tracking([broken]).epoch(joint)
    assert broken.asked == ["mine/joint 1"]
    first = json.loads((joint / TRACKING).read_bytes())
    tracking.Tracking([broken]).epoch(joint)
    assert json.loads((joint / TRACKING).read_bytes()) == first


@pytest.mark.parametrize(
    ("option", "value", "library"),
    [("--tensorboard", "board", "tensorboard"), ("--mlflow", "sqlite:///x.db", "mlflow")],
)
def test_a_missing_library_gives_the_hint(
    option: str, value: str, library: str, data: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    monkeypatch.setitem(sys.modules, library, None)  # so its import fails, as of what is not there
    result = train(data, tmp_path / "out", option, value)
    assert result.exit_code == 2
    assert f"{library} is not installed; the extra logging brings it" in result.stderr

# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev

import numpy as np
import pytest
from click.testing import CliRunner, Result

pytest.importorskip("torch")
pytest.importorskip("sklearn")
from annotations.vocabulary import NORMAL
from intravariance.dataset.specification import Category, Specification
from intravariance.dataset.store import open_dataset
from intravariance.errors import InputError
from mc4ad_model.commands.ablate import ablate_command
from mc4ad_model.evaluation.results import read_results
from mc4ad_model.methods.mc4ad.configuration import RunConfig, presets
from mc4ad_model.methods.mc4ad.network import CFPNet
from mc4ad_model.paper.ablation import GRIDS, SHARES, plan_grid
from mc4ad_model.paper.printed_tables import ablation_table
from mc4ad_model.pseudo_anomalies.names import GENERATOR_NAMES
from mc4ad_model.quality_control.cascade import scores_of
from mc4ad_model.quality_control.gain import compare_stages
from mc4ad_model.runs.experiments import CategoryOutcome, Spread, average, parse_seeds
from tests.support.samples import make_dataset

TINY = [
    "training.epochs=1", "training.repeats=2", "training.batch=2", "network.voxel_size=0.3",
    "network.width=0.1", "data.frame=own",
]  # fmt: skip


# The grids


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("preset", presets())
def test_each_variant_of_each_preset_is_a_configuration(grid: str, preset: str) -> None:
    # presets whose generator does not use what these vary
    uses = preset.startswith(("quick", "po3ad", "af3ad")) and grid in (
        "normal-share",
        "attenuation",
    )
    changes = ["anomalies.generator=da_gen_radial"] if uses else []
    base = RunConfig.load(preset, changes)
    if (grid == "deviation") != (base.network.input == "deviation"):
        with pytest.raises(InputError, match=rf"grid {grid}: preset {preset} has network\.input"):
            plan_grid(grid, preset, changes)
        return
    plan = plan_grid(grid, preset, changes)
    for variant in plan.variants:
        changed = variant.config.differences(base)
        assert (variant.folder == "base") == (not changed)
        assert len(variant.folder) < 200
        # what the changes name is all that changes
        assert changed.keys() <= {change.partition("=")[0] for change in variant.changes}
    folders = {variant.folder: variant.config for variant in plan.variants}
    assert all(folders[variant.folder] == variant.config for variant in plan.variants)


@pytest.mark.parametrize("grid", GRIDS)
def test_variants_are_named_as_in_the_paper(grid: str) -> None:
    table = ablation_table(grid)
    names = [*GRIDS[grid], *(SHARES if grid == "accept" else ())]
    unprinted = grid in ("generators", "deviation")
    assert unprinted if table is None else list(table.rows) == names


def test_the_generators_are_all() -> None:
    names = {v.config.anomalies.generator for v in plan_grid("generators", "paper").variants}
    assert names == set(GENERATOR_NAMES)


def test_the_papers_best_variant_is_the_preset_paper() -> None:
    best = {
        "losses": "full", "architecture": "Layer_8", "patches": "64", "normal-share": "[0.950, 1]",
        "attenuation": "[0, 0.08]", "magnitude": "[0.06, 0.12]", "accept": "V_O",
    }  # fmt: skip
    for grid, name in best.items():
        base = [v.name for v in plan_grid(grid, "paper").variants if v.folder == "base"]
        assert base == [name]


def test_losses_of_table_3() -> None:
    losses = {v.name: v.config.loss for v in plan_grid("losses", "released").variants}
    on = {n: (loss.symmetry > 0, loss.direction > 0, loss.distance > 0)
          for n, loss in losses.items()}  # fmt: skip
    assert on == {
        "V1": (False, True, True), "V2": (True, False, True), "V3": (True, True, False),
        "V4": (True, True, True), "full": (True, True, True),
    }  # fmt: skip


def test_v_p_is_the_pruned_architecture_at_its_own_rate() -> None:
    variant = {v.name: v for v in plan_grid("architecture", "released").variants}["V_P"]
    pruned = RunConfig.load("released", ["network.arch=pruned"]).network
    shapes = [
        {name: tuple(p.shape) for name, p in CFPNet(config).named_parameters()}
        for config in (variant.config.network, pruned)
    ]
    assert shapes[0] == shapes[1]
    assert variant.config.training.learning_rate == 1.5e-3  # paper A.5
    rate = {v.name: v for v in plan_grid("accept", "quick").variants}["V_P"].config.training
    assert rate.learning_rate == pytest.approx(1.5 * RunConfig.load("quick").training.learning_rate)


def test_patches_leave_no_more_deformed_than_candidates() -> None:
    changes = ["anomalies.candidates=20", "anomalies.deformed=20", "anomalies.patches=64"]
    plan = plan_grid("patches", "paper", changes)
    counts = {
        v.name: (v.config.anomalies.candidates, v.config.anomalies.deformed) for v in plan.variants
    }
    assert counts == {"16": (8, 8), "32": (16, 16), "64": (32, 20), "128": (64, 20)}
    assert "deformed of G: 8 of 16, 16 of 32, 20 of 64, 20 of 128" in " ".join(plan.remarks)
    assert "no variant is the preset as it is" in plan.remarks


def test_remarks_and_what_makes_no_sense() -> None:
    remarks = " ".join(plan_grid("losses", "paper", ["loss.symmetry=0.0"]).remarks)
    assert "V1 and full are the same configuration" in remarks
    assert "anomalies.frozen" in " ".join(
        plan_grid("attenuation", "released", ["anomalies.frozen=true"]).remarks
    )
    assert "1.5 times" in " ".join(plan_grid("architecture", "paper").remarks)
    with pytest.raises(InputError, match="generator norm_as does not use it"):
        plan_grid("attenuation", "quick", ["anomalies.generator=norm_as"])
    with pytest.raises(InputError, match=r"no grid 'colours'.*losses"):
        plan_grid("colours", "quick")


# Means and spreads


def test_spread_is_of_seeds_not_of_categories() -> None:
    values = {(0, "a"): 0.5, (0, "b"): 0.9, (1, "a"): 0.6, (1, "b"): 1.0, (2, "a"): 0.3}
    outcomes = [
        CategoryOutcome(category, seed, value, 0.0, 1.0, None, None, None)
        for (seed, category), value in values.items()
    ]
    found = average(outcomes, "o_auroc")
    assert found.mean == pytest.approx(mean([0.7, 0.8, 0.3]))
    assert found.deviation == pytest.approx(stdev([0.7, 0.8, 0.3]))
    assert str(found) == "0.600 ±0.265"
    assert str(Spread.of([0.25])) == "0.250"
    assert average(outcomes[:2], "o_auroc").deviation is None


def test_seeds() -> None:
    assert parse_seeds("0,1,2") == [0, 1, 2]
    assert parse_seeds("7") == [7]
    for text in ("", "1,1", "-1", "a", "1,"):
        with pytest.raises(InputError, match="--seeds"):
            parse_seeds(text)


def test_differences_name_fields() -> None:
    base = RunConfig.load("paper")
    other = replace(base, preset="mine", loss=replace(base.loss, symmetry=0.5))
    assert other.differences(base) == {"loss.symmetry": (0.5, 1.0)}


# The command, with real trainings of a few steps


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    counts = {"bulge": 2, "missing": 2}
    names = (("ball", ("round_ball",)), ("brick", ("flat_brick",)))
    categories = tuple(Category(name, products, 1, 3, counts) for name, products in names)
    specification = Specification("small", "Small", (200, 250), categories)
    return make_dataset(tmp_path_factory.mktemp("ablation") / "small.h5", specification)


def ablate(grid: str, data: Path, out: Path, *arguments: object) -> Result:
    line: list[object] = [grid, "--data", data, "--out", out, "--workers", 0, "--quiet", *arguments]
    for change in TINY:
        line += ["--set", change]
    result = CliRunner().invoke(ablate_command, [str(word) for word in line])
    assert result.exception is None or isinstance(result.exception, InputError), result.output
    return result


@pytest.fixture(scope="module")
def done(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object]]:
    """Return the accept grid, trained: its folder and what --json printed."""
    out = tmp_path_factory.mktemp("runs") / "ablation"
    result = ablate("accept", data, out, "--seeds", "0,1", "--json")
    assert result.exit_code == 0, result.output
    return out, json.loads(result.stdout)


def test_a_table_says_what_the_results_of_its_runs_say(
    data: Path, done: tuple[Path, dict[str, object]]
) -> None:
    out, table = done
    assert table == json.loads((out / "accept-table.json").read_text())
    assert table["categories"] == ["ball", "brick"]
    each = [
        mean(read_results(out / "base" / f"seed-{seed}" / name / "evaluation")
             .evaluation.metrics.p_auroc for name in ("ball", "brick"))
        for seed in (0, 1)
    ]  # fmt: skip
    found = table["variants"]["V_O"]["p_auroc"]
    assert found == {"mean": pytest.approx(mean(each)), "deviation": pytest.approx(stdev(each))}
    assert table["variants"]["V_P"]["parameters"] < table["variants"]["V_O"]["parameters"]


def test_a_share_of_the_accept_grid_is_the_comparison_of_two_evaluations(
    data: Path, done: tuple[Path, dict[str, object]]
) -> None:
    out, table = done
    pruned = next(path.name for path in out.iterdir() if "network.layers=4" in path.name)
    both = [
        scores_of(read_results(out / name / "seed-1" / "ball" / "evaluation").evaluation)
        for name in (pruned, "base")
    ]
    with open_dataset(data) as dataset:
        records = list(dataset.filter(category="ball", split="test"))
        labels = [record.labels for record in records]
    anomalous = np.array([record.defect != NORMAL for record in records])
    expected = compare_stages("ball", labels, anomalous, *both, share=0.3)
    outcomes = table["variants"]["b = 0.30"]["outcomes"]
    found = next(o for o in outcomes if (o["category"], o["seed"]) == ("ball", 1))
    assert found["o_auroc"] == expected.o_auroc
    assert found["p_auroc"] == expected.p_auroc
    assert expected.accepted == 2


def test_what_is_done_is_not_done_again(data: Path, done: tuple[Path, dict[str, object]]) -> None:
    out, table = done
    files = {path: path.stat().st_mtime_ns for path in out.rglob("*/*/*.json")}
    assert len(files) > 8
    again = ablate("accept", data, out, "--seeds", "0,1", "--json")
    assert json.loads(again.stdout) == table
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*/*/*.json")} == files
    # another grid takes the preset's run from here; a lost evaluation is made again
    shutil.rmtree(out / "base" / "seed-0" / "ball" / "evaluation")
    planned = ablate("losses", data, out, "--seeds", "0", "--dry-run", "--json")
    # V4 is Norm-AS, as the preset quick is
    trained = {run["variant"]: run["trained"] for run in json.loads(planned.stdout)["runs"]}
    assert trained == {"V1": 0, "V2": 0, "V3": 0, "V4": 2, "full": 2}
    result = ablate("losses", data, out, "--seeds", "0", "--category", "ball")
    assert result.exit_code == 0, result.output
    full = next(line for line in result.stdout.splitlines() if line.startswith("full"))
    value = next(
        o["o_auroc"]
        for o in table["variants"]["V_O"]["outcomes"]
        if (o["category"], o["seed"]) == ("ball", 0)
    )
    assert full.split()[1] == f"{value:.3f}"
    assert full.split()[-3:] == ["0.786", "0.837", "14.8"]
    assert "are of Real3D-AD, ours of small.h5" in result.stdout


def test_the_plan_writes_nothing(data: Path, tmp_path: Path) -> None:
    result = ablate("patches", data, tmp_path / "new", "--dry-run")
    assert result.exit_code == 0, result.output
    assert "anomalies.patches=128" in result.stdout
    assert "24 trainings" in result.stdout  # four variants, two categories, three seeds
    assert not (tmp_path / "new").exists()


def test_another_preset_in_the_same_folder_is_refused(
    data: Path, done: tuple[Path, dict[str, object]]
) -> None:
    for other in (["--preset", "paper"], ["--set", "training.learning_rate=0.1"]):
        message = str(ablate("accept", data, done[0], "--seeds", "0", *other).exception)
        assert "holds another run" in message


def test_unknown_category(data: Path, tmp_path: Path) -> None:
    message = str(ablate("losses", data, tmp_path, "--category", "spoon").exception)
    assert "has ball, brick" in message

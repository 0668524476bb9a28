# SPDX-License-Identifier: Apache-2.0
"""README and docs do what they say: their Python runs, their commands parse, the quick ones run.

The blocks of a document run in order in one folder, as a reader would run them, on small stand-ins
for the files that they name. A block below a comment `<!-- not run: REASON -->` is only parsed.
"""

from __future__ import annotations

import re
import tomllib
import warnings
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from intravariance.cli import main
from tests import ROOT
from tests.support.documents import DOCUMENTS, Stock, blocks, commands, label_by_hand, parse_iv
from tests.support.exporting_samples import plain_folder

# Minutes even on a small file, or Blender's work, and what is made of it: parsed only. Their output
# is then a stand-in.
SLOW = ("ablate", "build", "inspect", "leaderboard", "merge", "quality-control", "reproduce")
ENDLESS = ("serve", "--watch")  # until Ctrl-C: parsed only, too
# Registration takes most of an evaluation's time: left out, and deviations with it.
TINY = (
    "network.input=coordinates", "data.learn_from=[]", "data.frame=own", "data.pose_rotation=0",
    "data.pose_shift=0", "network.width=0.25", "training.epochs=1", "training.repeats=2",
    "training.batch=2", "training.constant_epochs=0",
)  # fmt: skip
PICTURES = ("--size", "64", "--points", "150", "--samples", "1")
# Options that make a command quick, added at its end.
QUICKER = {
    "train": ("--workers", "0", *(word for change in TINY for word in ("--set", change))),
    "calibrate": ("--clouds", "99"),
    "compare": PICTURES,
    "predict": ("--size", "64"),
    "preview": ("--size", "64"),
    "import": ("--jobs", "1"),
    "export": ("--jobs", "1"),
}
EXTRAS = (
    "torch", "sklearn", "pydantic", "matplotlib", "open3d", "k3d", "pyarrow", "fastapi",
    "tensorboard", "fsspec",
)  # fmt: skip
pytestmark = pytest.mark.skipif(
    not all(map(find_spec, EXTRAS)), reason="documents speak of all extras; one is not installed"
)
READ = [(path, path.read_text()) for path in DOCUMENTS]


def run_iv(words: list[str]) -> None:
    quicker = () if "--method" in words else QUICKER.get(words[0], ())  # TINY is of MC4AD
    registers = any("registered_distance" in word for word in words)
    if words[0] == "evaluate" and registers and "--category" not in words:
        quicker = ("--category", "bowl")  # a third of a second for each cloud
    result = CliRunner().invoke(main, [*words, *quicker])
    assert result.exit_code == 0, f"exit code {result.exit_code}: {result.output}" + (
        f"\n{result.exception!r}" if result.exception else ""
    )


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Stock:
    stock = Stock(tmp_path_factory.mktemp("stock"))
    common = ["--data", str(stock.dataset), "--category", "vase"]
    run_iv(["train", *common, "--out", str(stock.run)])
    run_iv(["evaluate", *common, "--run", str(stock.run)])
    return stock


def check_command(words: list[str], stock: Stock, run: bool) -> None:
    """Run or parse one line of a shell block; of others than iv, look for what they name."""
    program, *words = words
    if program == "make":
        assert all(re.search(rf"(?m)^{word}:", (ROOT / "Makefile").read_text()) for word in words)
    elif program in ("pip", "python") and (extras := re.findall(r"\.\[(.*?)\]", " ".join(words))):
        known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        assert set(extras[0].split(",")) <= set(known["optional-dependencies"])
    elif program == "python" and words[0] == "-m":
        assert find_spec(words[1])
    elif program == "python":
        assert (ROOT / words[0]).is_file()
    elif program == "iv":
        words = [word.replace("~", str(Path.cwd())) for word in words]
        # a store that is in this process, for those that documents name
        words = [re.sub(r"^(s3|hf)://", "memory://", word) for word in words]
        outputs = [after for before, after in pairwise(words) if before == "--out"]
        for word in words:
            if word not in outputs:
                stock.provide(word)
        parse_iv(words)
        if run and words[0] not in SLOW and not {*words} & {*ENDLESS}:
            run_iv(words)
            if words[:2] == ["labels", "export"]:
                label_by_hand(Path(outputs[0]), stock.dataset)
        else:
            for output in outputs:
                stock.provide(output)


def run_python(code: str, place: str, stock: Stock) -> None:
    for name in re.findall(r'"([^"]+\.h5)"', code):
        stock.provide(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # snippets leave files open
        exec(compile(code, place, "exec"), {"__name__": "__main__"})


def run_blocks(path: Path, text: str, stock: Stock) -> list[str]:
    """Return what failed: the place, the command or code, and why."""
    failed = []
    for block in blocks(text):
        place = f"{path.relative_to(ROOT)}:{block.line}"
        if block.language == "python" and block.not_run is None:
            try:
                run_python(block.text, place, stock)
            except Exception as error:
                failed.append(f"{place}: {error!r}")
        elif block.language in ("sh", "bash", "console"):
            for words in commands(block):
                try:
                    check_command(words, stock, block.not_run is None)
                except (AssertionError, click.ClickException) as error:
                    failed.append(f"{place}: {' '.join(words)}\n  {error}")
    return failed


@pytest.mark.parametrize(("path", "text"), READ, ids=[path.stem for path, _ in READ])
def test_blocks_do_what_they_say(
    path: Path, text: str, stock: Stock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with plain_folder() as folder:
        monkeypatch.chdir(folder)
        failed = run_blocks(path, text, stock)
        monkeypatch.undo()
    assert not failed, "\n".join(failed)


def test_few_blocks_are_not_run_and_each_says_why() -> None:
    code = [block for _, text in READ for block in blocks(text) if block.language == "python"]
    reasons = [
        block.not_run for _, text in READ for block in blocks(text) if block.not_run is not None
    ]
    assert all(len(reason) > 8 for reason in reasons)
    assert len(code) > 5
    assert len(reasons) <= 3, reasons


@pytest.mark.parametrize(("path", "text"), READ, ids=[path.stem for path, _ in READ])
def test_commands_named_in_sentences_exist(path: Path, text: str) -> None:
    for name in re.findall(r"`iv ([a-z][a-z-]*)", text):
        assert main.get_command(click.Context(main), name), f"{path.name}: iv {name}"


def test_wrong_words_in_a_document_are_noticed() -> None:
    (block,) = blocks(
        "```sh\niv bluid --group 2\niv build --grup 2  # a comment\niv build --group 3\n```"
    )
    for words in commands(block):
        with pytest.raises(click.UsageError):
            parse_iv(words[1:])
    parse_iv(["build", "--group", "2"])

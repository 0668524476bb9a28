# SPDX-License-Identifier: Apache-2.0
"""Options that commands share: the dataset file, the form of results, and one meaning for each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from intravariance.cli import main
from intravariance.commands.options import dataset_argument
from tests.support.samples import make_dataset
from tools.command_reference import commands

COMMANDS = {name: one for name, one, _ in commands() if not isinstance(one, click.Group)}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("options") / "small.h5")


def iv(*words: object) -> Result:
    return CliRunner().invoke(main, [*map(str, words)])


def option(command: click.Command, name: str) -> click.Option | None:
    found = [one for one in command.params if name in one.opts and isinstance(one, click.Option)]
    return found[0] if found else None


def probe(**how: object) -> Callable[..., Result]:
    """Make a command that prints what its dataset argument was given."""

    @click.command()
    @click.argument("first")
    @dataset_argument("data", **how)
    def command(first: str, data: object) -> None:
        click.echo(f"{first} {data}")

    return lambda *words: CliRunner().invoke(command, words)


def test_the_argument_and_the_option_are_one() -> None:
    call = probe()
    for words in (("a", "b.h5"), ("a", "--data", "b.h5"), ("--data", "b.h5", "a")):
        assert call(*words).stdout == "a b.h5\n"
    assert "give FILE or --data, not both" in call("a", "b.h5", "--data", "c.h5").stderr
    missing = call("a")
    assert missing.exit_code == 2 and "Missing argument 'FILE'" in missing.stderr


def test_it_may_be_left_out_or_be_several() -> None:
    assert probe(metavar="[FILE]", required=False)("a").stdout == "a None\n"
    several = probe(metavar="FILES...", nargs=-1)
    assert several("a", "b.h5", "c.h5").stdout.count("Path") == 2
    assert "b.h5" in several("a", "--data", "b.h5").stdout
    assert several("a").exit_code == 2


def test_every_command_that_reads_a_dataset_file_takes_it_both_ways() -> None:
    both = {name for name, one in COMMANDS.items() if option(one, "--data")}
    assert both == COMMANDS.keys() - {
        "build",
        "import",
        "merge",
        "predict",
        "serve",
        "export-detector",
    }
    for name in both:
        arguments = [one for one in COMMANDS[name].params if isinstance(one, click.Argument)]
        assert arguments[-1].metavar.strip("[]").startswith("FILE"), name
        assert not option(COMMANDS[name], "--data").expose_value, name


@pytest.mark.parametrize("name", ["--json", "--markdown", "--quiet", "--dry-run"])
def test_an_option_means_the_same_everywhere(name: str) -> None:
    having = {one.help for command in COMMANDS.values() if (one := option(command, name))}
    assert len(having) == 1


def test_what_prints_a_result_prints_json_and_what_prints_tables_markdown() -> None:
    documents = {"card", "serve"}  # Markdown itself; a service
    assert documents == {n for n, command in COMMANDS.items() if not option(command, "--json")}
    for name, command in COMMANDS.items():
        assert not option(command, "--markdown") or option(command, "--json"), name
    long = {"build", "import", "export", "train", "pretrain", "leaderboard", "ablate"}
    long |= {"reproduce table19", "reproduce table5a"}
    assert long == {name for name, command in COMMANDS.items() if option(command, "--dry-run")}


@pytest.mark.parametrize("words", [("info",), ("info", "--samples")])
def test_forms_of_a_result(words: tuple[str, ...], file: Path) -> None:
    plain, markdown = iv(*words, file), iv(*words, file, "--markdown")
    assert "| --- |" in markdown.stdout and "|" not in plain.stdout
    assert "\n\n\n" not in markdown.stdout
    assert isinstance(json.loads(iv(*words, file, "--json").stdout), dict)
    both = iv(*words, file, "--json", "--markdown")
    assert both.exit_code == 2 and "give --json or --markdown, not both" in both.stderr

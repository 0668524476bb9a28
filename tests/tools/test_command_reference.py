# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import click

from tools.command_reference import SHARED, commands, reference


def test_the_reference_has_every_command_and_option() -> None:
    text = reference()
    for name, command, _ in commands():
        assert f"# iv {name}\n" in text
        for one in command.params:
            assert not isinstance(one, click.Option) or f"`{one.opts[0]}" in text, (name, one)
    row = next(line for line in text.splitlines() if line.startswith("| `card` |"))
    cells = [cell.strip() for cell in row.strip("|").split("|")][1:]
    had = {name for name, cell in zip(SHARED, cells, strict=True) if cell}
    assert had == {"--data", "--force"}
    assert r"\|" not in text  # which Markdown shows in code

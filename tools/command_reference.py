# SPDX-License-Identifier: Apache-2.0
"""The reference of the commands in Markdown, made from the commands themselves.

    python -m tools.command_reference

prints it; `make docs` puts it at the end of docs/commands.md.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click

from intravariance.cli import GROUPS, main

# Options that several commands have and that mean the same in each, in the table's order.
SHARED = ("--data", "--json", "--markdown", "--quiet", "--dry-run", "--force")


def commands() -> Iterator[tuple[str, click.Command, click.Context]]:
    """Yield the name ("labels export"), the command and its context, in the help's order."""
    root = click.Context(main, info_name="iv", **main.context_settings)
    for name in (name for lines in GROUPS.values() for name in lines):
        command = main.get_command(root, name)
        assert command is not None
        yield from _with_inner(name, command, root)


def _with_inner(
    name: str, command: click.Command, parent: click.Context
) -> Iterator[tuple[str, click.Command, click.Context]]:
    context = click.Context(
        command, info_name=name.rpartition(" ")[2], parent=parent, **command.context_settings
    )
    yield name, command, context
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            found = command.get_command(context, inner)
            assert found is not None
            yield from _with_inner(f"{name} {inner}", found, context)


def shared_options() -> str:
    """Return the table of the commands and of the options that they share."""
    rows = []
    for name, command, context in commands():
        if isinstance(command, click.Group):
            continue
        own = {option for one in command.get_params(context) for option in one.opts}
        rows.append([f"`{name}`", *("yes" if option in own else "" for option in SHARED)])
    heading = ["", *(f"`{option}`" for option in SHARED)]
    return _table(heading, rows)


def section(name: str, command: click.Command, context: click.Context) -> str:
    """Return a command's usage, its help, and a table of its options."""
    level = "###" if " " not in name else "####"
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    parts = [f"{level} iv {name}", f"```text\n{usage}\n```", _plain(command.help or "")]
    options = [one for one in command.get_params(context) if isinstance(one, click.Option)]
    rows = [_option(one, context) for one in options if "--help" not in one.opts]
    if rows:
        parts.append(_table(["option", ""], rows))
    return "\n\n".join(parts)


def _option(option: click.Option, context: click.Context) -> list[str]:
    """Return an option's names, with what it takes, and its help; choices are in the help."""
    names, help = option.get_help_record(context) or ("", "")
    if isinstance(option.type, click.Choice):
        names = ", ".join(option.opts)
        help = f"{help}  One of {', '.join(map(str, option.type.choices))}."
    return [f"`{names}`", _plain(help)]


def reference() -> str:
    """Return the whole reference: the shared options, then each command."""
    sections = {name: section(name, *rest) for name, *rest in commands()}
    parts = ["## Which command has which of the shared options", shared_options()]
    for title, names in GROUPS.items():
        parts.append(f"## {title}")
        parts += [text for name, text in sections.items() if name.partition(" ")[0] in names]
    return "\n\n".join(parts) + "\n"


def _plain(text: str) -> str:
    """Keep what Markdown would take for its own: brackets of metavars, stars of globs."""
    return re.sub(r"([<>\[\]*])", r"\\\1", inspect.cleandoc(text.replace("\b", "")))


def _table(heading: list[str], rows: list[list[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    escaped = ([" ".join(cell.split()).replace("|", r"\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped)


if __name__ == "__main__":
    print(f"\n{reference()}", end="")

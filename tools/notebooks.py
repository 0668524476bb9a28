# SPDX-License-Identifier: Apache-2.0
"""Run the notebooks of a folder, and keep what they show.

    python -m tools.notebooks examples

They run in the folder, in the order of their names, each in a kernel of its own, and are written
back with their outputs. Values that differ from run to run (counts, times) are left out, so that
notebooks that show the same are the same files. The tool ends with status 1 where a cell raises or
a command of a cell `%%sh` fails; such a notebook stays as it was.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode
from traitlets.config import Config

_SECONDS = 300  # that a cell, or the start of a kernel, may take


def run(folder: Path) -> int:
    """Execute the notebooks of a folder, and write those back of which no cell raises.

    Returns
    -------
    The number of those that failed; each is named on stderr.
    """
    failed = 0
    with TemporaryDirectory(prefix="iv_") as own:
        # `iv` in cells is that of this Python; the user's settings of IPython change nothing
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        os.environ |= {"PATH": path, "IPYTHONDIR": own, "JUPYTER_RUNTIME_DIR": own}
        for place in sorted(folder.glob("*.ipynb")):
            notebook = nbformat.read(place, as_version=4)
            try:
                _execute(notebook, folder, f"{own}/{place.stem}")
            except CellExecutionError as error:
                failed += 1
                print(f"{place}: {error}", file=sys.stderr)
            else:
                _without_circumstances(notebook)
                nbformat.write(notebook, place)
    return failed


def _execute(notebook: NotebookNode, folder: Path, socket: str) -> None:
    """Run the cells in a new kernel, which is reached by sockets in the file system."""
    NotebookClient(
        notebook,
        config=Config(KernelManager={"transport": "ipc", "ip": socket}),
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        timeout=_SECONDS,
        startup_timeout=_SECONDS,
        coalesce_streams=True,
    ).execute()


def _without_circumstances(notebook: NotebookNode) -> None:
    """Remove the counts and times of execution, and what a picture or table is called as text."""
    notebook.metadata.language_info = {"name": "python"}
    for cell in notebook.cells:
        cell.metadata.clear()
        if cell.cell_type != "code":
            continue
        cell.execution_count = None
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = None
            if {"image/png", "text/html"} & {*output.get("data", {})}:
                output.data.pop("text/plain", None)


def main() -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("folder", type=Path)
    sys.exit(min(1, run(parser.parse_args().folder)))


if __name__ == "__main__":
    main()

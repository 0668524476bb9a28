# SPDX-License-Identifier: Apache-2.0
"""Write notebooks as pages of the site.

    python -m tools.notebook_pages examples site/pages/examples

Each becomes a page of Markdown, with its texts, its code, and what the code showed when it was last
run (`make notebooks`). Pictures lie beside the page, and so does the notebook.
"""

from __future__ import annotations

import argparse
from base64 import b64decode
from pathlib import Path

import nbformat
from nbformat import NotebookNode


def write_pages(folder: Path, target: Path) -> None:
    """Write a page for each notebook of a folder; links between notebooks lead to the pages."""
    target.mkdir(parents=True, exist_ok=True)
    for place in sorted(folder.glob("*.ipynb")):
        (target / place.name).write_bytes(place.read_bytes())
        texts = []
        for number, cell in enumerate(nbformat.read(place, as_version=4).cells):
            if cell.cell_type == "markdown":
                texts.append(cell.source.replace(".ipynb)", ".md)"))
                continue
            language = "sh" if cell.source.startswith("%%sh") else "python"
            texts.append(_fenced(cell.source.removeprefix("%%sh\n"), language))
            texts += [
                _shown(output, target / f"{place.stem}_{number}_{which}.png")
                for which, output in enumerate(cell.outputs)
            ]
        texts.insert(1, f"*A [notebook]({place.name}) to run, and what it shows.*")
        (target / f"{place.stem}.md").write_text("\n\n".join(texts) + "\n", encoding="utf-8")


def _shown(output: NotebookNode, picture: Path) -> str:
    """Return what a cell showed as Markdown; a picture is written to a file."""
    data = output.get("data", {})
    if "image/png" in data:
        picture.write_bytes(b64decode(data["image/png"]))
        return f"![What the code above shows]({picture.name})"
    if "text/html" in data:
        return str(data["text/html"])
    return _fenced(str(output.get("text", data.get("text/plain", ""))), "text")


def _fenced(text: str, language: str) -> str:
    return f"```{language}\n{text.rstrip()}\n```"


def main() -> None:
    """Write what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("target", type=Path)
    given = parser.parse_args()
    write_pages(given.folder, given.target)


if __name__ == "__main__":
    main()

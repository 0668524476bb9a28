# SPDX-License-Identifier: Apache-2.0
"""README.md of a detector folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mc4ad_model.methods import method_class
from mc4ad_model.prediction.treatment import training_length
from mc4ad_model.runs.run_folder import CALIBRATION, Run

README = "README.md"
# Networks that methods start from and keep a copy of: `point_mae.encoders`,
# `projections.backbones`.
_STARTED_FROM = {
    "encoder": ("an encoder of Point-MAE", "Point-MAE's release is under the MIT licence"),
    "backbone": ("a ResNet18", "torchvision's weights are under the BSD 3-clause licence"),
}


def readme(runs: Sequence[Run], record: dict[str, Any]) -> str:
    """Write it (Markdown). runs : what is in the folder. record : see `portable`."""
    run, title = runs[0], method_class(runs[0].method).title
    names = ", ".join(record["categories"])
    some = "" if len(runs) == 1 else f" --category {run.category}"
    others = [name for name in record["requires"] if name != "intravariance"]
    install = " ".join(["pip install 'intravariance[model]'", *others])
    commands = "\n".join([*record["commands"], "iv export-detector --run RUN --out FOLDER"])
    return f"""# Detector: {title}, {names}

Says of 3D scans of these products how anomalous each is, and where. This folder is all that it
takes: no dataset, no network, and it may be moved, copied and read-only.

{_table(runs, record, title)}

## Use it

```sh
{install}
iv verify FOLDER                                    # every file as it was exported?
iv predict --run FOLDER{some} SCANS --out RESULTS
iv serve --run FOLDER{some}
```

{_scans(run)}

Each file is checked against `SHA256SUMS` before it is read, so that a damaged one is refused by
name. Weights are safetensors, and everything else is JSON: no file is run as code.

## How it was made

```sh
{commands}
```

`{run.category}/run.json` has every setting, and `provenance.json` the same as an in-toto statement.

## Licence

{_licence(runs)}
"""


def _table(runs: Sequence[Run], record: dict[str, Any], title: str) -> str:
    run = runs[0]
    label = f", {record['label']}" if record["label"] else ""
    specification = run.identity.get("specification", {}).get("name", "a dataset")
    calibrated = [one.category for one in runs if (one.folder / CALIBRATION).is_file()]
    rows = {
        "categories": ", ".join(record["categories"]),
        "method": f"{title} (`{run.method}`{label}), seed {run.seed}",
        "trained on": f"{specification}, normal templates alone, content digest "
        f"`{run.data_digest}`",
        "knew": _known(run),
        "p-values and decisions": ", ".join(calibrated) or "none: it is not calibrated",
        "needs": ", ".join(f"{name} {v}" for name, v in record["requires"].items()),
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {k} | {v} |" for k, v in rows.items())])


def _known(run: Run) -> str:
    return {
        "meshes": "the templates' meshes, and the noise of the clouds",
        "clouds": "the templates' stored clouds alone",
    }[run.track]


def _scans(run: Run) -> str:
    length = training_length(run)
    if length is None:
        return (
            "Scans are expected in the unit and size of the training clouds; `--length` divides "
            "others by a length."
        )
    return f"Scans are expected in the unit of the training scans; each is divided by {length:g}."


def _licence(runs: Sequence[Run]) -> str:
    """Say under which terms the weights are, as far as the run knows."""
    identity = runs[0].identity
    imported = identity.get("imported")
    terms = imported.get("exported_from", {}).get("terms") if isinstance(imported, dict) else None
    if isinstance(terms, dict) and terms.get("licence"):
        said = f"The weights were computed from data under these terms:\n\n{terms['licence']}"
    elif imported or identity.get("source") != "procedural":
        said = (
            f"The weights were computed from `{identity.get('source', 'data')}`, whose licence "
            "this folder does not know; ask whoever made the data before you give it on."
        )
    else:
        said = (
            "The weights were computed from data of the project's own designs, and are under the "
            "Apache License 2.0, as these are."
        )
    more = [line for name in _STARTED_FROM if (line := _started_from(runs[0].folder, name))]
    return "\n\n".join([said, *more])


def _started_from(folder: Path, name: str) -> str:
    """Say where an encoder or a backbone comes from; "" where there is none."""
    path = folder / f"{name}.json"
    if not path.is_file():
        return ""
    what, licence = _STARTED_FROM[name]
    origin = json.loads(path.read_bytes()).get("origin", {})
    if "sha256" not in origin:
        return f"`{name}` is {what} that this program trained."
    published = f": {licence}" if origin.get("public") else ", whose licence is that of the file"
    return (
        f"`{name}` is {what} from `{origin.get('file')}`, sha256 `{origin['sha256']}`{published}."
    )

# SPDX-License-Identifier: Apache-2.0
"""Real3D-AD's folders, for its own benchmark (BTF, PatchCore, Reg3D-AD), ISMP, and PO3AD's Real3D.

    Real3D-AD-PCD/<category>/train/0_template.pcd    binary, float32 x y z
                            /test/4_good.pcd         normal
                            /test/9_bulge.pcd        as are all other defects
                            /gt/9_bulge.txt          x y z label of each point, in order
    Real3D-AD-PLY/<category>/0_template.ply          a mesh whose vertices are the template's points
    meshes/<category>/0_template.obj                 the pristine mesh
    train.json, test.json                            lists for MC3D-AD
    README.md                                        licence and citation
    iv_samples.jsonl, iv_export.json                 what the names do not say

The number is that of the sample in its category, in the file's order. Names of defects stay those
of the project; to these readers whatever is not `good` is a defect. The readers name the twelve
original classes in their code, where yours must be put in.
"""

from __future__ import annotations

from collections.abc import Sequence

from annotations.vocabulary import NORMAL
from intravariance.dataset.store import Record, Sample
from intravariance.exchange.layouts import anomaly_shapenet_writing as anomaly_shapenet
from intravariance.exchange.layouts.entries import Entry, Numbers, Options, Rules
from intravariance.exchange.layouts.template_meshes import write_mesh_ply

NAME = "real3d-ad"
HOLDS = anomaly_shapenet.HOLDS
RULES = Rules(
    fewest_points=2048,
    path_words={
        "temp": "Real3D-AD and ISMP leave out test clouds with it in their path, and PO3AD takes "
        "every mesh with `template` in its path for a template",
        "good": "Real3D-AD, ISMP and PO3AD take every cloud with it in its path for a normal one",
        "test": "readers made after R3D-AD's put another folder in its place in the whole path",
    },
    name_words=dict.fromkeys(("cut", "copy"), "in Real3D-AD it marks variants of a scan"),
    path_doubts=("pcd", "cut"),
    name_doubts=("positive", "pcd"),
    letters=True,
    reserved=("train", "gt"),
)
CLOUDS = "Real3D-AD-PCD"


def plan(records: Sequence[Record], options: Options) -> list[Entry]:
    """The files of each sample, numbered within its category in the order given."""
    numbers = Numbers()
    entries = []
    for record in records:
        name, others = record.category, {}
        number = numbers.next(name)
        if record.split == "train":
            stem = f"{number}_template"
            others = {"vertices": f"Real3D-AD-PLY/{name}/{stem}.ply"}
            if record.has_mesh:
                others["mesh"] = f"meshes/{name}/{stem}.obj"
        else:
            stem = f"{number}_{'good' if record.defect == NORMAL else record.defect}"
        folder = f"{CLOUDS}/{name}"
        truth = "" if record.defect == NORMAL else f"{folder}/gt/{stem}.txt"
        entries.append(Entry(record.id, f"{folder}/{record.split}/{stem}.pcd", truth, others))
    return entries


def content(sample: Sample, entry: Entry, options: Options) -> dict[str, bytes]:
    """The bytes of each file of a sample."""
    return anomaly_shapenet.content(sample, entry, options, write_mesh_ply)


def lists(records: Sequence[Record], entries: Sequence[Entry]) -> dict[str, bytes]:
    """MC3D-AD's lists, a JSON object a line, with names from the folder of the classes on."""
    return anomaly_shapenet.lists(records, entries, CLOUDS)
